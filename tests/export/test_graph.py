"""The way from a module to a graph: what it promises about names, shapes, bytes and numbers."""

import subprocess
import sys
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trtswap.backends.engine import TensorSpec
from trtswap.errors import ExportError
from trtswap.export.compare import Inputs, compare, image_like
from trtswap.export.graph import OPSET, export_graph

F32, U8 = torch.float32, torch.uint8
FACES = TensorSpec("faces", ("N", 3, 16, 16), F32)
LATENTS = TensorSpec("latents", ("N", 6), F32)
INPUTS = (FACES, LATENTS)
OUTPUTS = (TensorSpec("swapped", ("N", 4, 32, 32), F32), TensorSpec("labels", ("N", 16, 16), U8))


class Net(nn.Module):
    """What the real networks are made of; one buffer has the name of an output on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))
        self.style = nn.Linear(6, 8)
        self.norm = nn.InstanceNorm2d(4, eps=1e-8)
        self.register_buffer("labels", torch.tensor(2.0))

    def forward(self, faces: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = self.style(latents)[:, :, None, None].chunk(2, 1)
        x = self.norm(self.conv(faces)) * (scale + 1) + shift
        swapped = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False).clamp(0, 1)
        labels = F.interpolate(swapped * self.labels, (16, 16), mode="bilinear", align_corners=True).argmax(1).to(U8)
        return swapped, labels


def make_net() -> Net:
    torch.manual_seed(3)
    net = Net()
    net(torch.rand(4, 3, 16, 16), torch.randn(4, 6))  # batch norm statistics that are not 0 and 1
    return net.eval()


def make_inputs(batch: int) -> Inputs:
    generator = torch.Generator().manual_seed(1)
    return {
        "faces": image_like((batch, 3, 16, 16), generator),
        "latents": torch.randn(batch, 6, generator=generator),
    }


@pytest.fixture(scope="module")
def net() -> Net:
    return make_net()


@pytest.fixture(scope="module")
def model(net: Net) -> onnx.ModelProto:
    return export_graph(net, INPUTS, OUTPUTS, name="swap")


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def test_inputs_and_outputs_are_the_contract(model: onnx.ModelProto) -> None:
    for values, specs in ((model.graph.input, INPUTS), (model.graph.output, OUTPUTS)):
        assert [(v.name, dims(v)) for v in values] == [(s.name, list(s.shape)) for s in specs]
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]


def test_constants_are_folded(model: onnx.ModelProto) -> None:
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["Conv"] == 1
    assert kinds["InstanceNormalization"] == 1
    assert not {"BatchNormalization", "Constant", "Identity", "Shape", "If", "Loop"} & set(kinds)
    constants = {t.name for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Resize":
            assert [name in constants for name in node.input if name][1:] == [True], "a scale that is not constant"


def test_every_shape_is_inferred(model: onnx.ModelProto) -> None:
    known = {v.name for v in (*model.graph.value_info, *model.graph.output)}
    assert {name for node in model.graph.node for name in node.output} <= known


def test_nothing_of_the_machine_is_in_the_file(model: onnx.ModelProto) -> None:
    content = model.SerializeToString()
    for trace in (b".py", b"site-packages", b"torch", __file__.encode()):
        assert trace not in content
    assert any(node.name.startswith("conv/1/") or node.name.startswith("conv/2/") for node in model.graph.node)


def test_the_same_module_gives_the_same_bytes(model: onnx.ModelProto) -> None:
    script = (
        "import sys\n"
        f"exec(open({__file__!r}).read())\n"
        "model = export_graph(make_net(), INPUTS, OUTPUTS, name='swap')\n"
        "sys.stdout.buffer.write(model.SerializeToString())"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    assert done.stdout == model.SerializeToString()


def test_graph_computes_what_the_module_does(model: onnx.ModelProto, net: Net) -> None:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (1, 2, 5):
        inputs = make_inputs(batch)
        swapped, labels = session.run(None, {k: v.numpy() for k, v in inputs.items()})
        with torch.no_grad():
            wanted = net(**inputs)
        np.testing.assert_allclose(swapped, wanted[0].numpy(), atol=1e-5)
        assert (labels == wanted[1].numpy()).mean() > 0.999


def test_comparison_gives_figures(model: onnx.ModelProto, net: Net) -> None:
    found = compare(model, net, make_inputs)
    assert found.batches == (1, 2, 5)
    assert 0 < max(found.relative_difference) < 1e-5
    assert min(found.agreeing_labels) > 0.999
    conv, linear = 2 * 16 * 16 * 4 * 3 * 9, 2 * 6 * 8
    assert found.gflop == pytest.approx((conv + linear) / 1e9)
    assert found.figures()["max_relative_difference"] == pytest.approx(found.relative_difference, rel=0.01)


def test_comparison_finds_a_wrong_number(model: onnx.ModelProto) -> None:
    other = make_net()
    with torch.no_grad():
        other.style.bias[0] += 0.01
    with pytest.raises(ExportError, match=r"graph swap, output swapped, batch 1: ONNX Runtime differs .* \d\.\d+e-0\d"):
        compare(model, other, make_inputs)


class Rounding(nn.Module):
    """A sum whose value lies between large terms: FP32 knows only four digits of it."""

    def forward(self, faces: Tensor) -> Tensor:
        return (faces + 3000) * 7 - 21000 + self.training


def test_a_graph_may_be_as_far_from_float64_as_its_network_is() -> None:
    restored = TensorSpec("restored", FACES.shape, F32)
    model = export_graph(Reordered().eval(), (FACES,), (restored,), name="restore")
    found = compare(model, Rounding().eval(), lambda n: {"faces": make_inputs(n)["faces"]})
    assert max(found.relative_difference) > 1e-4, "the case is too easy to prove anything"


class Reordered(nn.Module):
    """The same in another order, as an optimiser makes it."""

    def forward(self, faces: Tensor) -> Tensor:
        return (faces * 7 + 21000) - 21000


def test_float64_still_finds_a_wrong_network() -> None:
    class Wrong(nn.Module):
        def forward(self, faces: Tensor) -> Tensor:
            return (faces * 7.05 + 21000) - 21000

    model = export_graph(Wrong().eval(), (FACES,), (TensorSpec("restored", FACES.shape, F32),), name="restore")
    with pytest.raises(ExportError, match=r"from float64 it is 7\.\d+e-03 away and PyTorch's FP32 \d\.\d+e-04"):
        compare(model, Rounding().eval(), lambda n: {"faces": make_inputs(n)["faces"]})


def test_comparison_finds_wrong_labels(model: onnx.ModelProto, net: Net) -> None:
    class Relabelled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, faces: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
            swapped, labels = self.net(faces, latents)
            labels[:, :2] = 200
            return swapped, labels

    with pytest.raises(ExportError, match=r"output labels, batch 1: 8\d\.\d+% of the labels"):
        compare(model, Relabelled(), make_inputs)


def test_comparison_finds_a_network_whose_rows_are_not_independent() -> None:
    class Mixing(nn.Module):
        def forward(self, faces: Tensor) -> Tensor:
            return faces - faces.mean(0, keepdim=True)

    module = Mixing().eval()
    model = export_graph(module, (FACES,), (TensorSpec("restored", FACES.shape, F32),), name="restore")
    with pytest.raises(ExportError, match="output restored, batch 2"):
        compare(model, module, lambda n: {"faces": make_inputs(n)["faces"]}, batches=(1, 2))


def test_an_epsilon_survives_folding() -> None:
    """An optimiser that takes 1e-12 for zero makes this 0 / 0."""

    class Normalise(nn.Module):
        def forward(self, faces: Tensor) -> Tensor:
            return faces / (faces.square().sum((1, 2, 3), keepdim=True) + 1e-12).sqrt()

    model = export_graph(Normalise().eval(), (FACES,), (TensorSpec("restored", FACES.shape, F32),), name="restore")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.isfinite(session.run(None, {"faces": np.zeros((1, 3, 16, 16), np.float32)})[0]).all()


def test_height_and_width_can_be_dynamic() -> None:
    class Pyramid(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            coarse = F.max_pool2d(images, 32)
            return images + F.interpolate(coarse, scale_factor=32.0, mode="nearest")

    shape = ("B", 3, "H", "W")
    module = Pyramid().eval()
    model = export_graph(module, (TensorSpec("images", shape, F32),), (TensorSpec("out", shape, F32),), name="detect")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for size in ((1, 3, 32, 64), (2, 3, 96, 32)):
        x = torch.rand(size)
        np.testing.assert_allclose(session.run(None, {"images": x.numpy()})[0], module(x).numpy(), atol=1e-6)


def test_an_output_of_another_shape_is_refused(net: Net) -> None:
    wrong = (TensorSpec("swapped", ("N", 4, 33, 33), F32), OUTPUTS[1])
    with pytest.raises(
        ExportError, match=r"graph swap, output swapped \[.*,4,32,32\] float: expected swapped \[N,4,33"
    ):
        export_graph(net, INPUTS, wrong, name="swap")


def test_an_output_of_another_type_is_refused(net: Net) -> None:
    wrong = (OUTPUTS[0], TensorSpec("labels", ("N", 16, 16), F32))
    with pytest.raises(ExportError, match=r"output labels .* uint8: expected labels"):
        export_graph(net, INPUTS, wrong, name="swap")


def test_training_mode_is_refused() -> None:
    with pytest.raises(ExportError, match=r"training mode, expected evaluation mode"):
        export_graph(Net().train(), INPUTS, OUTPUTS, name="swap")


RESTORED = TensorSpec("restored", FACES.shape, F32)


def test_a_fixed_batch_is_refused() -> None:
    class Fixed(nn.Module):
        def forward(self, faces: Tensor) -> Tensor:
            return faces + torch.ones(2, 3, 16, 16)

    with pytest.raises(ExportError, match=r"output restored \[2,3,16,16\] float: expected restored \[N,3,16,16\]"):
        export_graph(Fixed().eval(), (FACES,), (RESTORED,), name="restore")


def test_a_module_that_depends_on_values_is_refused() -> None:
    class Deciding(nn.Module):
        def forward(self, faces: Tensor) -> Tensor:
            return faces * 2 if faces.mean() > 0 else faces

    with pytest.raises(ExportError, match="graph restore cannot be traced with dynamic N"):
        export_graph(Deciding().eval(), (FACES,), (RESTORED,), name="restore")


def test_pictures_are_smooth_and_the_same_every_time() -> None:
    first, again = (image_like((2, 3, 64, 64), torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.min() >= 0
    assert first.max() <= 1
    assert (first[..., 1:] - first[..., :-1]).abs().mean() < 0.2 * (first[0] - first[1]).abs().mean() + 0.06
