"""YuNet: the official checkpoints' layout, and their weights against the official ONNX files."""

import numpy as np
import onnxruntime
import pytest
import torch

from trtswap.errors import InputError
from trtswap.export.networks.yunet import STRIDES, YuNet

PARAMETERS = {"n": 75_856, "s": 54_608}


@pytest.mark.parametrize("size", ["n", "s"])
def test_layout_is_the_official_checkpoints(layout, size):
    network = YuNet(size)
    assert {key: tuple(t.shape) for key, t in network.state_dict().items()} == layout(f"yunet_{size}")
    assert len(layout(f"yunet_{size}")) == {"n": 208, "s": 181}[size]
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[size]


@pytest.mark.parametrize(
    ("size", "file", "shapes"),
    [
        ("n", "yunet_n_dynamic.onnx", [(32, 32), (64, 96), (320, 320), (384, 640), (640, 352)]),
        ("s", "yunet_s_dynamic.onnx", [(32, 32), (64, 96), (320, 320), (384, 640), (640, 352)]),
        ("s", "yunet_s_640_640.onnx", [(640, 640)]),
    ],
)
def test_weights_give_the_official_graphs_outputs(data, size, file, shapes):
    network = YuNet(size)
    network.load_state_dict(torch.load(data / f"yunet_{size}.pth", map_location="cpu", weights_only=True)["state_dict"])
    network.eval()
    session = onnxruntime.InferenceSession(data / file, providers=["CPUExecutionProvider"])
    names = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES]
    generator = torch.Generator().manual_seed(0)
    for height, width in shapes:
        images = torch.rand(1, 3, height, width, generator=generator) * 255
        with torch.no_grad():
            found = network(images)
        for name, ours, official in zip(names, found, session.run(names, {"input": images.numpy()}), strict=True):
            assert ours.shape == official.shape, name
            assert np.abs(ours.numpy() - official).max() <= 1e-5, name


def test_levels_are_the_outputs_before_the_sigmoid():
    network = YuNet("s").eval()
    images = torch.rand(2, 3, 64, 96) * 255
    with torch.no_grad():
        outputs, levels = network(images), network.levels(images)
    for level, cls, kps, stride in zip(levels, outputs[:3], outputs[-3:], STRIDES, strict=True):
        assert level.kps.shape == (2, 10, 64 // stride, 96 // stride)
        assert torch.equal(level.cls[:, 0].flatten(1).sigmoid(), cls[..., 0])
        # row by row: the second cell is the one to the right of the first
        assert torch.equal(level.kps[:, :, 0, 1], kps[:, 1])


def test_width_scales_hidden_layers_only():
    network = YuNet("n", width=0.25).eval()
    assert network.backbone.model0.conv1.out_channels == 4
    assert network.neck.lateral_convs[0].conv1.out_channels == 16
    assert [x.shape[2] for x in network(torch.zeros(1, 3, 32, 32))] == [1] * 6 + [4] * 3 + [10] * 3


@pytest.mark.parametrize(("size", "width"), [("m", 1.0), ("n", 0.0)])
def test_options_out_of_range_are_named(size, width):
    with pytest.raises(InputError, match="expected size 'n' or 's'"):
        YuNet(size, width=width)
