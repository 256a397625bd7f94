"""A picture drawn from one set of points onto another: moving least squares.

Schaefer, McPhail, Warren: Image Deformation Using Moving Least Squares (2006), the affine case: around each place the
best affine map of all points, near ones weighing most, in closed form.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trtswap.faces.outlines import cells

POWER = 2.0  # weights fall with this power of the squared distance
SOFT = 1.0  # square pixels; at a point itself the weight stays finite
LEAST = 1e-4  # square pixels, of a determinant: all points in one line


class Warp(nn.Module):
    """Where each cell of the target's crop lies in the source's.

    Args:
        count: cells along each side.
        size: of both crops, pixels.
    """

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.count, self.size = count, size
        self.register_buffer("places", cells(count, size), persistent=False)

    places: Tensor

    def forward(self, target: Tensor, sources: Tensor, counts: Tensor) -> Tensor:
        """Maps by points.

        Args:
            target: float32 [N, K, 2], pixels of the target's crop.
            sources: float32 [N, K, 2 M], the same points in M pictures, pixels of theirs.
            counts: float32 [N, K], 0..1, how much each point counts.

        Returns:
            float32 [N, 2 M, count, count]: where the cells lie in each picture.
        """
        x, y = (target[..., None, :, i] - self.places[:, i, None] for i in (0, 1))  # [N, G, K]
        weight = counts[:, None] * (x * x + y * y + SOFT) ** -POWER
        weight = weight / weight.sum(-1, keepdim=True)
        wx, wy = weight * x, weight * y
        mx, my = wx.sum(-1), wy.sum(-1)
        xx, xy, yy = (wx * x).sum(-1) - mx * mx, (wx * y).sum(-1) - mx * my, (wy * y).sum(-1) - my * my
        determinant = (xx * yy - xy * xy).clamp(min=LEAST)
        gx, gy = (mx * yy - my * xy) / determinant, (my * xx - mx * xy) / determinant
        # The affine map's value at the place is a weighted sum of the points in the picture.
        share = weight - gx[..., None] * (wx - weight * mx[..., None]) - gy[..., None] * (wy - weight * my[..., None])
        maps = [(share * part[:, None]).sum(-1) for part in sources.unbind(-1)]
        return torch.stack(maps, 1).reshape(-1, len(maps), self.count, self.count)


def growth(maps: Tensor, size: int) -> Tensor:
    """By how much a map [N, 2, n, n] enlarges areas; negative where it turns them over: float32 [N, 1, n, n]."""
    step = 2 * size / maps.shape[-1]
    wide = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    dx, dy = (
        (wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]) / step,
        (wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]) / step,
    )
    return dx[:, :1] * dy[:, 1:] - dx[:, 1:] * dy[:, :1]


def drawn(pictures: Tensor, maps: Tensor, size: int) -> Tensor:
    """Pictures [N, C, P, P] at a map's places.

    Args:
        pictures: of any size; the map counts in pixels of ``size``.
        maps: float32 [N, 2, n, n].
        size: of the source's crop, pixels.

    Returns:
        float32 [N, C, n, n]; what lies beyond a picture is its border.
    """
    grid = ((maps + 0.5) * (2 / size) - 1).permute(0, 2, 3, 1)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)
