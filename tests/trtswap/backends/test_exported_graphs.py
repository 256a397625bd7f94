"""Graphs as the exporter writes them: the other backends give what ONNX Runtime gives.

Narrow ones, of the two stages that together have nearly every operator.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from trtswap.backends import open_engine
from trtswap.backends.options import on_cores
from trtswap.backends.torch.engine import TorchEngine
from trtswap.export.build import example_inputs
from trtswap.export.contract import IMAGENET, PLAIN, Swap
from trtswap.export.detect import DetectGraph
from trtswap.export.graph import export_graph
from trtswap.export.networks.simswap import SimSwap
from trtswap.export.networks.yunet import YuNet
from trtswap.model.pack import StageSpec

NARROW: dict[str, tuple[dict[str, int], Callable[[], nn.Module]]] = {
    "detect": ({"size": 320, "max_faces": 4}, lambda: DetectGraph(YuNet("s", width=0.25), candidates=8, max_faces=4)),
    "swap": (
        {"size": 64, "latent": 16},
        lambda: Swap(SimSwap("224", latent=16, width=0.125, blocks=1), takes=IMAGENET, gives=PLAIN),
    ),
}


@pytest.fixture(scope="module", params=NARROW)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StageSpec:
    sizes, make = NARROW[request.param]
    path = tmp_path_factory.mktemp("exported") / f"{request.param}.onnx"
    spec = partial(StageSpec, request.param, path, "")(**sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = make().eval()
    onnx.save(export_graph(network, *spec.contract, name=spec.name), path)
    return spec


@pytest.mark.parametrize(
    ("backend", "device"),
    [("torch", "cpu"), ("openvino", "cpu"), pytest.param("torch", "cuda", marks=pytest.mark.gpu)],
)
def test_agrees_with_onnxruntime(exported: StageSpec, backend: str, device: str) -> None:
    with (
        open_engine(exported, backend="onnxruntime", device="cpu") as reference,
        open_engine(exported, backend=backend, device=device) as engine,
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
    ):
        assert engine.inputs == reference.inputs
        assert engine.outputs == reference.outputs
        for batch in (1, 2, 5, 0):
            inputs = example_inputs(exported, batch)
            expected = reference(**inputs)
            found = engine(**{name: t.to(device) for name, t in inputs.items()})
            for name, wanted in expected.items():
                assert bool(wanted.any()) == bool(batch)
                scale = float(wanted.abs().max()) if batch else 1.0
                torch.testing.assert_close(found[name].cpu(), wanted, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_face_does_not_depend_on_those_beside_it(exported: StageSpec, backend: str) -> None:
    """To the bit: OpenVINO's normalisation alone would sum in another order at batch 1."""
    inputs = example_inputs(exported, 5)
    with open_engine(exported, backend=backend, device="cpu", options=on_cores(backend, 2)) as engine:
        whole = engine(**inputs)
        for batch in (1, 2, 3):
            part = engine(**{name: t[:batch].contiguous() for name, t in inputs.items()})
            assert all(torch.equal(t, whole[name][:batch]) for name, t in part.items())


def test_openvino_runs_normalised_rows_of_a_computed_length(tmp_path: Path) -> None:
    """Elements that run one after the other come back together also in an output whose shape only a run tells."""
    text = """<ir_version: 9, opset_import: ["" : 19]>
        g (float[N,3,H,W] x) => (float[N,3,H,W] y, float[N,K] flat)
        <float[3] ones = {1, 1, 1}, float[3] zeros = {0, 0, 0}> {
            y = InstanceNormalization (x, ones, zeros)
            flat = Flatten (y)
        }"""
    onnx.save(onnx.parser.parse_model(text), path := tmp_path / "rows.onnx")
    x = torch.rand(3, 3, 8, 8)
    with open_engine(path, backend="openvino") as engine:
        outputs = engine(x=x)
    torch.testing.assert_close(outputs["y"], nn.functional.instance_norm(x), rtol=1e-4, atol=1e-4)
    assert torch.equal(outputs["flat"], outputs["y"].flatten(1))


def test_shapes_of_exported_graphs_need_no_device_memory(exported: StageSpec) -> None:
    """On the meta device, reading a value back to the host raises."""
    meta = torch.device("meta")
    with TorchEngine(Path(exported.path), device=meta, precision="fp32") as engine:
        outputs = engine(**{name: t.to(meta) for name, t in example_inputs(exported, 3).items()})
        assert all(t.is_meta and t.shape[0] == 3 for t in outputs.values())
