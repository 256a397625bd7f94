"""HDR and wide gamuts against the standards' own figures, and that every conversion can be undone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trtswap.pixels.color import ColorTags, PixelFormat
from trtswap.pixels.frames import Frames, Layer
from trtswap.pixels.geometry import identity_transform
from trtswap.pixels.light import sdr_from_signal, signal_from_sdr

SDR = PixelFormat("yuv444p10le", 10, (0, 0), "bt2020", False)
WIDE = [
    replace(SDR, transfer=transfer, primaries=primaries)
    for transfer in ("sdr", "pq", "hlg")
    for primaries in ("bt709", "bt2020", "p3")
    if (transfer, primaries) != ("sdr", "bt709")
]
PQ = replace(SDR, transfer="pq", primaries="bt2020")
# ITU-R BT.2087-0: linear BT.709 to BT.2020.
TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def name(fmt: PixelFormat) -> str:
    return f"{fmt.transfer} {fmt.primaries}"


def grey(value: float) -> torch.Tensor:
    return torch.full((3, 2, 2), value)


@pytest.mark.parametrize(
    ("transfer", "signal", "light"),
    [
        # BT.2408-7 table 1, HDR reference white: 58 % PQ, 75 % HLG; BT.2100's peaks.
        ("pq", 0.5807, 203.0),
        ("hlg", 0.75, 203.0),
        ("pq", 0.5081, 100.0),  # BT.2100-2, note to table 4
        ("pq", 0.7518, 1000.0),
        ("pq", 1.0, 10_000.0),
        ("hlg", 1.0, 1000.0),
        ("hlg", 0.5, 1000 * (1 / 12) ** 1.2),
        ("pq", 0.0, 0.0),
        ("hlg", 0.0, 0.0),
    ],
)
def test_convention_light_of_a_signal(transfer: str, signal: float, light: float) -> None:
    fmt = replace(SDR, transfer=transfer, primaries="bt2020")  # type: ignore[arg-type]
    expected = (light / 203) ** (1 / 2.4)
    assert torch.allclose(sdr_from_signal(grey(signal), fmt), grey(expected), atol=2e-3, rtol=2e-3)
    assert torch.allclose(signal_from_sdr(grey(expected), fmt), grey(signal), atol=1e-3)


def test_convention_primaries_are_mixed_in_light() -> None:
    colour = np.array([0.75, 0.25, 0.125])
    expected = (TO_2020 @ colour**2.4) ** (1 / 2.4)
    signal = signal_from_sdr(torch.tensor(colour).float()[:, None, None], replace(SDR, primaries="bt2020"))
    assert np.allclose(signal.flatten().numpy(), expected, atol=1e-3)


def test_sdr_is_left_alone() -> None:
    rgb = torch.rand(2, 3, 4, 4)
    assert sdr_from_signal(rgb, SDR) is rgb
    assert signal_from_sdr(rgb, SDR) is rgb


@pytest.mark.parametrize("fmt", WIDE, ids=name)
def test_conversions_can_be_undone(fmt: PixelFormat) -> None:
    generator = torch.Generator().manual_seed(0)
    faces = torch.rand(3, 64, 64, generator=generator) * 0.5 + 0.25
    anything = torch.rand(3, 64, 64, generator=generator) * 1.4 - 0.2  # a channel may have no light, or more than all
    for signal, tolerance in ((faces, 1e-5), (anything, 0.02)):
        sdr = sdr_from_signal(signal, fmt)
        assert sdr.isfinite().all()
        assert (signal_from_sdr(sdr, fmt) - signal).abs().max() < tolerance


@pytest.mark.parametrize("fmt", WIDE, ids=name)
def test_a_pixel_does_not_depend_on_its_neighbours(fmt: PixelFormat) -> None:
    rgb = torch.rand(5, 3, 7, 13, generator=torch.Generator().manual_seed(0))
    together = sdr_from_signal(rgb, fmt)
    assert all(torch.equal(sdr_from_signal(one, fmt), whole) for one, whole in zip(rgb, together, strict=True))
    turned = rgb.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert torch.equal(sdr_from_signal(turned, fmt), together)
    for convert in (sdr_from_signal, signal_from_sdr):
        at_once = convert(rgb, fmt, together=True)
        torch.testing.assert_close(at_once, convert(rgb, fmt), rtol=0, atol=1e-4)


def textured(fmt: PixelFormat) -> Frames:
    """Half-light colours of a face's saturation."""
    generator = torch.Generator().manual_seed(1)
    y = torch.randint(350, 600, (1, 40, 40), generator=generator)
    u, v = (torch.randint(450, 580, (1, 40, 40), generator=generator) for _ in range(2))
    planes = tuple(plane.to(torch.int16) for plane in (y, u, v))
    return Frames(planes, fmt, identity_transform(), (40, 40))  # type: ignore[arg-type]


@pytest.mark.parametrize("fmt", WIDE, ids=name)
def test_pasting_what_was_sampled_changes_nothing(fmt: PixelFormat) -> None:
    frames, before = textured(fmt), textured(fmt)
    index, transform = torch.tensor([0]), torch.tensor([[[1.0, 0, -8], [0, 1, -8]]])
    crop = frames.sample(index, transform, 24)
    assert (crop - crop.mean()).abs().max() > 0.1
    frames.paste(index, transform, [Layer((0, 0, 24, 24), crop[0], torch.ones(1, 24, 24))])
    for plane, old in zip(frames.planes, before.planes, strict=True):
        assert torch.equal(plane, old)


def test_an_sdr_colour_pasted_into_pq_has_its_light() -> None:
    """BT.2100 in float64, written out here: light, primaries, PQ, BT.2020's matrix, ten bits."""
    colour = np.array([0.75, 0.35, 0.25])
    y = (203 * (TO_2020 @ colour**2.4) / 10_000) ** 0.1593017578125
    r, g, b = ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375
    luma = 0.2627 * r + 0.6780 * g + 0.0593 * b
    expected = [876 * luma + 64, 896 * (b - luma) / 1.8814 + 512, 896 * (r - luma) / 1.4746 + 512]
    frames = textured(PQ)
    picture = torch.tensor(colour).float()[:, None, None].expand(3, 24, 24)
    layer = Layer((0, 0, 24, 24), picture, torch.ones(1, 24, 24))
    frames.paste(torch.tensor([0]), torch.tensor([[[1.0, 0, -8], [0, 1, -8]]]), [layer])
    for plane, value in zip(frames.planes, expected, strict=True):
        assert abs(int(plane[0, 20, 20]) - value) < 1


def test_previews_and_detection_see_sdr() -> None:
    grey_203 = Frames(
        tuple(torch.full((1, 64, 64), value, dtype=torch.int16) for value in (573, 512, 512)),  # type: ignore[arg-type]
        PQ, identity_transform(), (64, 64),
    )  # fmt: skip
    assert (grey_203.rgb(0).int() - 255).abs().max() <= 1
    images, _ = grey_203.resized(64)
    assert float(images.min()) > 0.98


def test_tags_say_which_light() -> None:
    assert (ColorTags().transfer_name, ColorTags().primaries_name) == ("sdr", "bt709")
    names = [
        (ColorTags(t, c).primaries_name, ColorTags(t, c).transfer_name) for t, c in ((9, 16), (9, 18), (12, 1), (5, 6))
    ]
    assert names == [("bt2020", "pq"), ("bt2020", "hlg"), ("p3", "sdr"), ("bt709", "sdr")]
