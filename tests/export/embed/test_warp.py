"""Warps inside a graph, against those of the runtime."""

import math

import pytest
import torch

from trtswap.export.embed import warp as inside
from trtswap.pixels import warp as outside
from trtswap.pixels.geometry import invert

SIZE = 40


def picture() -> torch.Tensor:
    return torch.rand(1, 3, 160, 200, generator=torch.Generator().manual_seed(1))


def turned(shrink: float, angle: float = 0.3) -> torch.Tensor:
    """Crop -> picture, about the middle of both."""
    a, b = shrink * math.cos(angle), shrink * math.sin(angle)
    middle = (SIZE - 1) / 2
    return torch.tensor([[[a, -b, 99.5 - a * middle + b * middle], [b, a, 79.5 - b * middle - a * middle]]])


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("shrink", [0.4, 1.0, 1.7, 2.3, 2.9, 3.2])
def test_they_are_the_same_up_to_a_third(shrink: float, padding: str) -> None:
    to_source, mode = turned(shrink), "replicate" if padding == "border" else "constant"
    soft = inside.smoothed(picture(), to_source, most=7, padding=mode)
    found = inside.read(soft, to_source, inside.side(SIZE), inside.side(SIZE), padding=padding)
    wanted = outside.warp(picture()[0], to_source[0], SIZE, SIZE, padding=padding)
    # Where nothing is beyond the edge, blurring puts the sum of the passes there only once.
    torch.testing.assert_close(found[0], wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize("shrink", [3.6, 5.0, 6.9])
def test_beyond_they_are_means_of_what_a_pixel_covers(shrink: float) -> None:
    """Noise comes out about as weak as from the mean of so many pixels, and a ramp as it is."""
    noise = torch.randn(1, 1, 400, 400, generator=torch.Generator().manual_seed(2))
    to_source = torch.tensor([[[shrink, 0.0, 40.0], [0.0, shrink, 40.0]]])
    read = lambda x: inside.read(  # noqa: E731 - twice the same
        inside.smoothed(x, to_source, most=7), to_source, inside.side(SIZE), inside.side(SIZE)
    )
    assert float(read(noise).std()) < 1.2 / shrink
    ramp = torch.arange(400.0).expand(1, 1, 400, 400) / 400
    torch.testing.assert_close(read(ramp)[0, 0, 0], (torch.arange(SIZE) * shrink + 40) / 400, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("shrink", "near"), [(0.5, 1e-4), (1.8, 1e-4), (2.4, 1e-4), (3.0, 0.35)])
def test_readings_of_whole_frames_are_one_pass(shrink: float, near: float) -> None:
    frames, to_source = torch.cat([picture(), picture().flip(3)]), turned(shrink).repeat(4, 1, 1)
    found = inside.spread(frames, to_source, 2, SIZE)
    wanted = outside.warp_all(frames.repeat_interleave(2, 0), to_source, SIZE, SIZE)
    torch.testing.assert_close(found, wanted, atol=near, rtol=0)


def test_each_slot_has_its_own_filter() -> None:
    to_source = torch.cat([turned(0.7), turned(2.8)])
    both = inside.smoothed(picture().repeat(2, 1, 1, 1), to_source, most=4)
    for row in range(2):
        alone = inside.smoothed(picture(), to_source[row : row + 1], most=4)
        assert torch.equal(both[row : row + 1], alone)


def test_the_area_is_that_of_the_inverse() -> None:
    to_source = turned(2.5)
    assert float(inside.covered_by(to_source)) == pytest.approx(6.25, rel=1e-5)
    assert float(inside.covered_by(invert(to_source))) == pytest.approx(0.16, rel=1e-4)
