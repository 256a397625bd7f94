"""Pictures drawn from one set of points onto another."""

import pytest
import torch

from trtswap.export.meshswap.controls import CONTROLS, LEFT, MIDDLE, MIRRORED, RIGHT
from trtswap.export.meshswap.warp import Warp, drawn, growth
from trtswap.faces.outlines import cells

SIZE, COUNT = 64, 16


def scattered(count: int = 60) -> torch.Tensor:
    return torch.rand(1, count, 2, generator=torch.Generator().manual_seed(0)) * SIZE


@pytest.mark.parametrize("matrix", [[[1.0, 0.0], [0.0, 1.0]], [[0.7, -0.4], [0.3, 1.2]], [[-1.0, 0.2], [0.0, 1.0]]])
def test_an_affine_map_is_found_as_it_is(matrix: list[list[float]]) -> None:
    linear, shift = torch.tensor(matrix), torch.tensor([3.0, -5.0])
    target = scattered()
    found = Warp(COUNT, SIZE)(target, target @ linear.T + shift, torch.ones(1, 60))
    wanted = cells(COUNT, SIZE) @ linear.T + shift
    assert (found[0].flatten(1).T - wanted).abs().max() < 2e-2
    inner = growth(found, SIZE)[..., 1:-1, 1:-1]
    assert (inner - torch.linalg.det(linear)).abs().max() < 1e-2


def test_points_go_where_they_belong() -> None:
    """A cell that a point lies in the middle of is shown what lies at the source's point."""
    target = cells(COUNT, SIZE)[::7][None]
    source = target + torch.randn(target.shape, generator=torch.Generator().manual_seed(1)) * 3
    found = Warp(COUNT, SIZE)(target, source, torch.ones(target.shape[:2]))
    assert (found[0].flatten(1).T[::7] - source[0]).abs().max() < 0.3


def test_points_that_do_not_count_change_nothing() -> None:
    target, source = scattered(), scattered() + 2
    counts = torch.ones(1, 60)
    counts[:, 40:] = 0
    found = Warp(COUNT, SIZE)(target, source + torch.arange(60)[:, None].ge(40) * 30, counts)
    assert torch.allclose(found, Warp(COUNT, SIZE)(target[:, :40], source[:, :40], counts[:, :40]), atol=1e-3)


def test_several_pictures_share_their_weights() -> None:
    target, a, b = scattered(), scattered() * 1.1, scattered() - 4
    both = Warp(COUNT, SIZE)(target, torch.cat([a, b], 2), torch.ones(1, 60))
    for found, source in zip(both.split(2, 1), (a, b), strict=True):
        assert torch.allclose(found, Warp(COUNT, SIZE)(target, source, torch.ones(1, 60)))


def test_a_picture_drawn_where_it_lies_is_itself() -> None:
    picture = torch.rand(1, 3, COUNT, COUNT, generator=torch.Generator().manual_seed(0))
    places = cells(COUNT, SIZE).T.reshape(1, 2, COUNT, COUNT)
    assert torch.allclose(drawn(picture, places, SIZE), picture, atol=1e-5)


def test_the_other_side_of_the_other_side_is_this_one() -> None:
    assert [MIRRORED[MIRRORED[i]] for i in range(len(CONTROLS))] == list(range(len(CONTROLS)))
    assert len(set(CONTROLS)) == len(CONTROLS) == 2 * len(RIGHT) + len(MIDDLE)
    assert not set(RIGHT) & set(LEFT)
