"""The graphs that ship for every pack: how they are kept, and what NVIDIA's compiler makes of them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from trtswap.backends import open_engine
from trtswap.backends.trt.library import AMPERE_ON, find_library
from trtswap.export.build import example_inputs
from trtswap.export.rules import check_rules
from trtswap.export.shared import in_half, write_shared
from trtswap.model.pack import StageSpec, shared_stages

NAMES = ("landmarks", "occlude")


def test_these_are_all() -> None:
    assert tuple(shared_stages()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_float16_and_all_else_is_float32(name: str) -> None:
    stage = shared_stages()[name]
    model = onnx.load(stage.path)
    halves = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16]
    assert sum(int(np.prod(t.dims)) for t in halves) > 0.97 * stage.figures["parameters"]
    assert {n.op_type for n in model.graph.node for name in n.input if name.endswith("_half")} == {"Cast"}
    assert stage.path.stat().st_size < 3e6
    check_rules(model, name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_every_backend_gives_the_same(name: str, backend: str) -> None:
    stage, found = shared_stages()[name], []
    inputs = example_inputs(stage, 3)
    for each in ("onnxruntime", backend):
        with open_engine(stage, backend=each, device="cpu") as engine:
            found.append(engine(**inputs)[stage.outputs[0].name])
    np.testing.assert_allclose(found[1], found[0], atol=2e-3 if name == "landmarks" else 1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_nvidias_compiler_takes_it_without_a_warning(name: str) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    from trtswap.engines.child import compile_apart
    from trtswap.engines.config import default_config
    from trtswap.engines.progress import Silent

    stage = shared_stages()[name]
    for targets in (AMPERE_ON, ("7.5",)):
        request = default_config(stage, 8 * 2**30).request(stage.path, stage.contract[0], targets)
        made = compile_apart(find_library("rtx"), request, Silent())
        assert made.warnings == ()
        assert made.memory_bytes < 100 * 2**20


class _Half(torch.nn.Module):
    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        return faces[:, :1] * 0.5


def test_writing_one_leaves_the_others(tmp_path: Path) -> None:
    for name in ("occlude", "again"):
        spec = StageSpec("occlude", tmp_path / f"{name}.onnx", "", "fp16", size=32, templates=("mesh_192",))
        write_shared(spec, _Half().eval(), tmp_path, weights={name: {"licence": "none"}})
    text = (tmp_path / "stages.toml").read_text("utf-8")
    assert text.count("[stages.occlude]") == 1
    assert 'file = "again.onnx"' in text
    assert "[weights.occlude]" in text
    assert "[weights.again]" in text


def test_only_what_float16_holds_is_halved() -> None:
    exact, other = np.full(40, 0.5, np.float32), np.full(40, 0.1, np.float32)
    text = (
        '<ir_version: 9, opset_import: ["" : 19]> g (float[N,40] x) => (float[N,40] y) { a = Mul(x, k) y = Add(a, l) }'
    )
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(v, n) for n, v in (("k", exact), ("l", other)))
    in_half(model)
    assert {t.name: t.data_type for t in model.graph.initializer} == {
        "k_half": TensorProto.FLOAT16, "l": TensorProto.FLOAT
    }  # fmt: skip
    onnx.checker.check_model(model)
