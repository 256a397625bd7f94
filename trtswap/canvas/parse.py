"""Stage 6: which pixel of the original face is what, and the soft masks that follow from it."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.backends.runtime import Stage
from trtswap.canvas.masks import MASK_SCALE, Masks
from trtswap.pixels.transfer import on_device

if TYPE_CHECKING:
    from trtswap.canvas.batch import FaceBatch

# Class numbers of CelebAMask-HQ in the order of the BiSeNet checkpoints.
CLASSES = ("background", "skin", "left brow", "right brow", "left eye", "right eye", "glasses", "left ear",
           "right ear", "earring", "nose", "mouth", "upper lip", "lower lip", "neck", "necklace", "cloth", "hair",
           "hat")  # fmt: skip
FACE = (1, 2, 3, 4, 5, 6, 10, 11, 12, 13)  # skin, brows, eyes, glasses, nose, mouth, lips
MOUTH = (11,)  # teeth and tongue, which say what is said; lips are their owner's

# Pixels of a cell whose two counts are exact in one float32.
_MAX_CELL = 1024


class Parser:
    """Labels canvases with a pack's parse graph and turns labels into masks.

    Args:
        stage: the parse graph.
        feather: standard deviation of the masks' soft edges, as a share of the canvas's side (crop pixels,
            so that the look does not change with the size of the face in the frame).
    """

    def __init__(self, stage: Stage, *, feather: float) -> None:
        self.stage = stage
        self.feather = feather

    def __call__(self, batch: "FaceBatch") -> None:
        batch.masks = masks_of(self.labels(batch.canvas), batch.canvas.shape[-1], self.feather)

    def labels(self, canvas: Tensor) -> Tensor:
        """uint8 [N, P, P], one of ``CLASSES`` for each pixel, of original canvases float32 [N, 3, C, C]."""
        size = self.stage.spec.size
        if canvas.shape[-1] != size:
            canvas = F.interpolate(canvas, (size, size), mode="bilinear", antialias=True)
        return self.stage.rows(faces=canvas.clamp(0, 1))["labels"]


def masks_of(labels: Tensor, size: int, feather: float) -> Masks:
    """Soft masks on canvases of ``size`` pixels from labels uint8 [N, P, P]; ``feather`` as in :class:`Parser`."""
    small = max(1, size // MASK_SCALE)
    soft = _blurred(_shares(labels, small), feather * small)
    # Twice the blurred mask is 1 on the border and inside; less one, it is 0 on the border and outside.
    soft = torch.stack([soft[:, 0] * 2 - 1, soft[:, 1] * 2], 1)
    soft = F.interpolate(soft, (size, size), mode="bilinear", align_corners=False).clamp_(0, 1)
    return Masks(face=soft[:, :1], mouth=soft[:, 1:])


def _shares(labels: Tensor, size: int) -> Tensor:
    """Which share of each cell is face, and which is mouth: float32 [N, 2, size, size], 0..1, from [N, P, P].

    Both are counted in one picture, a pixel of the mouth as more than a cell can hold of the face; float32 holds
    such sums exactly.
    """
    side = labels.shape[-1]
    if side % size or (side // size) ** 2 > _MAX_CELL:
        return torch.cat([_area(_looked_up(labels, dict.fromkeys(part, 1.0)), size) for part in (FACE, MOUTH)], 1)
    cell = float((side // size) ** 2)
    packed = _looked_up(labels, {c: (c in FACE) + (c in MOUTH) * 2 * cell for c in {*FACE, *MOUTH}})
    sums = _area(packed, size).mul_(cell).round_()
    mouth = torch.div(sums, 2 * cell, rounding_mode="floor")
    return torch.cat([sums - mouth * (2 * cell), mouth], 1).div_(cell)


def _looked_up(labels: Tensor, values: dict[int, float]) -> Tensor:
    """float32 [N, 1, P, P]: for each label its value, 0 for those that have none."""
    table = torch.zeros(256)
    for label, value in values.items():
        table[label] = value
    values_of = on_device(table, labels.device)
    return values_of.index_select(0, labels.flatten().int()).view(labels.shape[0], 1, *labels.shape[1:])


def _area(picture: Tensor, size: int) -> Tensor:
    return F.interpolate(picture, (size, size), mode="area")


def _blurred(masks: Tensor, sigma: float) -> Tensor:
    """Masks [N, C, h, w] after a Gaussian of that standard deviation, along one axis after the other."""
    if sigma <= 0:
        return masks
    radius = int(3 * sigma + 0.5)
    places = torch.arange(-radius, radius + 1, dtype=torch.float32, device=masks.device)
    taps = torch.exp(-places.square() / (2 * sigma**2))
    taps = taps / taps.sum()
    flat = masks.flatten(0, 1)[:, None]
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="replicate"), taps.view(1, 1, 1, -1))
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="replicate"), taps.view(1, 1, -1, 1))
    return flat.view_as(masks)
