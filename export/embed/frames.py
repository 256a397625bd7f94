"""Frames inside a graph: uint8 tensors become grids of numbers, and back."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trtswap.pixels.color import planes_from_rgb, rgb_from_planes

from .layout import Layout


@dataclass(frozen=True)
class Grid:
    """Channels that have their samples in the same places.

    Attributes:
        channels: which of the three.
        shift: log2 of how much coarser than the frame they are.
        offset: (x, y) of the first sample, pixels of the frame.
    """

    channels: slice
    shift: int
    offset: tuple[float, float]

    def to_plane(self, to_frame: Tensor) -> Tensor:
        """Transforms [N, 2, 3] to pixels of the frame, as such to samples of this grid."""
        if not self.shift:
            return to_frame
        scale = 0.5**self.shift
        origin = torch.tensor(self.offset).view(1, 2, 1)
        return torch.cat([to_frame[..., :2], to_frame[..., 2:] - origin], -1) * scale

    def of_plane(self, from_frame: Tensor, corner: Tensor) -> Tensor:
        """Transforms [N, 2, 3] of pixels of the frame, as such of samples of a window of this grid.

        Args:
            corner: float32 [N, 2, 1], the window's first pixel in the frame.
        """
        linear = from_frame[..., :2]
        first = corner + torch.tensor(self.offset).view(1, 2, 1)
        return torch.cat([linear * 2**self.shift, from_frame[..., 2:] + linear @ first], -1)


class Opener:
    """Turns a layout's tensors into grids and colours, and back.

    Args:
        layout: of the frames.
    """

    def __init__(self, layout: Layout) -> None:
        self._format, self._pixels = layout.format, layout.pixels
        self.grids = (
            (Grid(slice(0, 1), 0, (0.0, 0.0)), Grid(slice(1, 3), 1, self._pixels.chroma_offset))
            if layout.planar
            else (Grid(slice(0, 3), 0, (0.0, 0.0)),)
        )
        self._plain = not layout.planar
        self._matrix = rgb_from_planes(self._pixels)[0].clone()
        self._back, self._black = (t.clone() for t in planes_from_rgb(self._pixels))

    def opened(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """float32 [B, h, w, c] of each grid, code values."""
        if self._format == "i420":
            y, u, v = tensors
            return y.float()[..., None], torch.stack([u.float(), v.float()], -1)
        if self._format == "nv12":
            return tensors[0].float()[..., None], tensors[1].float()
        frames = tensors[0].float()
        return (frames.flip(-1) if self._format == "bgr" else frames,)

    def closed(self, *grids: Tensor) -> tuple[Tensor, ...]:
        """The layout's tensors, uint8, of whole code values as :meth:`opened` gives them."""
        if self._format == "i420":
            y, (u, v) = grids[0], grids[1].unbind(-1)
            return y[..., 0].to(torch.uint8), u.to(torch.uint8), v.to(torch.uint8)
        if self._format == "nv12":
            return grids[0][..., 0].to(torch.uint8), grids[1].to(torch.uint8)
        frames = grids[0].flip(-1) if self._format == "bgr" else grids[0]
        return (frames.to(torch.uint8),)

    def rgb(self, *values: Tensor) -> Tensor:
        """RGB 0..1, and beyond, of code values: [N, 3, h, w] from the channels [N, c, h, w] of each grid."""
        return _mixed(self._matrix, torch.cat(values, 1) - self._black.view(1, 3, 1, 1), plain=self._plain)

    def codes(self, rgb: Tensor) -> Tensor:
        """Code values [N, 3, h, w] of RGB, not rounded."""
        return _mixed(self._back, rgb, plain=self._plain) + self._black.view(1, 3, 1, 1)


def _mixed(matrix: Tensor, values: Tensor, *, plain: bool) -> Tensor:
    """A matrix [3, 3] times channels [N, 3, h, w]; ``plain``: that channels have only factors."""
    if plain:
        return values * torch.stack([matrix[i, i] for i in range(3)]).view(1, 3, 1, 1)
    return torch.nn.functional.conv2d(values, matrix.view(3, 3, 1, 1))


def sides_of(grid: Tensor) -> Tensor:
    """Width and height of frames [B, H, W, c]: float32 [2]."""
    return torch.stack([torch.scalar_tensor(grid.shape[axis]) for axis in (2, 1)])
