"""Which faces are large enough."""

import torch

from trtswap.faces import Faces
from trtswap.faces.small import MIN_FACE, large_enough


def boxes(*sizes: tuple[float, float]) -> Faces:
    corners = torch.tensor([(10.0, 5.0, 10 + width, 5 + height) for width, height in sizes]).view(-1, 4)
    n = len(corners)
    return Faces(torch.zeros(n, dtype=torch.int64), corners, torch.zeros(n, 5, 2), torch.ones(n), torch.arange(n))


def test_faces_below_the_size_are_left_out() -> None:
    faces = boxes((19, 19), (20, 20), (16, 25), (15.9, 25), (300, 400))
    assert large_enough(faces, 20).track.tolist() == [1, 2, 4]
    assert large_enough(faces, 0).track.tolist() == [0, 1, 2, 3, 4]
    assert large_enough(faces, 500).track.tolist() == []


def test_the_default_is_the_one_that_is_documented() -> None:
    side = MIN_FACE
    assert len(large_enough(boxes((side, side), (side - 0.1, side)))) == 1


def test_a_box_turned_inside_out_has_no_size() -> None:
    assert len(large_enough(boxes((-40, -40)), 20)) == 0
    assert len(large_enough(Faces.none(), 20)) == 0
