"""SimSwap: the official checkpoints' layouts, and all four variants against their definition in float64."""

from functools import partial

import numpy as np
import pytest
import torch

from trtswap.errors import InputError
from trtswap.export.networks.simswap import BLOCK, ConvInBlocks, SimSwap, normalised_conv


@pytest.mark.parametrize(
    ("variant", "name", "parameters"),
    [
        ("224", "simswap_224", 55_051_779),
        ("512-beta", "simswap_512_beta", 55_079_427),
        ("fix", "simswap_224", 55_051_779),  # differs from 224 in its arithmetic alone
        ("fix-deep", "simswap_fix_deep", 59_773_443),
    ],
)
def test_layout_is_the_official_checkpoints(layout, variant, name, parameters):
    with torch.device("meta"):
        network = SimSwap(variant)
    assert {key: tuple(t.shape) for key, t in network.state_dict().items()} == layout(name)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("variant", "levels", "unit_range", "skips"),
    [
        ("224", (1, 2, 3), True, False),
        ("512-beta", (0, 1, 2, 3), True, False),
        ("fix", (1, 2, 3), False, False),
        ("fix-deep", (1, 2, 3, 4), False, False),
        ("skips", (1, 2, 3), True, True),
        ("skips-half", (2, 3), True, True),
    ],
)
def test_network_is_its_definition(randomised, agree, variant, levels, unit_range, skips):
    network = randomised(SimSwap(variant, latent=24, width=0.125, blocks=2))
    generator = torch.Generator().manual_seed(1)
    faces = torch.rand(5, 3, 48, 64, generator=generator)
    latents = torch.nn.functional.normalize(torch.randn(5, 24, generator=generator))
    agree(network, partial(definition, levels=levels, unit_range=unit_range, skips=skips), faces, latents)


def test_training_goes_on_from_the_half():
    half, whole = SimSwap("skips-half", width=0.125), SimSwap("skips", width=0.125)
    inner = {k: v for k, v in half.state_dict().items() if not k.startswith(("first", "last"))}
    outer = whole.load_state_dict(inner, strict=False)
    assert not outer.unexpected_keys
    assert {key.split(".")[0] for key in outer.missing_keys} == {"first_layer", "down1", "up1", "last_layer"}


def test_normalisation_survives_squares_beyond_half_precision():
    x = torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(3)).mul(600).half()
    norm = normalised_conv(8)[2]
    expected = by_definition(x.double().numpy())
    assert (x.double() ** 2).mean() > torch.finfo(torch.float16).max
    np.testing.assert_allclose(norm(x).numpy(), expected, rtol=0, atol=4e-3)


def test_normalisation_of_a_flat_channel_is_zero():
    norm = normalised_conv(2)[2]
    assert torch.equal(norm(torch.full((1, 2, 4, 4), 0.25)), torch.zeros(1, 2, 4, 4))


def test_unknown_variant_names_the_known_ones():
    with pytest.raises(InputError, match="'256' is unknown; expected one of: 224, 512-beta, fix, fix-deep"):
        SimSwap("256")


def by_definition(x):
    """Instance normalisation: the mean removed, then divided by the root of the mean square plus 1e-8."""
    centred = x - x.mean((2, 3), keepdims=True)
    return centred / np.sqrt((centred**2).mean((2, 3), keepdims=True) + 1e-8)


def definition(net, faces, latents, *, levels, unit_range, skips):
    """Swapped faces, layer by layer, adaptive instance normalisation written out."""

    def styled(name, number, x):
        x = by_definition(net.conv(f"{name}.conv{number}.1", x, pad=1, mode="reflect"))
        style = net.linear(f"{name}.style{number}.linear", latents).reshape(len(latents), 2, -1, 1, 1)
        return x * (style[:, 0] + 1) + style[:, 1]

    x = net.relu(net.batch_norm("first_layer.2", net.conv("first_layer.1", faces, pad=3, mode="reflect")))
    seen = []
    for level in levels:
        seen.append(x)
        x = net.relu(net.batch_norm(f"down{level}.1", net.conv(f"down{level}.0", x, stride=2, pad=1)))
    for i in range(2):
        x = x + styled(f"BottleNeck.{i}", 2, net.relu(styled(f"BottleNeck.{i}", 1, x)))
    for level in reversed(levels):
        x = net.resize(x, 2)
        x = net.relu(net.batch_norm(f"up{level}.2", net.conv(f"up{level}.1", x, pad=1)))
        x = x + seen.pop() if skips else x
    x = net.conv("last_layer.1", x, pad=3, mode="reflect")
    return (np.tanh(x) + 1) / 2 if unit_range else x


def test_blocks_of_pixels_are_the_same_convolution():
    """As PyTorch's own convolution has them, with and without a bias, on a batch of another shape than square."""
    generator = torch.Generator().manual_seed(0)
    for bias in (True, False):
        layer = ConvInBlocks(5, 3, 7, bias=bias)
        x = torch.randn(2, 5, 8 * BLOCK + 6, 3 * BLOCK + 6, generator=generator)
        plain = torch.nn.functional.conv2d(x, layer.weight, layer.bias)
        assert torch.allclose(layer(x), plain, rtol=0, atol=1e-6)
