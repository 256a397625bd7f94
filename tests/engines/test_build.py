"""Engines of a pack: the cache, what makes an engine stale, and what is refused."""

import hashlib
import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trtswap.backends import choose, open_engine
from trtswap.backends import device as gpus
from trtswap.backends.trt.plans import plans_folder, stored_plans
from trtswap.errors import DeviceMemoryError, EngineBuildError, InputError, PackError, PlanError
from trtswap.model.pack import Pack

from ..trt_emulator.machine import Machine
from .packs import GRAPHS, write_pack

pytestmark = pytest.mark.usefixtures("emulator")


def build(pack: Pack, *, stages: tuple[str, ...] = (), **options: object) -> dict[str, str | None]:
    """Build in FP32; gives the reason of each stage."""
    from trtswap.engines.aim import aim
    from trtswap.engines.build import Options, build_engines

    chosen = Options(**({"precision": "fp32"} | options), stages=stages)  # type: ignore[arg-type]
    return {built.stage: built.reason for built in build_engines(pack, aim(gpus.find_gpu()), chosen)}


def overrides(**values: object) -> object:
    from trtswap.engines.config import Overrides

    return Overrides.none().also(**values)


def test_built_once_and_then_taken(hand: Pack) -> None:
    assert build(hand) == dict.fromkeys(hand.stages, "not built yet")
    before = {p.path: p.path.stat().st_mtime_ns for p in stored_plans()}
    assert len(before) == 4
    assert build(hand) == dict.fromkeys(hand.stages)
    assert {p.path: p.path.stat().st_mtime_ns for p in stored_plans()} == before
    assert build(hand, stages=("swap",), rebuild=True) == {"swap": "asked for"}


def test_record_says_what_the_plan_is(hand: Pack, emulator: Machine) -> None:
    build(hand, stages=("swap",))
    (plan,) = stored_plans()
    text = json.loads(plan.sidecar.read_text())
    data = plan.path.read_bytes()
    assert text["plan_sha256"] == hashlib.sha256(data).hexdigest()
    assert text["plan_bytes"] == len(data)
    assert text["source_sha256"] == text["graph_sha256"] == hand.stages["swap"].sha256
    assert text["place"] == {
        "library": "tensorrt", "version": "11.4.0.106", "gpu": "Emulated GPU", "targets": ["8.9"]
    }  # fmt: skip
    assert (text["cuda"], text["driver"]) == ("13.0", "580.95.05")
    assert text["config"]["profiles"] == [{"N": [1, 4, 32]}]
    assert text["precision"] == "fp32"
    assert text["build_seconds"] >= 0
    assert text["device_memory_bytes"] > 0
    assert text["difference"] == {"finite": 1.0, "picture_db": 120.0}
    assert [t["shape"] for t in text["inputs"]] == [["N", 3, 16, 16], ["N", 3]]
    assert plan.record == stored_plans()[0].record


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: setattr(m, "tensorrt", "10.16.1.11"), "it was built with TensorRT 11.4.0.106, this is 10.16.1.11"),
        (
            lambda m: setattr(m, "gpu", replace(m.gpu, name="Other GPU")),
            r"it was built for Emulated GPU \(compute capability 8.9\), this is Other GPU",
        ),
    ],
    ids=["TensorRT", "GPU"],
)
def test_another_place_makes_engines_stale(hand: Pack, emulator: Machine, change: object, reason: str) -> None:
    build(hand)
    change(emulator)  # type: ignore[operator]
    with pytest.raises(PlanError, match=rf"swap\.onnx: no TensorRT engine .* stale: {reason}.*build-engines"):
        open_engine(hand.stages["swap"], backend="tensorrt")
    assert "no engine of detect, identify, swap, parse" in choose(graphs=tuple(hand.stages.values())).reason
    found = build(hand, stages=("swap",))["swap"]
    assert found is not None
    assert found.startswith("stale: it was built ")
    open_engine(hand.stages["swap"], backend="tensorrt").close()
    assert len(stored_plans()) == 5


def test_other_configs_are_other_engines_and_the_last_one_asked_for_is_taken(hand: Pack) -> None:
    build(hand, stages=("swap",))
    changed = build(hand, stages=("swap",), overrides=overrides(faces="1,2,3"))["swap"]
    assert changed == "stale: profiles was [{'N': [1, 4, 32]}], is [{'N': [1, 2, 3]}]"
    assert profile(hand) == {"N": (1, 2, 3)}
    assert build(hand, stages=("swap",))["swap"] is None
    assert profile(hand) == {"N": (1, 4, 32)}


def profile(pack: Pack) -> object:
    from trtswap.backends.trt.engine import TensorRtEngine

    with open_engine(pack.stages["swap"], backend="tensorrt") as engine:
        assert isinstance(engine, TensorRtEngine)
        return engine.profiles[0]


def test_a_changed_graph_is_built_anew(hand: Pack, tmp_path: Path) -> None:
    build(hand)
    changed = write_pack(tmp_path / "changed", swap=GRAPHS["swap"].replace("0.5", "0.25"))
    assert build(changed) == dict.fromkeys(hand.stages) | {"swap": "stale: the pack's graph has changed"}


def test_a_damaged_plan_is_built_anew(hand: Pack) -> None:
    build(hand, stages=("parse",))
    (plan,) = stored_plans()
    plan.path.write_bytes(plan.path.read_bytes()[:-7])
    with pytest.raises(PlanError, match=r"its record says .* is damaged or was changed, and is not loaded"):
        open_engine(hand.stages["parse"], backend="tensorrt")
    reason = build(hand, stages=("parse",))["parse"]
    assert reason is not None
    assert "is damaged or was changed" in reason
    plan.path.unlink()
    with pytest.raises(PlanError, match="cannot be read: No such file"):
        open_engine(hand.stages["parse"], backend="tensorrt")


@pytest.mark.parametrize(
    ("stage", "fault", "message"),
    [
        ("swap", "inexact", r"picture_db is [23]\d\.\d+, expected at least 45\. It is refused and not kept"),
        ("swap", "not finite", r"finite is 0, expected at least 1\."),
        ("identify", "inexact", r"latent_cosine is 0\.99\d+, expected at least 0\.9999\."),
        ("parse", "inexact", r"label_agreement is 0, expected at least 0\.995\."),
        (
            "detect",
            "inexact",
            r"landmark_pixels is \d\.\d+, expected at most 0\.5; score is 0\.04\d*, .* at most 0\.03\.",
        ),
    ],
)
def test_an_engine_that_differs_is_refused_with_the_numbers(
    hand: Pack, emulator: Machine, stage: str, fault: str, message: str
) -> None:
    emulator.faults.add(fault)
    with pytest.raises(EngineBuildError, match=rf"graph {stage} differs from its FP32 reference: .*{message}"):
        build(hand, stages=(stage,))
    assert stored_plans() == []
    assert not list(plans_folder().glob("*.plan"))


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("build", EngineBuildError, r"swap\.onnx: TensorRT 11.* built no engine: could not find any implementation"),
        ("build memory", DeviceMemoryError, r"swap\.onnx: the GPU's memory did not suffice.*out of memory"),
        ("context", DeviceMemoryError, r"swap\.onnx: TensorRT could not make an execution context: out of memory"),
    ],
)
def test_faults_are_typed_and_leave_nothing(
    hand: Pack, emulator: Machine, fault: str, error: type[Exception], message: str
) -> None:
    emulator.faults.add(fault)
    with pytest.raises(error, match=message):
        build(hand, stages=("swap",))
    assert stored_plans() == []


def test_half_precision_needs_a_table(hand: Pack) -> None:
    with pytest.raises(PackError, match=r"calibration\.json does not exist.*--calibration FILE.*--video CLIP.*fp32"):
        build(hand, precision="fp16")


def test_wrong_choices_are_named(hand: Pack) -> None:
    with pytest.raises(InputError, match="pack hand has no stage mouth; it has detect, identify, swap, parse"):
        build(hand, stages=("mouth",))
    with pytest.raises(InputError, match="precision is 'fp8', expected fp16 or fp32"):
        build(hand, precision="fp8")
    with pytest.raises(InputError, match="compiler is 'gcc', expected onnx-parser or torch-tensorrt"):
        build(hand, compiler="gcc")


def test_a_folder_that_cannot_be_written_is_named(hand: Pack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRTSWAP_ENGINES", str(tmp_path / "file" / "engines"))
    with pytest.raises(PlanError, match=r"engines cannot be written to: .*\$TRTSWAP_ENGINES"):
        build(hand)


def _build_in_child(folder: Path, results: "multiprocessing.Queue[str]") -> None:
    torch.set_num_threads(1)  # a thread pool does not survive a fork
    built = build(Pack.load(folder), stages=("swap",))
    results.put(str(built["swap"]))


def test_two_processes_build_one_engine(hand: Pack) -> None:
    """Both want the same engine: one builds it, the other waits and takes it; times of both are kept."""
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[str] = context.Queue()
    children = [context.Process(target=_build_in_child, args=(hand.path, results)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert sorted(results.get(timeout=10) for _ in children) == ["None", "not built yet"]
    assert len(stored_plans()) == 1


def test_progress_is_told_and_a_build_can_be_stopped(hand: Pack) -> None:
    from trtswap.engines.aim import aim
    from trtswap.engines.build import Options, SilentListener, build_engines
    from trtswap.engines.compiler import BuildCancelled

    heard: list[str] = []

    class Ear(SilentListener):
        stop_at = 10**9

        def engine(self, stage: str, reason: str) -> None:
            heard.append(f"engine {stage}: {reason}")

        def phase(self, name: str, parent: str | None, steps: int) -> None:
            heard.append(f"{parent} > {name}: {steps}")

        def step(self, name: str, step: int) -> None:
            heard.append(f"{name} {step}")

        def finished(self, name: str) -> None:
            heard.append(f"{name} done")

        def cancelled(self) -> bool:
            return len(heard) >= self.stop_at

    ear = Ear()
    chosen = Options(precision="fp32", stages=("parse",))
    build_engines(hand, aim(gpus.find_gpu()), chosen, listener=ear)
    assert heard[:2] == ["engine parse: not built yet; compiler: onnx-parser", "None > Building engine: 6"]
    assert {"Timing tactics 0", "Timing tactics done"} <= set(heard)
    assert heard[-1] == "Building engine done"
    heard.clear()
    ear.stop_at = 5
    with pytest.raises(BuildCancelled, match=r"parse\.onnx: the build was stopped"):
        build_engines(hand, aim(gpus.find_gpu()), replace(chosen, rebuild=True), listener=ear)
    assert not [line for line in heard if "Timing tactics" in line]


def test_an_exception_of_the_listener_comes_out(hand: Pack) -> None:
    from trtswap.engines.aim import aim
    from trtswap.engines.build import Options, SilentListener, build_engines

    class Broken(SilentListener):
        def step(self, name: str, step: int) -> None:
            raise RuntimeError("no more paper")

    with pytest.raises(RuntimeError, match="no more paper"):
        build_engines(hand, aim(gpus.find_gpu()), Options(precision="fp32", stages=("parse",)), listener=Broken())
    assert stored_plans() == []


def test_copying_files_does_not_change_which_engine_is_taken(hand: Pack) -> None:
    build(hand, stages=("swap",))
    build(hand, stages=("swap",), overrides=overrides(faces="1,2,3"))
    assert profile(hand) == {"N": (1, 2, 3)}
    for age, plan in enumerate(stored_plans()):  # the newest first
        os.utime(plan.sidecar, (1_000_000 + age, 1_000_000 + age))
    assert profile(hand) == {"N": (1, 2, 3)}
    assert [plan.record.chosen for plan in stored_plans()] == [2, 1]
