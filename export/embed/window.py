"""Squares of frames around faces: taken out, and put back."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trtswap.pixels.geometry import invert, transform_points

EVEN = 2
"""Windows begin at pixels of both colour planes of 4:2:0."""


@dataclass(frozen=True)
class Windows:
    """One square in the frame of each slot.

    Attributes:
        corners: float32 [B, F, 2], (x, y) of the first pixel, even numbers.
        side: pixels.
    """

    corners: Tensor
    side: int

    def index(self, shift: int, height: int, width: int) -> Tensor:
        """Which samples of grids [B * h * w, c] the windows hold: int64 [B, F, k, k].

        Args:
            shift: log2 of how much coarser than the frame the grid is.
            height, width: of the grid.
        """
        corners = (self.corners * 0.5**shift).to(torch.int64)
        along = torch.arange(self.side // 2**shift)
        rows = (corners[..., 1:] + along) * width + torch.arange(corners.shape[0])[:, None, None] * (height * width)
        return rows[..., None] + (corners[..., :1] + along)[..., None, :]


def around(to_crop: Tensor, size: int, side: int, frame: tuple[int, int], *, faces: int) -> Windows:
    """Windows whose middles are those of crops, moved into the frame.

    Args:
        to_crop: float32 [B * faces, 2, 3], similarities, frame pixel -> pixel of the crop.
        size: side of the crop, pixels.
        side: of the windows; at most the frame's.
        frame: its height and width.
    """
    middle = torch.full((1, 1, 2), (size - 1) / 2)
    places = transform_points(invert(to_crop), middle)[:, 0]
    most = torch.stack([torch.scalar_tensor(frame[1] - side), torch.scalar_tensor(frame[0] - side)])
    corners = torch.floor((places - side / 2) / EVEN) * EVEN
    corners = torch.minimum(corners.clamp(min=0), most)
    return Windows(torch.unflatten(corners, 0, (-1, faces)), side)


def taken(grid: Tensor, index: Tensor) -> Tensor:
    """Samples [B * F, c, k, k] of a grid [B, h, w, c] at :meth:`Windows.index`."""
    channels, side = grid.shape[3], index.shape[3]
    samples = torch.index_select(grid.reshape(-1, channels), 0, index.flatten())
    return samples.view(-1, side, side, channels).permute(0, 3, 1, 2)


def put(grid: Tensor, index: Tensor, samples: Tensor) -> Tensor:
    """The grid with these samples [B, c, k, k] in place of its own; ``index`` [B, 1, k, k] names each once."""
    channels = grid.shape[3]
    rows = samples.permute(0, 2, 3, 1).reshape(-1, channels)
    flat = torch.index_put(grid.reshape(-1, channels), (index.flatten(),), rows)
    return flat.view(grid.shape)
