"""Which picture of a source a face is shown."""

from dataclasses import replace

import pytest
import torch

from trtswap.faces import Faces
from trtswap.faces.identity import Identity
from trtswap.faces.wanted import CLEARLY, Wanted


def looking(yaw: float, track: int = 0) -> Faces:
    """A face turned to the side by so many degrees."""
    points = torch.zeros(1, 478, 3)
    turn = torch.tensor(yaw).deg2rad()
    points[0, 263], points[0, 33] = (
        torch.stack([turn.cos(), turn * 0, turn.sin()]),
        -torch.stack([turn.cos(), turn * 0, turn.sin()]),
    )
    points[0, 152, 1], points[0, 10, 1] = 1.0, -1.0
    face = Faces(
        torch.zeros(1, dtype=torch.int64), torch.tensor([[0.0, 0, 90, 90]]), torch.zeros(1, 5, 2), torch.ones(1),
        torch.tensor([track]),
    )  # fmt: skip
    return replace(face, points=points * 50, fit=torch.ones(1))


def pictures(*yaws: float) -> Identity:
    """A source whose picture number i has the code [i]."""
    return Identity(
        torch.ones(2), code=torch.arange(len(yaws)).float()[:, None],
        poses=torch.tensor([[yaw, 0.0] for yaw in yaws]),
    )  # fmt: skip


def shown(wanted: Wanted, *faces: Faces, which: int = 0) -> list[float]:
    return [float(wanted.of(face, torch.tensor([which]))) for face in faces]


def test_the_picture_of_the_nearest_pose_is_taken() -> None:
    source = pictures(-30, 0, 30)
    assert [shown(Wanted([source]), looking(yaw)) for yaw in (-40, -3, 2, 28)] == [[0], [1], [1], [2]]


def test_a_track_stays_with_its_picture_until_another_is_clearly_nearer() -> None:
    half = CLEARLY / 2
    wanted = Wanted([pictures(0, 30)])
    turning = [looking(yaw) for yaw in (0, 15 + half - 1, 15 + half + 1, 15 - half + 1, 15 - half - 1)]
    assert shown(wanted, *turning) == [0, 0, 1, 1, 0]
    assert shown(wanted, looking(29, track=1), looking(1)) == [1, 0]


def test_where_a_face_was_not_measured_its_picture_stays() -> None:
    wanted = Wanted([pictures(0, 30)])
    hidden = replace(looking(0), fit=torch.zeros(1), points=torch.zeros(1, 478, 3))
    assert shown(wanted, looking(30), hidden) == [1, 1]


def test_each_face_gets_its_own_identity() -> None:
    one, several = Identity(torch.ones(1), code=torch.tensor([7.0])), pictures(0, 30)
    faces = Faces.cat([looking(30), looking(30, 1), looking(0, 2)])
    assert Wanted([one, several]).of(faces, torch.tensor([1, 0, 1])).flatten().tolist() == [1, 7, 0]


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_the_choice_does_not_depend_on_batches(parts: int) -> None:
    yaws = torch.randn(10, generator=torch.Generator().manual_seed(0)) * 30
    faces = [looking(float(yaw)) for yaw in yaws]
    alone = shown(Wanted([pictures(-20, 0, 20)]), *faces)
    wanted, size = Wanted([pictures(-20, 0, 20)]), 10 // parts
    batches = [Faces.cat(faces[i : i + size]) for i in range(0, 10, size)]
    together = [wanted.of(batch, torch.zeros(len(batch), dtype=torch.int64)).flatten() for batch in batches]
    assert torch.cat(together).tolist() == alone
