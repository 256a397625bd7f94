"""Warps against OpenCV's warpAffine and against direct sums."""

import math

import cv2
import numpy as np
import pytest
import torch

from trtswap.pixels.geometry import invert
from trtswap.pixels.warp import bounds, filter_of, reach, shifted, started, warp


def noise(c: int, h: int, w: int, seed: int = 0, grain: int = 4) -> torch.Tensor:
    image = torch.rand(c, 1, h // grain, w // grain, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(image, (h, w), mode="bicubic")[:, 0].clamp(0, 1) * 255


def rotated(scale: float, angle: float, x: float, y: float) -> torch.Tensor:
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    return torch.tensor([[c, -s, x], [s, c, y]], dtype=torch.float32)


@pytest.mark.parametrize(("scale", "angle"), [(1.0, 0.0), (0.4, 0.3), (0.9, -2.0), (1.0, 1.0)])
@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_convention_warp_is_opencvs_warp_affine(scale: float, angle: float, padding: str) -> None:
    image = noise(3, 120, 160)
    to_source = rotated(scale, angle, 60, 30)
    ours = warp(image, to_source, 90, 100, padding=padding)
    border = cv2.BORDER_REPLICATE if padding == "border" else cv2.BORDER_CONSTANT
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    theirs = cv2.warpAffine(
        image.permute(1, 2, 0).numpy(), to_source.numpy(), (100, 90), flags=flags, borderMode=border
    )
    # OpenCV rounds positions to 1/32 pixel; the noise has slopes of some 40 levels a pixel.
    np.testing.assert_allclose(ours.permute(1, 2, 0), theirs, atol=2.5)
    assert np.abs(ours.permute(1, 2, 0).numpy() - theirs).mean() < 0.3


def test_convention_the_identity_changes_nothing() -> None:
    image = noise(2, 40, 56)
    torch.testing.assert_close(warp(image, rotated(1, 0, 0, 0), 40, 56), image, atol=2e-3, rtol=0)


@pytest.mark.parametrize("scale", [0.3, 0.5, 1.0, 2.7, 4.0, 5.0, 11.0, 40.0])
@pytest.mark.parametrize(("angle", "x", "y"), [(0.4, 100, 50), (1.0, 150, -30), (3.0, 320, 190), (0.0, -500, -500)])
def test_a_cut_out_region_gives_the_same_warp(scale: float, angle: float, x: float, y: float) -> None:
    """Also where the source ends within a cell."""
    image = noise(1, 211, 301)
    to_source = rotated(scale, angle, x, y)
    x0, y0, x1, y1 = bounds(to_source, 40, 40, 211, 301)
    part = warp(image[:, y0:y1, x0:x1], shifted(to_source, x0, y0), 40, 40)
    torch.testing.assert_close(part, warp(image, to_source, 40, 40), atol=5e-2, rtol=0)


@pytest.mark.parametrize("scale", [0.7, 3.7, 5.0, 11.0])
def test_a_layer_is_the_same_however_much_of_its_empty_border_is_cut_off(scale: float) -> None:
    """Cells keep to the grid of the whole: the border follows a mask, which is another in each frame."""
    image = torch.zeros(1, 160, 160)
    image[:, 37:121, 45:130] = noise(1, 84, 85, grain=1)
    to_source = rotated(scale, 0.3, 10, -20)
    whole = warp(image, to_source, 40, 40, padding="zeros")
    for x, y in ((45, 37), (40, 30), (33, 1)):
        part = warp(image[:, y:, x:], shifted(to_source, x, y), 40, 40, padding="zeros", corner=(x, y))
        torch.testing.assert_close(part, whole, atol=2e-2, rtol=0)


@pytest.mark.parametrize("scale", [0.1, 0.7, 1.0, 2.0, 3.0, 4.0, 5.0, 9.7, 30.0])
def test_a_layer_reaches_no_further_than_is_said(scale: float) -> None:
    to_source = rotated(scale, 0.5, -20 * scale, -15 * scale)
    whole = warp(torch.ones(1, 50, 60), to_source, 300, 300, padding="zeros")[0]
    x0, y0, x1, y1 = reach(to_source, 50, 60, 300, 300)
    assert whole[y0:y1, x0:x1].max() > 0
    whole[y0:y1, x0:x1] = 0
    assert (whole == 0).all()


def test_started_moves_the_destination() -> None:
    image = noise(1, 80, 80)
    to_source = rotated(0.7, 0.2, 10, 5)
    torch.testing.assert_close(
        warp(image, started(to_source, 7, 9), 20, 20), warp(image, to_source, 40, 40)[:, 9:29, 7:27], atol=1e-2, rtol=0
    )


def test_shrinking_is_anti_aliased() -> None:
    """Stripes too fine for the destination become grey instead of a moire."""
    stripes = (torch.arange(400) % 4 < 2).float().expand(1, 400, 400) * 255
    out = warp(stripes, rotated(4, 0, 1.5, 1.5), 98, 98)
    assert (out - 127.5).abs().max() < 16
    assert warp(stripes, rotated(4, 0, 0, 0), 98, 98).std() < 20


def test_shrinking_keeps_the_mean() -> None:
    image = noise(1, 512, 512)
    for scale in (1.2, 2.0, 3.7, 6.0):
        size = int(512 / scale)
        assert (
            abs(
                float(
                    warp(image, rotated(scale, 0, scale / 2 - 0.5, scale / 2 - 0.5), size, size).mean() - image.mean()
                )
            )
            < 0.5
        )


def fractal(size: int, seed: int = 0) -> torch.Tensor:
    """Noise whose amplitude falls as 1/f, as that of photographs does: float32 [1, size, size], 0..255."""
    f = torch.fft.rfft2(torch.randn(1, size, size, generator=torch.Generator().manual_seed(seed)))
    k = (torch.fft.fftfreq(size)[:, None].square() + torch.fft.rfftfreq(size).square()).sqrt().clamp(min=1 / size)
    image = torch.fft.irfft2(f / k, s=(size, size))
    return (image / image.std() * 45 + 127).clamp(0, 255)


def around_middle(scale: float, angle: float, source: int, size: int) -> torch.Tensor:
    to_source = rotated(scale, angle, 0, 0)
    middle = torch.tensor([source / 2 + 0.3, source / 2 - 0.4])
    to_source[:, 2] = middle - to_source[:, :2] @ torch.full((2,), (size - 1) / 2)
    return to_source


def area_means(image: torch.Tensor, to_source: torch.Tensor, size: int) -> torch.Tensor:
    """The mean over what each destination pixel covers, source pixels being squares, from many places in it."""
    many = math.ceil(3 * float(to_source[:, :2].norm(dim=1).max()))
    places = (torch.arange(size * many) + 0.5) / many - 0.5
    grid = torch.stack(torch.meshgrid(places, places, indexing="xy")).flatten(1).double()
    x, y = (to_source[:, :2].double() @ grid + to_source[:, 2:].double()).round().long().clamp(0, image.shape[1] - 1)
    return torch.nn.functional.avg_pool2d(image[:, y, x].view(1, 1, size * many, size * many), many)[0]


def many_passes(image: torch.Tensor, to_source: torch.Tensor, size: int) -> torch.Tensor:
    """As many passes of three taps as it takes, over the whole source, then OpenCV's bilinear warp."""
    (a, b, _), (c, d, _) = to_source.tolist()
    variance = (abs(a * d - b * c) - 1) / 12
    passes = max(0, math.ceil(variance / 0.4))
    blurred = image[0].numpy()
    for _ in range(passes):
        e = variance / passes / 2
        blurred = cv2.sepFilter2D(blurred, -1, *[np.array([e, 1 - 2 * e, e])] * 2, borderType=cv2.BORDER_REPLICATE)
    # remap rounds positions to 1/32 pixel; grown by bilinear interpolation and read exactly, nothing is rounded.
    grid = np.stack(np.meshgrid(*[np.arange(size, dtype=np.float64)] * 2), -1)
    x, y = np.moveaxis(grid @ to_source[:, :2].double().numpy().T + to_source[:, 2].double().numpy(), -1, 0)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - left, y - top
    rows = [blurred[top + i, left] * (1 - fx) + blurred[top + i, left + 1] * fx for i in (0, 1)]
    return torch.from_numpy(rows[0] * (1 - fy) + rows[1] * fy)[None].float()


def decibels(one: torch.Tensor, other: torch.Tensor) -> float:
    return 10 * math.log10(255**2 / float((one - other).square().mean()))


@pytest.mark.parametrize("angle", [0.0, 0.3, 0.78])
@pytest.mark.parametrize("scale", [1.3, 2.0, 3.7, 4.79, 4.81, 8.0, 9.61, 30.0])
def test_shrinking_comes_as_near_to_the_mean_as_many_passes_of_a_blur(scale: float, angle: float) -> None:
    image = fractal(900)
    size = min(100, int(600 / scale))
    to_source = around_middle(scale, angle, 900, size)
    expected, passes = area_means(image, to_source, size), many_passes(image, to_source, size)
    ours = warp(image, to_source, size, size)
    assert decibels(ours, expected) > 35
    assert decibels(ours, expected) > decibels(passes, expected) - 0.1
    if scale < 3:
        torch.testing.assert_close(ours, passes, atol=2e-2, rtol=0)


@pytest.mark.parametrize(("along", "across"), [(8.0, 1.0), (1.0, 6.0), (12.0, 3.0), (2.0, 1.0)])
def test_shrinking_along_one_axis_more_than_the_other(along: float, across: float) -> None:
    """Pixels of a sample aspect ratio, and chroma that is subsampled along x alone."""
    image = fractal(600)
    to_source = torch.tensor([[along, 0.0, 40.3], [0.0, across, 50.1]])
    ours, expected = warp(image, to_source, 40, 40), area_means(image, to_source, 40)
    assert decibels(ours, expected) > 25
    assert decibels(ours, expected) > decibels(many_passes(image, to_source, 40), expected) - 0.1


@pytest.mark.parametrize("scale", [1.0, 5.8**0.5, 10.6**0.5, 2.0, 4.0, 4.8, 9.6, 19.2])
def test_nothing_jumps_where_the_filter_changes(scale: float) -> None:
    """Neither the sharpness, nor the picture by more than a change of the face's size by two percent."""
    image, size = fractal(900), min(100, int(600 / scale))

    def at(factor: float) -> torch.Tensor:
        return warp(image, around_middle(scale * factor, 0.1, 900, size), size, size)

    def contrast(out: torch.Tensor) -> float:
        return float(out.diff().square().mean().sqrt())

    below, above = at(1 - 1e-4), at(1 + 1e-4)
    assert contrast(below) == pytest.approx(contrast(above), rel=0.025)
    assert decibels(below, above) > max(36, decibels(at(0.99), at(1.01)))


def test_filters_change_where_they_are_said_to() -> None:
    kinds = {s: filter_of(rotated(s, 0.2, 0, 0)) for s in (0.5, 0.99, 2.4, 3.2, 3.3, 4.7, 4.9, 9.5, 9.7, 2000.0)}
    assert [f.passes for f in kinds.values()] == [0, 0, 1, 2, 0, 0, 0, 0, 0, 0]
    assert [f.cell[0] for f in kinds.values()] == [1, 1, 1, 1, 1, 1, 2, 2, 4, 512]
    assert [f.spacing > 0 for f in kinds.values()] == [False] * 4 + [True] * 6
    assert all(f.spacing < 0.36 for f in kinds.values())  # readings stay within the destination pixel


def test_warps_back_and_forth_are_inverse() -> None:
    image = noise(1, 128, 128, grain=16)
    to_source = rotated(0.6, 0.5, 30, 10)
    back = warp(warp(image, to_source, 180, 180), invert(to_source), 128, 128)
    inside = torch.zeros(128, 128, dtype=torch.bool)
    inside[50:80, 45:70] = True
    # Half a pixel of shift in one of the two would make a mean difference of 3.
    assert (back - image)[0, inside].abs().mean() < 0.5
