"""Stage 6 without a parser: masks from the outlines that a face's points make."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.canvas.batch import FaceBatch
from trtswap.canvas.masks import MASK_SCALE, Masks
from trtswap.faces.dense import in_crop
from trtswap.faces.outlines import INNER_LIPS, OVAL, cells, depth_in
from trtswap.pixels.transfer import on_device

FACE_SCALE = 2 * MASK_SCALE  # the face's edge is long, and softer than the mouth's
MOUTH = 0.4
"""The mouth's edge is so much sharper than the face's: points are nearer to lips than labels are, and lips narrow."""


class Outliner:
    """Says what of a canvas is face and mouth by the points that were measured.

    Args:
        feather: standard deviation of the masks' soft edges, as a share of the canvas's side.
    """

    def __init__(self, *, feather: float) -> None:
        self.feather = feather

    def __call__(self, batch: FaceBatch) -> None:
        size = batch.canvas.shape[-1]
        points = in_crop(batch.faces.points, batch.to_canvas)
        batch.masks = masks_of(on_device(points, batch.canvas.device), size, self.feather)


def masks_of(points: Tensor, size: int, feather: float) -> Masks:
    """Soft masks of canvases.

    Args:
        points: float32 [N, 478, 3], pixels of the canvases; all zero where there are none, which are no face.
        size: of a canvas, pixels.
        feather: as in :class:`Outliner`.
    """
    deviation = max(feather * size, 0.5)
    lips = MOUTH * deviation
    # As with a parser's labels, the face ends at its outline, the mouth begins there.
    return Masks(
        face=_edge(points, OVAL, size, FACE_SCALE, lambda depth: _gaussian(depth, deviation)),
        mouth=_edge(points, INNER_LIPS, size, MASK_SCALE, lambda depth: 1 + _gaussian(depth + lips / 2, lips)),
    )


def _gaussian(depth: Tensor, deviation: float) -> Tensor:
    """What a Gaussian makes of an edge, -1..1."""
    return torch.erf(depth / (deviation * 2**0.5))


def _edge(points: Tensor, outline: tuple[int, ...], size: int, scale: int, soft: Callable[[Tensor], Tensor]) -> Tensor:
    """A mask [N, 1, size, size] from the depth in an outline, which is looked up in squares of ``scale`` pixels."""
    count = max(1, size // scale)
    found = soft(depth_in(points, outline, cells(count, float(size)).to(points.device))).reshape(-1, 1, count, count)
    return F.interpolate(found, (size, size), mode="bilinear", align_corners=False).clamp_(0, 1)
