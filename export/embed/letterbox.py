"""Frames made small for the detector, inside a graph: as :meth:`trtswap.pixels.frames.Frames.resized` does it.

That shrinks 8-bit planes with torch's own integers: along rows, then along columns, with weights of 16 bits, rounding
after each. Frames of a known size are shrunk by the same numbers, which convolutions hold: the weights repeat, since
so many pixels of a frame become so many of the small one. Frames of any size are shrunk by matrix products with weights
that the graph computes, into a square.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from trtswap.pixels.frames import searched_size

from .frames import Opener, sides_of

WEIGHT_BITS = 15  # of torch's weights: aten/src/ATen/native/cpu/UpSampleKernel.cpp, compute_index_ranges_int16_weights


class Letterbox(nn.Module):
    """Code values of grids -> RGB 0..1 float32 [B, 3, h, w], black at the right and below, and what a pixel has become.

    Args:
        opener: of the frames.
        frame: (width, height), pixels; None: any.
        size: longer side of the small picture.
    """

    def __init__(self, opener: Opener, frame: tuple[int, int] | None, size: int) -> None:
        super().__init__()
        self._opener, self._frame, self._size = opener, frame, size
        self.shrink = nn.ModuleList()
        if frame is None:
            self.shrink.extend(_AnyShrink(size) for _ in opener.grids)
            return
        (height, width), self._padded = searched_size(frame, size)
        for grid in opener.grids:
            self.shrink.append(_Shrink((frame[1] >> grid.shift, frame[0] >> grid.shift), (height, width)))

    def forward(self, grids: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Pictures, and float32 [2]: pixels of it per pixel of the frame, along x and y."""
        if self._frame is None:
            return self._any(grids)
        small = [shrink(grid.permute(0, 3, 1, 2)) for shrink, grid in zip(self.shrink, grids, strict=True)]
        rgb = self._opener.rgb(*small).clamp(0, 1)
        height, width = rgb.shape[2:]
        rgb = F.pad(rgb, (0, self._padded[1] - width, 0, self._padded[0] - height))
        return rgb, torch.tensor([width / self._frame[0], height / self._frame[1]])

    def _any(self, grids: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        sides = sides_of(grids[0])
        small_sides = (sides * (self._size / sides.amax(0)).clamp(max=1)).round().clamp(min=1)
        small = [shrink(g.permute(0, 3, 1, 2), small_sides) for shrink, g in zip(self.shrink, grids, strict=True)]
        x, y = (torch.arange(self._size) < side for side in small_sides)
        rgb = self._opener.rgb(*small).clamp(0, 1) * (y[:, None] & x[None]).float()
        return rgb, small_sides / sides


class _Shrink(nn.Module):
    """Channels [B, C, H, W] of a known size made smaller, or larger."""

    def __init__(self, sizes: tuple[int, int], small: tuple[int, int]) -> None:
        super().__init__()
        self.along = nn.ModuleList(_Along(sizes[axis], small[axis], vertical=axis == 0) for axis in (1, 0))

    def forward(self, channels: Tensor) -> Tensor:
        count = channels.shape[1]
        flat = channels.flatten(0, 1)[:, None]
        for step in self.along:
            flat = step(flat)
        return torch.unflatten(flat, 0, (-1, count)).flatten(2, 3)


class _Along(nn.Module):
    """One axis: a convolution that makes ``small / g`` pixels of every ``size / g``, g being what divides both."""

    def __init__(self, size: int, small: int, *, vertical: bool) -> None:
        super().__init__()
        self.vertical, self.same = vertical, size == small
        matrix, bits = weights(size, small)
        self.blocks = math.gcd(size, small)
        self.step, made = size // self.blocks, small // self.blocks
        # Far from its edges a larger frame of the same scale has the weights that nothing cuts off.
        first = size
        rows = weights(3 * size, 3 * small, bits)[0][small : small + made]
        used = np.nonzero(rows.any(0))[0]
        self.before = max(0, first - int(used[0]))
        self.behind = max(0, int(used[-1]) + 1 - first - self.step)
        kernel = matrix_part(rows, first - self.before, first + self.step + self.behind)
        shape = (made, 1, kernel.shape[1], 1) if vertical else (made, 1, 1, kernel.shape[1])
        self.register_buffer("kernel", torch.from_numpy(kernel).float().view(shape), persistent=False)
        # 128 less keeps the sums whole numbers that float32 holds; edges sum up fewer weights.
        whole = np.tile(kernel.sum(1), self.blocks)
        seen = np.array([self._seen(kernel, size, at) for at in range(small)])
        scale = np.where(seen == whole, 2.0**-bits, matrix.sum(1) / 2.0**bits / np.maximum(seen, 1))
        self.register_buffer("scale", torch.from_numpy(scale).float(), persistent=False)
        self.register_buffer("grey", torch.from_numpy(128 * seen * scale).float(), persistent=False)

    kernel: Tensor
    scale: Tensor
    grey: Tensor

    def _seen(self, kernel: NDArray[np.int64], size: int, at: int) -> int:
        """Sum of the weights that lie within the frame."""
        block, row = divmod(at, len(kernel))
        start = block * self.step - self.before
        return int(matrix_part(kernel[row : row + 1], max(0, -start), min(kernel.shape[1], size - start)).sum())

    def forward(self, pictures: Tensor) -> Tensor:
        if self.same:
            return pictures
        pad = (0, 0, self.before, self.behind) if self.vertical else (self.before, self.behind, 0, 0)
        stride = (self.step, 1) if self.vertical else (1, self.step)
        sums = F.conv2d(F.pad(pictures - 128, pad), self.kernel, stride=stride)
        if self.vertical:
            sums = sums.transpose(1, 2).flatten(1, 2) * self.scale[:, None] + self.grey[:, None]
        else:
            sums = sums.permute(0, 2, 3, 1).flatten(2, 3) * self.scale + self.grey
        return torch.floor(sums + 0.5).clamp(0, 255)[:, None]


def matrix_part(matrix: NDArray[np.int64], start: int, end: int) -> NDArray[np.int64]:
    """Columns of a matrix, 0 beyond its own."""
    left, right = max(0, -start), max(0, end - matrix.shape[1])
    return np.pad(matrix, ((0, 0), (left, right)))[:, start + left : end + left]


def weights(size: int, small: int, bits: int | None = None) -> tuple[NDArray[np.int64], int]:
    """How torch makes ``small`` pixels of ``size``, anti-aliased and bilinear, in 8 bits.

    Args:
        bits: of the weights behind the point; as many as 16 bits hold where None.

    Returns:
        Whole numbers [small, size], and how many bits their sums are shifted by.
    """
    scale = size / small
    reach = max(scale, 1.0)
    middles = scale * (np.arange(small) + 0.5)
    first = np.maximum((middles - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((middles + reach + 0.5).astype(np.int64), size)
    at = np.arange(size)[None]
    near = np.maximum(0, 1 - np.abs((at - middles[:, None] + 0.5) / reach))
    near = np.where((at >= first[:, None]) & (at < last[:, None]), near, 0)
    near /= near.sum(1, keepdims=True)
    if bits is None:
        bits = next(n for n in range(23) if n == 22 or int(0.5 + near.max() * 2.0 ** (n + 1)) >= 1 << WEIGHT_BITS)
    return (near * 2.0**bits + 0.5).astype(np.int64), bits


class _AnyShrink(nn.Module):
    """Channels [B, C, H, W] of any size into a square of ``size``, of which the rest is 0."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, channels: Tensor, small: Tensor) -> Tensor:
        rows, columns = (self._weights(channels.shape[axis], small[3 - axis]) for axis in (2, 3))
        # 128 less keeps more of the sums' bits; what is rounded does not always add up to 1.
        across = torch.matmul(channels - 128, columns.mT) + 128 * columns.sum(1)
        across = torch.floor(across + 0.5).clamp(0, 255)
        down = torch.matmul(rows, across - 128) + 128 * rows.sum(1, keepdim=True)
        return torch.floor(down + 0.5).clamp(0, 255)

    def _weights(self, length: int, small: Tensor) -> Tensor:
        """[size, length]: as :func:`weights`, divided by what their sums are shifted by."""
        # Of whole numbers, which float32 holds: (2 j + 1) small - (2 i + 1) length.
        at, of = (2 * torch.arange(n, dtype=torch.float32) + 1 for n in (length, self.size))
        away = (at[None] * small - of[:, None] * length).abs()
        near = (1 - away / (2 * small.clamp(min=length))).clamp(min=0)
        near = near / near.sum(1, keepdim=True).clamp(min=1e-6)
        least = ((1 << WEIGHT_BITS) - 0.5) / near.amax((0, 1))
        whole = torch.exp2(torch.ceil(torch.log2(least)) - 1)
        return torch.floor(near * whole + 0.5) / whole
