"""Stage 6 without a parser: masks from the outlines that a face's points make."""

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.canvas.batch import FaceBatch
from trtswap.canvas.masks import MASK_SCALE, Masks
from trtswap.faces.dense import in_crop
from trtswap.faces.outlines import INNER_LIPS, OVAL, cells, depth_in
from trtswap.pixels.transfer import on_device

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
        batch.masks = self.masks(on_device(points, batch.canvas.device), size)

    def masks(self, points: Tensor, size: int) -> Masks:
        """Soft masks of canvases.

        Args:
            points: float32 [N, 478, 3], pixels of the canvases; all zero where there are none, which are no face.
            size: of a canvas, pixels.
        """
        count = max(1, size // MASK_SCALE)
        places = cells(count, float(size)).to(points.device)
        deviation = max(self.feather * size, 0.5)
        # What a Gaussian makes of an edge; as with a parser's labels, the face ends at its outline, the mouth begins.
        face = torch.erf(depth_in(points, OVAL, places) / (deviation * 2**0.5))
        lips = MOUTH * deviation
        mouth = 1 + torch.erf((depth_in(points, INNER_LIPS, places) + lips / 2) / (lips * 2**0.5))
        soft = torch.stack([face, mouth], 1).clamp(0, 1).reshape(-1, 2, count, count)
        soft = F.interpolate(soft, (size, size), mode="bilinear", align_corners=False)
        return Masks(face=soft[:, :1], mouth=soft[:, 1:])
