"""Every graph that trtswap exports, through NVIDIA's own parser and compiler, in every precision."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from trtswap.backends.trt.library import AMPERE_ON, find_library
from trtswap.engines.build import MEMORY_SHARE
from trtswap.engines.child import compile_apart
from trtswap.engines.progress import Silent
from trtswap.engines.request import Request
from trtswap.errors import EngineBuildError
from trtswap.model.pack import Pack
from trtswap.packs import find_pack

from ..bench.test_measure import load
from ..export.test_rules import BROKEN, CONSTANTS, FINE, graph

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: its wheels are for Linux and Windows")
pytestmark = pytest.mark.timeout(900)

bench = load("engines")
TURING = ("7.5",)
STAGES = ("detect", "identify", "swap", "parse", "restore")
NEAR = 0.05  # of what was measured with the same version


@pytest.fixture(scope="module")
def measured() -> dict[str, float]:
    """What was measured with this very version: MiB by name of the case."""
    found = json.loads(bench.RESULTS.read_text())
    if found["settings"]["library"] != find_library("rtx").title:
        pytest.skip(f"bench/results/engines.json is of {found['settings']['library']}: run bench/engines.py")
    return {row["name"]: row["median"] for row in found["cases"]}


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Callable[[str, str], Any]:
    """A pack by name and precision, and its graphs."""
    folder = tmp_path_factory.mktemp("graphs")

    def get(name: str, precision: str) -> tuple[Pack, dict[str, Path]]:
        fixture = {"fp32": "full_pack", "fp16": "full_half_pack"}
        path = find_pack("avatar") if name == "avatar" else request.getfixturevalue(fixture[precision])
        pack = Pack.load(path)
        return pack, bench.graphs(pack, precision, folder)

    return get


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("name", "precision", "targets"),
    [
        ("avatar", "fp32", AMPERE_ON),
        ("avatar", "fp16", AMPERE_ON),
        ("avatar", "fp16", TURING),
        ("full size", "fp32", AMPERE_ON),
        ("full size", "fp16", AMPERE_ON),
        ("full size", "fp16", TURING),
    ],
    ids=lambda value: value if isinstance(value, str) else f"sm{value[0].replace('.', '')}",
)
def test_every_graph_compiles(
    packs: Any, measured: Any, name: str, precision: str, targets: tuple[str, ...], stage: str
) -> None:
    pack, files = packs(name, precision)
    made = bench.compiled(pack.stages[stage], files[stage], targets)
    assert made.warnings == ()
    assert made.memory_bytes <= MEMORY_SHARE * bench.CARD
    called = f"{bench.title(name, precision, targets)}: {stage}"
    assert len(made.plan) / 2**20 == pytest.approx(measured[f"{called}, engine"], rel=NEAR)
    assert made.memory_bytes / 2**20 == pytest.approx(measured[f"{called}, device memory"], rel=NEAR)


@pytest.mark.parametrize("targets", [AMPERE_ON, TURING], ids=["ampere on", "sm75"])
@pytest.mark.parametrize("stage", ["identify", "encode", "swap"])
def test_the_pack_mesh_compiles(stage: str, targets: tuple[str, ...]) -> None:
    """In FP32, as it stays; its detector is the pack avatar's."""
    spec = Pack.load(find_pack("mesh")).stages[stage]
    made = bench.compiled(spec, spec.path, targets)
    assert made.warnings == ()
    assert made.memory_bytes <= MEMORY_SHARE * bench.CARD


@pytest.mark.parametrize("stage", ["identify", "swap", "parse"])
def test_int8_compiles(packs: Any, stage: str) -> None:
    """Detection and restoration do as well, for which it takes a minute (bench/engines.py)."""
    pack, files = packs("avatar", "int8")
    assert bench.compiled(pack.stages[stage], files[stage], AMPERE_ON).warnings == ()


@pytest.mark.parametrize("stage", STAGES)
def test_turing_has_no_products_in_fp32(packs: Any, stage: str) -> None:
    pack, files = packs("avatar", "fp32")
    if stage == "parse":  # convolutions alone
        bench.compiled(pack.stages[stage], files[stage], TURING)
        return
    with pytest.raises(EngineBuildError, match=r"for Turing|FP32 GEMM is not supported"):
        bench.compiled(pack.stages[stage], files[stage], TURING)


def test_the_table_of_the_documents_is_what_was_measured() -> None:
    wanted = bench.table(json.loads(bench.RESULTS.read_text()))
    assert wanted in (Path(__file__).parents[2] / "docs" / "performance.md").read_text()


def request_of(model: onnx.ModelProto, path: Path) -> Request:
    """Of fixed shapes: each dynamic dimension is 2."""
    onnx.save(model, path)
    constants = {t.name for t in model.graph.initializer}
    shapes = {
        v.name: tuple(d.dim_value or 2 for d in v.type.tensor_type.shape.dim)
        for v in model.graph.input
        if v.name not in constants
    }
    return Request(
        graph=str(path), profiles=[{name: (s, s, s) for name, s in shapes.items()}], targets=AMPERE_ON,
        workspace_bytes=None, optimisation_level=3, hardware_compatibility="none", version_compatible=False, tf32=False,
    )  # fmt: skip


@pytest.mark.parametrize("text", FINE.values(), ids=FINE)
def test_what_keeps_the_rules_compiles(text: str, tmp_path: Path) -> None:
    model = graph(text, {name: value for name, value in CONSTANTS.items() if f" {name}" in text or f"({name}" in text})
    compile_apart(find_library("rtx"), request_of(model, tmp_path / "g.onnx"), Silent())


@pytest.mark.parametrize(
    "name",
    ["operator", "celu in half", "lp pool", "mod of floats", "vector times matrices", "antialias", "norm of two types"],
)
def test_rules_refuse_what_the_parser_or_builder_refuses(name: str, tmp_path: Path) -> None:
    text, constants, _ = BROKEN[name]
    with pytest.raises(EngineBuildError):
        compile_apart(find_library("rtx"), request_of(graph(text, constants), tmp_path / "g.onnx"), Silent())
