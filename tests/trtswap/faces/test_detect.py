"""What a detector's graph gives, and what of it is a face."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trtswap.faces.detect import Detector, alignable
from trtswap.pictures.arrays import frames_from_rgb
from trtswap.pixels.geometry import TEMPLATES, similarity
from trtswap.pixels.transfer import to_host

POINTS = TEMPLATES["ffhq_512"].scaled(60) + 10
BOX = torch.tensor([10.0, 10, 70, 70])
NAN, FAR = math.nan, 1e9


def detector(box: torch.Tensor, landmarks: torch.Tensor) -> Detector:
    """A graph that finds a face, and in the second frame the given one before it."""

    def engine(images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {
            "scores": torch.tensor([[0.9, 0.0], [0.95, 0.9]]),
            "boxes": torch.stack([torch.stack([BOX, BOX]), torch.stack([box, BOX])]),
            "landmarks": torch.stack([torch.stack([POINTS, POINTS]), torch.stack([landmarks, POINTS])]),
        }

    spec: Any = SimpleNamespace(size=128, threshold=0.5, max_faces=2)
    found: Any = engine
    found.spec, found.engine = spec, SimpleNamespace(max_rows=None)
    return Detector(found)


def points(value: float) -> torch.Tensor:
    out = POINTS.clone()
    out[2, 1] = value
    return out


@pytest.mark.parametrize(
    ("box", "landmarks"),
    [
        (BOX, torch.full((5, 2), 30.0)),
        (BOX, torch.full((5, 2), 30.0) + torch.tensor([[0.0, 0], [0.1, 0], [0, 0.1], [0, 0], [0, 0]])),
        *[(BOX, points(value)) for value in (NAN, math.inf, -math.inf, FAR, -3e38)],
        *[(torch.tensor([10.0, 10, 70, value]), POINTS) for value in (NAN, math.inf, FAR, 10, 5)],
    ],
)
def test_what_cannot_be_aligned_is_dropped(box: torch.Tensor, landmarks: torch.Tensor) -> None:
    frames = frames_from_rgb(torch.zeros(2, 128, 128, 3, dtype=torch.uint8))
    detect = detector(box, landmarks)
    for faces in (detect(frames), detect.with_thumbnails(frames)[0]):
        assert faces.frame_index.tolist() == [0, 1]
        torch.testing.assert_close(faces.landmarks, torch.stack([POINTS, POINTS]))
        assert bool(similarity(faces.landmarks, POINTS).isfinite().all())


def test_faces_at_the_edge_and_small_ones_stay() -> None:
    frames = frames_from_rgb(torch.zeros(2, 128, 128, 3, dtype=torch.uint8))
    for box, landmarks in ((BOX - 40, POINTS - 40), (BOX / 15, POINTS / 15), (BOX * 4, POINTS * 4)):
        assert len(detector(box, landmarks)(frames)) == 3
    assert alignable(detector(BOX, POINTS)(frames), (128, 128)).tolist() == [True] * 3


def test_a_transfer_gives_what_came_in() -> None:
    tensors = [torch.rand(2, 3), torch.rand(4), torch.zeros(0, 5)]
    for ours, given in zip(to_host(*tensors), tensors, strict=True):
        assert torch.equal(ours, given)


@pytest.mark.gpu
def test_a_transfer_from_a_gpu_gives_what_came_in() -> None:
    tensors = [torch.rand(2, 3), torch.rand(4), torch.zeros(0, 5)]
    for ours, given in zip(to_host(*(t.cuda() for t in tensors)), tensors, strict=True):
        assert torch.equal(ours, given)
