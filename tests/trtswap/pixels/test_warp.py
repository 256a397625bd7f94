"""Warps against OpenCV's warpAffine and against direct sums."""

import cv2
import numpy as np
import pytest
import torch

from trtswap.pixels.geometry import invert
from trtswap.pixels.warp import bounds, shifted, started, warp


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


def test_a_cut_out_region_gives_the_same_warp() -> None:
    image = noise(1, 200, 300)
    for scale, angle, x, y in [(0.5, 0.4, 100, 50), (2.7, 1.0, 150, -30), (1.0, 3.0, 320, 190), (0.3, 0, -500, -500)]:
        to_source = rotated(scale, angle, x, y)
        x0, y0, x1, y1 = bounds(to_source, 64, 64, 200, 300)
        part = warp(image[:, y0:y1, x0:x1], shifted(to_source, x0, y0), 64, 64)
        torch.testing.assert_close(part, warp(image, to_source, 64, 64), atol=5e-2, rtol=0)


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


@pytest.mark.parametrize("size", [1.0, 2**0.5, 5**0.5, 10**0.5])
def test_sharpness_does_not_jump_where_the_taps_change(size: float) -> None:
    image = noise(1, 400, 400)

    def contrast(scale: float) -> float:
        return float(warp(image, rotated(scale, 0.1, 50, 20), 100, 100).diff().square().mean().sqrt())

    assert contrast(size * 0.995) == pytest.approx(contrast(size * 1.005), rel=0.03)


def test_warps_back_and_forth_are_inverse() -> None:
    image = noise(1, 128, 128, grain=16)
    to_source = rotated(0.6, 0.5, 30, 10)
    back = warp(warp(image, to_source, 180, 180), invert(to_source), 128, 128)
    inside = torch.zeros(128, 128, dtype=torch.bool)
    inside[50:80, 45:70] = True
    # Half a pixel of shift in one of the two would make a mean difference of 3.
    assert (back - image)[0, inside].abs().mean() < 0.5
