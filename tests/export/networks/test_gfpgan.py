"""GFPGAN: the official checkpoints' layout, and the whole network against its definition in float64.

The definition modulates and normalises the weights of every convolution explicitly, one picture at a time.
"""

from math import log2

import numpy as np
import pytest
import torch

from trtswap.errors import InputError
from trtswap.export.networks.gfpgan import GFPGAN

STYLE = 24


def test_layout_is_the_official_checkpoints(layout):
    with torch.device("meta"):
        network = GFPGAN()
    assert {key: tuple(t.shape) for key, t in network.state_dict().items()} == layout("gfpgan")
    assert sum(p.numel() for p in network.parameters()) == 86_444_252
    assert sum(b.numel() for b in network.buffers()) == 699_024


@pytest.mark.parametrize(("size", "narrow"), [(8, 0.125), (64, 0.03125)])
def test_network_is_its_definition(randomised, agree, size, narrow):
    network = randomised(GFPGAN(size, style=STYLE, mapping_layers=1, channel_multiplier=1, narrow=narrow))
    faces = torch.rand(5, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    agree(network, lambda net, faces: np.concatenate([definition(net, face[None]) for face in faces]), faces)


def test_a_residual_network_adds_to_the_face(randomised):
    plain = randomised(GFPGAN(32, style=STYLE, mapping_layers=0, narrow=0.0625))
    residual = GFPGAN(32, style=STYLE, mapping_layers=0, narrow=0.0625, residual=True)
    residual.load_state_dict(plain.state_dict())
    faces = torch.rand(2, 3, 32, 32) * 2 - 1
    assert torch.equal(residual(faces), faces + plain(faces))


def test_two_runs_give_the_same(randomised):
    network = randomised(GFPGAN(32, style=STYLE, mapping_layers=1, narrow=0.0625))
    faces = torch.zeros(1, 3, 32, 32)
    assert torch.equal(network(faces), network(faces))


@pytest.mark.parametrize("size", [4, 100, 2048])
def test_impossible_size(size):
    with pytest.raises(InputError, match=f"size {size} is not possible; expected one of"):
        GFPGAN(size)


def definition(net, face):
    """One restored picture, layer by layer."""
    levels = int(log2(face.shape[-1])) - 2

    def leaky(x):
        return net.leaky(x, 0.2)

    def res_block(name, x, factor):
        y = leaky(net.conv(f"{name}.conv1", x, pad=1))
        y = leaky(net.conv(f"{name}.conv2", net.resize(y, factor), pad=1))
        return y + net.conv(f"{name}.skip", net.resize(x, factor))

    def condition(name, x):
        return net.conv(f"{name}.2", leaky(net.conv(f"{name}.0", x, pad=1)), pad=1)

    def modulated(name, x, style, *, demodulate, upsample=False):
        weight = net[f"{name}.weight"][0] * net.linear(f"{name}.modulation", style)[None, :, None, None]
        if demodulate:
            weight /= np.sqrt((weight**2).sum((1, 2, 3), keepdims=True) + 1e-8)
        return net.convolve(net.resize(x, 2) if upsample else x, weight, pad=weight.shape[-1] // 2)

    def styled(name, x, style, noise, *, upsample=False):
        x = modulated(f"{name}.modulated_conv", x, style, demodulate=True, upsample=upsample) * np.sqrt(2)
        return leaky(x + net[f"{name}.weight"] * net[f"stylegan_decoder.noises.noise{noise}"] + net[f"{name}.bias"])

    def to_rgb(name, x, style):
        return modulated(f"{name}.modulated_conv", x, style, demodulate=False) + net[f"{name}.bias"]

    x = leaky(net.conv("conv_body_first", face))
    skips = []
    for i in range(levels):
        x = res_block(f"conv_body_down.{i}", x, 0.5)
        skips.append(x)
    x = leaky(net.conv("final_conv", x, pad=1))
    styles = net.linear("final_linear", x.reshape(-1)).reshape(-1, STYLE)
    assert len(styles) == 2 * levels + 2

    decoder = "stylegan_decoder"
    y = styled(f"{decoder}.style_conv1", net[f"{decoder}.constant_input.weight"], styles[0], 0)
    rgb = to_rgb(f"{decoder}.to_rgb1", y, styles[1])
    for i in range(levels):
        x = res_block(f"conv_body_up.{i}", x + skips.pop(), 2)
        y = styled(f"{decoder}.style_convs.{2 * i}", y, styles[2 * i + 1], 2 * i + 1, upsample=True)
        half = y.shape[1] // 2
        y[:, half:] = y[:, half:] * condition(f"condition_scale.{i}", x) + condition(f"condition_shift.{i}", x)
        y = styled(f"{decoder}.style_convs.{2 * i + 1}", y, styles[2 * i + 2], 2 * i + 2)
        rgb = net.resize(rgb, 2) + to_rgb(f"{decoder}.to_rgbs.{i}", y, styles[2 * i + 3])
    return rgb
