"""ArcFace: the official checkpoint's layout, and the whole network against its definition in float64."""

from functools import partial

import pytest
import torch

from trtswap.export.networks.arcface import ArcFace


def test_layout_is_the_official_checkpoints(layout):
    with torch.device("meta"):
        network = ArcFace()
    assert {key: tuple(t.shape) for key, t in network.state_dict().items()} == layout("arcface")
    assert sum(p.numel() for p in network.parameters()) == 52_193_215


@pytest.mark.parametrize(("layers", "width", "size"), [((2, 2, 1, 2), 0.25, 56), ((1, 1, 2, 1), 0.125, 33)])
def test_network_is_its_definition(randomised, agree, layers, width, size):
    network = randomised(ArcFace(16, layers=layers, width=width, size=size))
    faces = torch.randn(5, 3, size, size, generator=torch.Generator().manual_seed(1))
    agree(network, partial(definition, layers=layers), faces)


def definition(net, faces, layers):
    """Latents, layer by layer."""

    def unit(name, x, stride):
        slope = net[f"{name}.prelu.weight"]
        y = net.conv(f"{name}.conv1", net.batch_norm(f"{name}.bn0", x), pad=1)
        y = net.leaky(net.batch_norm(f"{name}.bn1", y), slope)
        y = net.batch_norm(f"{name}.bn2", net.conv(f"{name}.conv2", y, stride=stride, pad=1))
        gate = net.leaky(net.linear(f"{name}.se.fc.0", y.mean((2, 3))), net[f"{name}.se.fc.1.weight"])
        y = y * net.sigmoid(net.linear(f"{name}.se.fc.2", gate))[:, :, None, None]
        if stride == 2:
            x = net.batch_norm(f"{name}.downsample.1", net.conv(f"{name}.downsample.0", x, stride=2))
        return net.leaky(x + y, slope)

    x = net.batch_norm("bn1", net.conv("conv1", faces))
    x = net.max_pool(net.leaky(x, net["prelu.weight"]), 2, 2)
    for layer, count in enumerate(layers, start=1):
        for i in range(count):
            x = unit(f"layer{layer}.{i}", x, stride=2 if layer > 1 and i == 0 else 1)
    x = net.batch_norm("bn2", x)
    return net.batch_norm("bn3", net.linear("fc", x.reshape(len(x), -1)))
