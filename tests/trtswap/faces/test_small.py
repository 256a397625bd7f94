"""Which faces are large enough."""

import torch

from trtswap.faces import Faces
from trtswap.faces.small import LargeEnough
from trtswap.options import MIN_FACE, SwapOptions


def boxes(*sizes: tuple[float, float]) -> Faces:
    corners = torch.tensor([(10.0, 5.0, 10 + width, 5 + height) for width, height in sizes]).view(-1, 4)
    n = len(corners)
    return Faces(torch.zeros(n, dtype=torch.int64), corners, torch.zeros(n, 5, 2), torch.ones(n), torch.arange(n))


def large_enough(faces: Faces, smallest: float) -> Faces:
    return LargeEnough(smallest).choose(faces)


def test_faces_below_the_size_are_left_out() -> None:
    faces = boxes((19, 19), (20, 20), (16, 25), (15.9, 25), (300, 400))
    assert large_enough(faces, 20).track.tolist() == [1, 2, 4]
    assert large_enough(faces, 0).track.tolist() == [0, 1, 2, 3, 4]
    assert large_enough(faces, 500).track.tolist() == []


def test_the_default_is_the_one_that_is_documented() -> None:
    side = MIN_FACE
    assert SwapOptions().min_face == MIN_FACE
    assert len(large_enough(boxes((side, side), (side - 0.1, side)), side)) == 1


def test_a_box_turned_inside_out_has_no_size() -> None:
    assert len(large_enough(boxes((-40, -40)), 20)) == 0
    assert len(large_enough(Faces.none(), 20)) == 0


def test_a_face_that_wavers_about_the_size_does_not_flicker() -> None:
    """Taken from 20 px on, and then down to 16; another track and a later face need 20 again."""
    sides = [19, 20, 18, 16.1, 15.9, 19, 20.5, 18]
    large, shown = LargeEnough(20), []
    for frame, side in enumerate(sides):
        faces = boxes((side, side), (17, 17)).at(frame)
        shown.append(large.choose(faces).track.tolist())
    assert shown == [[], [0], [0], [0], [], [], [0], [0]]
    whole = Faces.cat([boxes((side, side), (17, 17)).at(frame) for frame, side in enumerate(sides)])
    together = LargeEnough(20).choose(whole)
    assert together.frame_index.tolist() == [1, 2, 3, 6, 7]
    assert LargeEnough(0).choose(whole).track.tolist() == [0, 1] * len(sides)
