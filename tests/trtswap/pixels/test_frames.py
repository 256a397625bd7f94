"""Sampling and pasting of planes, against a float64 model of Y'CbCr written out by hand."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from trtswap.pixels.color import PixelFormat
from trtswap.pixels.frames import Frames, Layer
from trtswap.pixels.geometry import identity_transform

WEIGHTS = {"bt601": (0.299, 0.587, 0.114), "bt709": (0.2126, 0.7152, 0.0722), "bt2020": (0.2627, 0.6780, 0.0593)}
FORMATS = [
    PixelFormat(f"{matrix}-{shift}-{bits}-{full}", bits, shift, matrix, full, offset)
    for matrix in ("bt601", "bt709", "bt2020")
    for shift, offset in (((1, 1), (0.0, 0.5)), ((1, 0), (0.0, 0.0)), ((0, 0), (0.0, 0.0)), ((1, 1), (0.5, 0.5)))
    for bits in (8, 10)
    for full in (False, True)
]


def code_values(rgb: tuple[float, float, float], fmt: PixelFormat) -> list[int]:
    """Code values of one colour, from the text of BT.601/709/2020: quantised E'Y, E'CB, E'CR."""
    kr, kg, kb = WEIGHTS[fmt.matrix]
    r, g, b = rgb
    y = kr * r + kg * g + kb * b
    cb, cr = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    n = 2 ** (fmt.bits - 8)
    if fmt.full_range:
        peak = 2**fmt.bits - 1
        values = (peak * y, peak * cb + 128 * n, peak * cr + 128 * n)
    else:
        values = ((219 * y + 16) * n, (224 * cb + 128) * n, (224 * cr + 128) * n)
    return [min(max(round(v), 0), 2**fmt.bits - 1) for v in values]


def flat(
    rgb: tuple[float, float, float], fmt: PixelFormat, height: int = 96, width: int = 128, count: int = 2
) -> Frames:
    sx, sy = fmt.chroma_shift
    sizes = [(height, width), (-(-height >> sy), -(-width >> sx)), (-(-height >> sy), -(-width >> sx))]
    planes = [torch.full((count, *s), v, dtype=fmt.dtype) for s, v in zip(sizes, code_values(rgb, fmt), strict=True)]
    return Frames((planes[0], planes[1], planes[2]), fmt, identity_transform(), (width, height))


def textured(fmt: PixelFormat, height: int = 96, width: int = 128, count: int = 2) -> Frames:
    frames = flat((0.5, 0.5, 0.5), fmt, height, width, count)
    for i, plane in enumerate(frames.planes):
        x = torch.linspace(0, 3 + i, plane.shape[2])
        y = torch.linspace(0, 5 - i, plane.shape[1])[:, None]
        wave = (x.sin() + y.cos()) * 0.2 + 0.5
        plane.copy_((wave * fmt.peak).round().expand_as(plane))
    return frames


def at(x: float, y: float, scale: float = 1.0) -> torch.Tensor:
    """The transform of a crop whose first pixel is at (x, y)."""
    return torch.tensor([[[scale, 0, -x * scale], [0, scale, -y * scale]]])


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_a_known_colour_is_sampled_and_pasted(fmt: PixelFormat) -> None:
    colour, other = (0.75, 0.25, 0.125), (0.2, 0.6, 0.9)
    frames = flat(colour, fmt)
    crop = frames.sample(torch.tensor([1]), at(30, 20), 32)
    expected = torch.tensor(colour)[None, :, None, None].expand_as(crop)
    torch.testing.assert_close(crop, expected, atol=2.5 / 255, rtol=0)

    canvas = torch.tensor(other)[None, :, None, None].expand(1, 3, 32, 32)
    frames.paste(torch.tensor([1]), at(30, 20), [Layer((0, 0, 32, 32), canvas[0], torch.ones(1, 32, 32))])
    for plane, new, old in zip(frames.planes, code_values(other, fmt), code_values(colour, fmt), strict=True):
        sx = frames.planes[0].shape[2] // plane.shape[2]
        sy = frames.planes[0].shape[1] // plane.shape[1]
        inner = plane[1, -(-24 // sy) : 46 // sy, -(-34 // sx) : 56 // sx]
        assert (inner.int() - new).abs().max() <= 1
        assert (plane[0] == old).all()
        assert (plane[1, :, : 28 // sx] == old).all()
        assert (plane[1, : 18 // sy] == old).all()


@pytest.mark.parametrize("fmt", FORMATS[:8], ids=lambda f: f.name)
def test_pasting_back_what_was_sampled_changes_next_to_nothing(fmt: PixelFormat) -> None:
    frames, before = textured(fmt), textured(fmt)
    index, transform = torch.tensor([0]), at(20.3, 11.7, 1.7)
    canvas = frames.sample(index, transform, 96)
    frames.paste(index, transform, [Layer((0, 0, 96, 96), canvas[0], torch.ones(1, 96, 96))])
    for plane, old in zip(frames.planes, before.planes, strict=True):
        assert (plane.int() - old.int()).abs().max() <= 2 * 2 ** (fmt.bits - 8)


def test_chroma_siting_is_respected() -> None:
    """A colour edge in 4:2:0 is found where its luma says it is, for either siting."""
    for offset in (0.0, 0.5):
        fmt = PixelFormat("edge", 8, (1, 1), "bt709", True, (offset, 0.5))
        frames = flat((0.5, 0.5, 0.5), fmt)
        positions = torch.arange(64) * 2 + offset
        frames.planes[2].copy_((positions * 1.5 + 20).expand(2, 48, 64).round())
        crop = frames.sample(torch.tensor([0]), at(40, 30), 16)[0]
        cr = (crop[0] - 0.5) * 255 / (2 - 2 * 0.2126) + 128 - 0.0
        measured = (cr - (frames.planes[0][0, 0, 0] - 127.5) / 1.5748).mean(0)
        expected = (torch.arange(16) + 40) * 1.5 + 20
        assert (measured - expected).abs().max() < 1.0


def test_alpha_zero_changes_nothing_bit_for_bit() -> None:
    for fmt in FORMATS[:4]:
        frames, before = textured(fmt), textured(fmt)
        frames.paste(
            torch.tensor([0]), at(5, 5), [Layer((0, 0, 64, 64), torch.rand(3, 64, 64), torch.zeros(1, 64, 64))]
        )
        assert all(torch.equal(a, b) for a, b in zip(frames.planes, before.planes, strict=True))


def test_nothing_outside_the_support_is_written() -> None:
    frames, before = textured(FORMATS[0]), textured(FORMATS[0])
    alpha = torch.zeros(1, 28, 20)
    alpha[:, 4:24, 4:16] = 1
    frames.paste(torch.tensor([1]), at(10, 10), [Layer((20, 16, 40, 44), torch.rand(3, 28, 20), alpha)])
    changed = (frames.planes[0] != before.planes[0])[1]
    assert changed.any()
    rows, columns = changed.nonzero(as_tuple=True)
    assert int(rows.min()) >= 29
    assert int(rows.max()) <= 51
    assert int(columns.min()) >= 33
    assert int(columns.max()) <= 47
    assert torch.equal(frames.planes[0][0], before.planes[0][0])


def test_values_are_rounded_not_truncated() -> None:
    fmt = PixelFormat("yuv444p", 8, (0, 0), "bt709", True)
    frames = flat((0, 0, 0), fmt)
    grey = torch.full((1, 3, 16, 16), 100.6 / 255)
    frames.paste(torch.tensor([0]), at(40, 40), [Layer((0, 0, 16, 16), grey[0], torch.ones(1, 16, 16))])
    assert frames.planes[0][0, 48, 48] == 101


def test_faces_over_the_edge_repeat_it() -> None:
    frames = flat((0.25, 0.5, 0.75), FORMATS[0])
    crop = frames.sample(torch.tensor([0]), at(-300, -200), 24)
    torch.testing.assert_close(crop[0, :, 5, 5], torch.tensor([0.25, 0.5, 0.75]), atol=0.02, rtol=0)
    frames.paste(torch.tensor([0]), at(-10, -10), [Layer((0, 0, 24, 24), torch.ones(3, 24, 24), torch.ones(1, 24, 24))])
    assert frames.planes[0][0, 3, 3] == 235


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_rotated_frames_are_seen_upright(turn: int) -> None:
    """A frame stored turned, with the matrix that undoes it, gives the crop of the upright frame."""
    fmt = PixelFormat("yuv444p", 8, (0, 0), "bt709", True)
    upright = textured(fmt)
    h, w = upright.planes[0].shape[1:]
    planes = tuple(p.rot90(turn, (1, 2)).contiguous() for p in upright.planes)
    to_display = {
        0: [[1.0, 0, 0], [0, 1, 0]],
        1: [[0.0, -1, w - 1], [1, 0, 0]],
        2: [[-1.0, 0, w - 1], [0, -1, h - 1]],
        3: [[0.0, 1, 0], [-1, 0, h - 1]],
    }[turn]
    turned = Frames((planes[0], planes[1], planes[2]), fmt, torch.tensor(to_display), (w, h))
    index, transform = torch.tensor([0]), at(31, 12, 1.3)
    torch.testing.assert_close(
        turned.sample(index, transform, 48), upright.sample(index, transform, 48), atol=1e-3, rtol=0
    )
    for ours, theirs in zip(turned.resized(64), upright.resized(64), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)
    torch.testing.assert_close(turned.rgb(0), upright.rgb(0), atol=1, rtol=0)


def test_resized_is_letterboxed_and_says_where() -> None:
    frames = textured(PixelFormat("yuv444p", 8, (0, 0), "bt709", True), 108, 192)
    images, transform = frames.resized(64)
    assert images.shape == (2, 3, 64, 64)
    assert (images[:, :, 36:] == 0).all()
    corner = transform[:, :2] @ torch.tensor([191.5, 107.5]) + transform[:, 2]
    np.testing.assert_allclose(corner, [63.5, 35.5], atol=1e-4)
    small, _ = frames.resized(1000)
    assert small.shape == (2, 3, 128, 192)


def test_frames_know_their_length_and_time() -> None:
    frames = flat((0, 0, 0), FORMATS[0], count=3)
    assert len(frames) == 3
    assert frames.time_base == Fraction(1)
    assert frames.to("cpu") is frames
