"""How deep a place lies inside of an outline, against OpenCV."""

import cv2
import numpy as np
import pytest
import torch

from trtswap.faces import outlines
from trtswap.faces.outlines import cells, depth_in


def star(points: int) -> torch.Tensor:
    """A concave outline with so many tips, as points of a face: float32 [1, 478, 3]."""
    angle = torch.arange(2 * points) * (torch.pi / points)
    radius = torch.where(torch.arange(2 * points) % 2 == 0, 40.0, 17.0)
    places = torch.stack([50 + radius * angle.cos(), 50 + radius * angle.sin(), angle * 0], 1)
    return torch.cat([places, torch.zeros(478 - len(places), 3)])[None]


@pytest.mark.parametrize("tips", [3, 5, 8])
def test_depth_is_opencvs(tips: int) -> None:
    points, places = star(tips), cells(25, 100.0)
    found = depth_in(points, tuple(range(2 * tips)), places)[0]
    contour = points[0, : 2 * tips, :2].numpy().astype(np.float32)[:, None]
    wanted = [cv2.pointPolygonTest(contour, (float(x), float(y)), True) for x, y in places]
    assert found.numpy() == pytest.approx(wanted, abs=1e-3)


def test_faces_do_not_mix_and_nobody_is_nowhere_inside() -> None:
    together = torch.cat([star(5), torch.zeros(1, 478, 3), star(5) + 7])
    places = cells(20, 100.0)
    found = depth_in(together, tuple(range(10)), places)
    for row, points in zip(found, together, strict=True):
        assert torch.equal(row, depth_in(points[None], tuple(range(10)), places)[0])
    assert (found[1] <= 0).all()


def test_cells_are_centred_in_their_squares() -> None:
    assert cells(2, 8.0).tolist() == [[1.5, 1.5], [5.5, 1.5], [1.5, 5.5], [5.5, 5.5]]


def test_every_outline_has_points_of_its_own() -> None:
    for outline in (outlines.OVAL, outlines.LIPS, outlines.INNER_LIPS, outlines.RIGHT_LIDS, outlines.LEFT_LIDS):
        assert len(set(outline)) == len(outline)
        assert max(outline) < 468
