"""What the occluder learns from: crops of rendered heads, measured at 478 points, with something in front of most."""

from dataclasses import dataclass

import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor

from export.avatar.crops import cut, noisy, pictures
from export.avatar.data import Renders
from trtswap.canvas.parse import CLASSES
from trtswap.faces.dense import in_crop, in_frame
from trtswap.faces.outlines import OVAL, cells, depth_in
from trtswap.model.pack import shared_stages
from trtswap.pixels.geometry import align

from .chance import Chance
from .network import CELLS, SIZE
from .skin import folded, photographed, weathered
from .things import covered

TEMPLATE = ("mesh_192",)
HIDING = ("background", "glasses", "earring", "necklace", "cloth", "hair", "hat")
COVERED, TWICE = 0.65, 6  # share of the faces that have something in front; one of so many has two things
OFF, UNEVEN, GROWN = 0.03, 0.01, 0.03  # errors of points, shares of the eyes' distance and of the face
EYES = 30.0  # that distance, pixels
ROWS = 40


@dataclass(frozen=True)
class Batch:
    """N crops.

    Attributes:
        faces: float32 [N, 3, S, S], RGB 0..1.
        points: float32 [N, 478, 3], pixels of the crops, as far off as where something is in front.
        hidden: float32 [N, 1, S, S], 1 where something lies in front of the face, or where none is.
        oval: float32 [N, 1, S, S], 1 inside the face's outline.
    """

    faces: Tensor
    points: Tensor
    hidden: Tensor
    oval: Tensor


@dataclass(frozen=True)
class Scenes:
    """Renders of one head each, uint8 [M, 3, H, W], with labels, landmarks and points in their pixels."""

    images: Tensor
    labels: Tensor
    landmarks: Tensor
    points: Tensor

    def batch(self, chance: Chance) -> Batch:
        """Crops of some of them, each time others."""
        rows = torch.randint(len(self.images), (chance.count,), generator=chance.generator)
        to_crop = _enlarged(align(noisy(self.landmarks[rows], chance.generator, 0.03), TEMPLATE, SIZE), chance)
        faces = cut(pictures(self.images[rows]), to_crop, SIZE)
        hidden = F.avg_pool2d(
            _padded(_hiding(cut(self.labels[rows, None].float(), to_crop, SIZE, mode="nearest"))), 3, 1
        )
        points = in_crop(self.points[rows], to_crop)
        oval = _inside(points)
        faces = weathered(folded(faces, points, chance), chance)
        found, alpha = _covered(faces, oval, chance)
        some = chance.which(COVERED)
        faces = photographed(torch.where(some[:, None, None, None], found, faces), chance)
        hidden = torch.maximum(hidden, alpha * some[:, None, None, None])
        return _mirrored(Batch(faces, _mistaken(points, some, chance), hidden, oval), chance.which(0.5))


def measured(renders: Renders) -> Scenes:
    """Renders whose faces the landmarks graph knows, with what it says."""
    images, labels, landmarks = (t.flatten(0, 1) for t in (renders.images, renders.labels, renders.landmarks))
    spec = shared_stages()["landmarks"]
    session = onnxruntime.InferenceSession(spec.path, providers=["CPUExecutionProvider"])
    found, scores = list[Tensor](), list[Tensor]()
    for start in range(0, len(images), ROWS):
        rows = slice(start, start + ROWS)
        to_crop = align(landmarks[rows], spec.templates, spec.size)
        crops = cut(pictures(images[rows]), to_crop, spec.size)
        points, score = (torch.from_numpy(x) for x in session.run(["points", "scores"], {"faces": crops.numpy()}))
        found.append(in_frame(points, to_crop))
        scores.append(score)
    known = torch.cat(scores) >= spec.threshold
    return Scenes(images[known], labels[known], landmarks[known], torch.cat(found)[known])


def _enlarged(to_crop: Tensor, chance: Chance) -> Tensor:
    """Crops a little larger or smaller about their middle."""
    scale, middle = 1 + 0.06 * chance.normal(1, 1), torch.full((1, 2, 1), SIZE / 2)
    return torch.cat([to_crop[:, :, :2] * scale, (to_crop[:, :, 2:] - middle) * scale + middle], 2)


def _hiding(labels: Tensor) -> Tensor:
    table = torch.tensor([float(name in HIDING) for name in CLASSES])
    return table[labels.round().long()]


def _padded(x: Tensor) -> Tensor:
    return F.pad(x, (1, 1, 1, 1), mode="replicate")


def _inside(points: Tensor) -> Tensor:
    depth = depth_in(points, OVAL, cells(CELLS, float(SIZE))).reshape(-1, 1, CELLS, CELLS)
    return F.interpolate((depth > 0).float(), (SIZE, SIZE), mode="bilinear")


def _covered(faces: Tensor, oval: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """Something in front of every face, and something more in front of a few."""
    found, alpha = covered(faces, oval, chance)
    few = max(1, chance.count // TWICE)
    more, further = covered(found[:few], oval[:few], chance.first(few))
    alpha = torch.cat([1 - (1 - alpha[:few]) * (1 - further), alpha[few:]])
    return torch.cat([more, found[few:]]), alpha


def _mistaken(points: Tensor, hidden: Tensor, chance: Chance) -> Tensor:
    """Points as far off as the graph's, twice as far where something is in front."""
    off = EYES * (OFF * chance.normal(1, 2) + UNEVEN * chance.normal(points.shape[1], 2)) * (1 + hidden[:, None, None])
    places = points[..., :2]
    middle = places.mean(1, keepdim=True)
    places = (places - middle) * (1 + GROWN * chance.normal(1, 2)) + middle + off
    return torch.cat([places, points[..., 2:]], 2)


def _mirrored(batch: Batch, where: Tensor) -> Batch:
    """Some of the crops mirrored; outlines need no other numbers, as they are the same from either side."""
    faces, hidden, oval = (
        torch.where(where[:, None, None, None], x.flip(-1), x) for x in (batch.faces, batch.hidden, batch.oval)
    )
    x, further = batch.points[..., :1], batch.points[..., 1:]
    points = torch.cat([torch.where(where[:, None, None], SIZE - 1 - x, x), further], 2)
    return Batch(faces, points, hidden, oval)
