"""The largest face of a stream stays the same one."""

import pytest
import torch

from trtswap.faces import Faces
from trtswap.faces.largest import LargestFace


def faces(*sides: dict[int, float]) -> Faces:
    """A frame for each argument: side of the box by track."""
    rows = [(frame, track, side) for frame, of in enumerate(sides) for track, side in of.items()]
    box = torch.tensor([[0.0, 0, side, side] for _, _, side in rows]).view(-1, 4)
    index = torch.tensor([row[0] for row in rows], dtype=torch.int64)
    track = torch.tensor([row[1] for row in rows], dtype=torch.int64)
    return Faces(index, box, torch.zeros(len(rows), 5, 2), torch.ones(len(rows)), track)


@pytest.mark.parametrize("batch", [1, 4, 20])
def test_faces_of_about_the_same_size_do_not_alternate(batch: int) -> None:
    frames = [{0: 100 + 5 * (-1) ** t, 1: 100 - 5 * (-1) ** t} for t in range(20)]
    chooser = LargestFace()
    chosen = [t for i in range(0, 20, batch) for t in chooser.choose(faces(*frames[i : i + batch])).track.tolist()]
    assert chosen == [0] * 20


def test_a_clearly_larger_face_takes_over_once() -> None:
    chosen = LargestFace().choose(faces(*[{0: 100, 1: 90 + 2 * t} for t in range(20)]))
    assert chosen.track.tolist() == [0] * 11 + [1] * 9  # from 112 px on: 1.25 times the area
    assert chosen.frame_index.tolist() == list(range(20))


def test_who_is_gone_is_replaced_and_frames_without_faces_have_none() -> None:
    chooser = LargestFace()
    chosen = chooser.choose(faces({0: 100, 1: 50}, {}, {1: 50, 2: 40}, {0: 55, 1: 50}))
    assert list(zip(chosen.frame_index.tolist(), chosen.track.tolist(), strict=True)) == [(0, 0), (2, 1), (3, 1)]
    assert len(chooser.choose(Faces.none())) == 0
