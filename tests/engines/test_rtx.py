"""NVIDIA's own parser and compiler, TensorRT for RTX, on a machine without a GPU: nothing here is emulated."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from trtswap.backends.trt.library import AMPERE_ON, find_library
from trtswap.backends.trt.plans import stored_plans
from trtswap.engines.aim import GIB, aim
from trtswap.engines.build import Built, Options, SilentListener, build_engines
from trtswap.engines.child import compile_apart
from trtswap.engines.compiler import BuildCancelled
from trtswap.engines.config import Overrides
from trtswap.engines.progress import Silent
from trtswap.engines.request import Request
from trtswap.errors import BackendError, EngineBuildError, InputError
from trtswap.model.pack import Pack
from trtswap.packs import find_pack

from .packs import GRAPHS, HEADER, write_pack

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: its wheels are for Linux and Windows")


@pytest.fixture(autouse=True)
def engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TRTSWAP_ENGINES", str(tmp_path / "engines"))
    return tmp_path / "engines"


def build(pack: Pack, *stages: str, aimed: Any = None, listener: Any = None, **options: Any) -> list[Built]:
    chosen = Options(precision="fp32", stages=stages, **options)
    return build_engines(pack, aimed or aim(None, targets=["8.9"]), chosen, listener=listener)


def request(graph: Path, **inputs: tuple[int, ...]) -> Request:
    """Of fixed shapes, for all GPUs from Ampere on."""
    return Request(
        graph=str(graph), profiles=[{name: (s, s, s) for name, s in inputs.items()}], targets=AMPERE_ON,
        workspace_bytes=None, optimisation_level=3, hardware_compatibility="none", version_compatible=False, tf32=False,
    )  # fmt: skip


def graph(text: str, folder: Path) -> Path:
    onnx.save(onnx.parser.parse_model(HEADER + text), folder / "graph.onnx")
    return folder / "graph.onnx"


def test_a_pack_is_compiled_without_a_gpu_and_then_taken(hand: Pack) -> None:
    assert [built.reason for built in build(hand)] == ["not built yet"] * 4
    records = {plan.record.stage: plan.record for plan in stored_plans()}
    for name, record in records.items():
        assert (record.place.library, record.place.gpu, record.place.targets) == ("rtx", "", ("8.9",))
        assert record.place.version == find_library("rtx").version
        assert record.source_sha256 == record.graph_sha256 == hand.stages[name].sha256
        assert record.device_memory_bytes >= 0
        assert record.difference == {}, "nothing has run yet"
        assert (record.cuda, record.driver) == (None, None)
    assert records["swap"].config["profiles"] == [{"N": [1, 4, 8]}]  # of a card of 8 GiB
    assert [built.reason for built in build(hand)] == [None] * 4


def test_other_targets_are_other_engines_side_by_side(hand: Pack) -> None:
    build(hand, "parse")
    (other,) = build(hand, "parse", aimed=aim(None, targets=["8.6", "8.9"]))
    assert other.reason == "not built yet for compute capability 8.6, 8.9"
    (every,) = build(hand, "parse", aimed=aim(None))
    assert every.plan.record.place.targets == AMPERE_ON
    assert len(stored_plans()) == 3


def test_another_card_is_another_engine_and_said(hand: Pack) -> None:
    build(hand, "parse")
    (other,) = build(hand, "parse", aimed=aim(None, targets=["8.9"], memory_gib=10))
    assert other.reason == "stale: the one that is there is not for a card of 10 GiB"


def test_a_conversion_can_be_stopped(tmp_path: Path) -> None:
    class Ear(SilentListener):
        def cancelled(self) -> bool:
            return True

    with pytest.raises(BuildCancelled, match="the conversion to FP16 was stopped"):
        build_engines(
            Pack.load(find_pack("avatar")), aim(None), Options(stages=("parse",), scratch=tmp_path), listener=Ear()
        )
    assert [path.name for path in tmp_path.iterdir()] == ["engines"]
    assert stored_plans() == []


def test_a_changed_graph_is_built_anew(hand: Pack, tmp_path: Path) -> None:
    build(hand, "parse")
    text = GRAPHS["parse"].replace("ArgMax", "ArgMin")
    (again,) = build(write_pack(tmp_path / "changed", parse=text), "parse")
    assert again.reason == "stale: the pack's graph has changed"


def test_progress_is_told_and_a_build_can_be_stopped(hand: Pack, engines: Path) -> None:
    heard: list[tuple[str, str | None]] = []

    class Ear(SilentListener):
        stop = False

        def phase(self, name: str, parent: str | None, steps: int) -> None:
            heard.append((name, parent))

        def cancelled(self) -> bool:
            return self.stop

    build(hand, "swap", listener=Ear())
    assert heard[0] == ("Building engine", None)
    assert len(heard) > 10
    stopping = Ear()
    stopping.stop = True
    started = time.monotonic()
    with pytest.raises(BuildCancelled, match=r"parse\.onnx: the build was stopped"):
        build(hand, "parse", listener=stopping)
    assert time.monotonic() - started < 1
    assert {plan.record.stage for plan in stored_plans()} == {"swap"}
    assert not [path for path in engines.iterdir() if "parse" in path.name]


def test_a_listener_that_raises_ends_the_build(hand: Pack) -> None:
    class Broken(SilentListener):
        def step(self, name: str, step: int) -> None:
            raise RuntimeError("cannot draw")

    with pytest.raises(RuntimeError, match="cannot draw"):
        build(hand, "parse", listener=Broken())
    assert stored_plans() == []


def test_what_the_parser_refuses_is_named_with_its_check(tmp_path: Path) -> None:
    """For an operator that it does not know, the parser's own text is the word "false"."""
    file = graph("g (float[2,3] x) => (float[2,3] y) { y = Bernoulli <seed = 1.0> (x) }", tmp_path)
    with pytest.raises(EngineBuildError) as caught:
        compile_apart(find_library("rtx"), request(file, x=(2, 3)), Silent())
    assert "node 0 Bernoulli ''" in str(caught.value)
    assert "UNSUPPORTED_NODE in checkBernoulli" in str(caught.value) or "UNSUPPORTED_NODE in " in str(caught.value)


def test_what_the_builder_refuses_is_quoted(tmp_path: Path) -> None:
    """Turing has no FP32 matrix products in this library."""
    file = graph("g (float[2,3,3] x) => (float[2,3,3] y) { y = MatMul (x, x) }", tmp_path)
    compile_apart(find_library("rtx"), request(file, x=(2, 3, 3)), Silent())
    with pytest.raises(EngineBuildError, match=r"graph\.onnx: TensorRT for RTX .* built no engine: .*FP32 GEMM is not"):
        compile_apart(find_library("rtx"), replace(request(file, x=(2, 3, 3)), targets=["7.5"]), Silent())


def test_a_library_that_crashes_takes_only_the_child_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = graph("g (float[2,3] x) => (float[2,3] y) { y = Neg (x) }", tmp_path)
    crash = "import os, signal, sys; sys.stdin.readline(); os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr("trtswap.engines.child.COMMAND", (sys.executable, "-c", crash))
    with pytest.raises(
        EngineBuildError, match=r"graph\.onnx: TensorRT for RTX .* ended its process with signal SIGSEGV"
    ):
        compile_apart(find_library("rtx"), request(file, x=(2, 3)), Silent())


def test_rows_are_halved_until_the_card_has_room() -> None:
    told: list[str] = []

    class Ear(SilentListener):
        def engine(self, stage: str, reason: str) -> None:
            told.append(reason)

    avatar = Pack.load(find_pack("avatar"))
    (full,) = build(avatar, "parse", aimed=aim(None, targets=["8.9"], memory_gib=24), listener=Ear())
    assert full.plan.record.config["profiles"] == [{"N": [1, 4, 32]}]
    card = full.plan.record.device_memory_bytes / 0.6 / 2 * 1.01 / GIB
    (small,) = build(avatar, "parse", aimed=aim(None, targets=["8.9"], memory_gib=card), listener=Ear())
    assert 0 < small.plan.record.device_memory_bytes <= 0.6 * card * GIB
    assert small.plan.record.config["profiles"] == [{"N": [1, 4, 8]}]  # what a small card gets by itself
    (smaller,) = build(avatar, "parse", aimed=aim(None, targets=["8.9"], memory_gib=card / 2.5), listener=Ear())
    assert smaller.plan.record.config["profiles"] == [{"N": [1, 4, 4]}]
    assert told[-1].startswith("8 at once take 0.")
    asked = Overrides.none().also(faces="1,4,32")
    with pytest.raises(EngineBuildError, match=r"GiB of device memory for 32 at once, more than 60% of the card's"):
        build(avatar, "parse", aimed=aim(None, targets=["8.9"], memory_gib=card), overrides=asked)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"targets": ["9.0"]},
            InputError,
            r"has no target 9\.0; expected some of 7\.5, 8\.0, 8\.6, 8\.9, 12\.0, 12\.1",
        ),
        ({"library": "tensorflow"}, InputError, "library is 'tensorflow', expected auto, tensorrt or rtx"),
        ({"memory_gib": 0.0}, InputError, "memory is 0.0 GiB, expected a positive number"),
        ({"library": "tensorrt"}, BackendError, r'needs TensorRT, which is not installed: pip install "trtswap\[tens'),
    ],
)
def test_wrong_aims_are_named(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        aim(None, **arguments)


def test_levels_of_compatibility_are_refused(hand: Pack) -> None:
    for values in ({"version_compatible": True}, {"hardware_compatibility": "ampere-plus"}):
        with pytest.raises(InputError, match="TensorRT for RTX knows no levels of compatibility"):
            build(hand, "swap", overrides=Overrides.none().also(**values))
    with pytest.raises(InputError, match="which makes engines of TensorRT; expected onnx-parser"):
        build(hand, "swap", compiler="torch-tensorrt")


def test_the_order_of_targets_makes_no_other_engine() -> None:
    assert aim(None, targets=["8.9", "8.6", "8.9"]).place == aim(None, targets=["8.6", "8.9"]).place
