"""Operators that move elements without arithmetic: shapes, slices, gathering, padding, and tensors made from shapes."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.backends.torch.ops.table import Ints, ints, operator


@operator("Shape", metadata=True)
def shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    return torch.tensor(x.shape[start:end], dtype=torch.int64)


@operator("Size", metadata=True)
def size(x: Tensor) -> Tensor:
    return torch.tensor(x.numel())


@operator("ConstantOfShape", host=(0,))
def constant_of_shape(shape: Tensor, *, value: Tensor | None = None, device: torch.device) -> Tensor:
    fill, dtype = (0.0, torch.float32) if value is None else (value.item(), value.dtype)
    return torch.full(ints(shape), fill, dtype=dtype, device=device)


@operator("Range", host=(0, 1, 2))
def arange(start: Tensor, limit: Tensor, delta: Tensor, *, device: torch.device) -> Tensor:
    first, last, step = (t.item() for t in (start, limit, delta))
    count = max(math.ceil((last - first) / step), 0)
    return torch.arange(count, device=device).to(start.dtype) * step + first


@operator("Reshape", host=(1,))
def reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    wanted = ints(shape)
    if not allowzero:
        wanted = [n or x.shape[i] for i, n in enumerate(wanted)]
    return x.reshape(wanted)


@operator("Flatten")
def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    rows = math.prod(x.shape[:axis])
    return x.reshape(rows, math.prod(x.shape[axis:]))


@operator("Transpose")
def transpose(x: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    return x.permute(*(range(x.ndim - 1, -1, -1) if perm is None else perm))


@operator("Squeeze", host=(1,))
def squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    if axes is None:
        return x.squeeze()
    dims = ints(axes)
    if any(x.shape[d] != 1 for d in dims):
        raise ValueError(f"axes {dims} of {list(x.shape)} are not all of length 1")
    return x.squeeze(dims)


@operator("Unsqueeze", host=(1,))
def unsqueeze(x: Tensor, axes: Ints) -> Tensor:
    """Negative axes count from the end of the result."""
    dims = ints(axes)
    for dim in sorted(d % (x.ndim + len(dims)) for d in dims):
        x = x.unsqueeze(dim)
    return x


@operator("Concat")
def concat(*xs: Tensor, axis: int) -> Tensor:
    return torch.cat(xs, axis)


@operator("Split", host=(1,), outputs=0)
def split(
    x: Tensor, split: Ints | None = None, *, axis: int = 0, num_outputs: int | None = None, output_count: int
) -> tuple[Tensor, ...]:
    """Without sizes, equal parts, of which the last may be smaller."""
    if split is not None:
        return torch.split_with_sizes(x, ints(split), axis)
    parts = num_outputs or output_count
    part = math.ceil(x.shape[axis] / parts)
    return torch.split_with_sizes(x, [part] * (parts - 1) + [x.shape[axis] - part * (parts - 1)], axis)


@operator("Slice", host=(1, 2, 3, 4))
def slice_axes(
    x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
) -> Tensor:
    """Bounds beyond the tensor are clamped; a negative step walks backwards."""
    first, last = ints(starts), ints(ends)
    dims = list(range(len(first))) if axes is None else ints(axes)
    strides = [1] * len(first) if steps is None else ints(steps)
    for dim, *bounds in zip(dims, first, last, strides, strict=True):
        positions = range(x.shape[dim])[slice(*bounds)]
        forward = positions if positions.step > 0 else positions[::-1]
        x = x.narrow(dim, forward.start if len(forward) else 0, forward[-1] + 1 - forward.start if len(forward) else 0)
        x = x[(slice(None),) * (dim % x.ndim) + (slice(None, None, forward.step),)]
        x = x if positions.step > 0 else x.flip(dim)
    return x


def _wrapped(indices: Tensor, length: int) -> Tensor:
    """Negative indices counted from the end."""
    return torch.where(indices < 0, indices + length, indices)


@operator("Gather")
def gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    axis %= x.ndim
    rows = x.index_select(axis, _wrapped(indices.flatten(), x.shape[axis]))
    return rows.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


@operator("GatherElements")
def gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    return torch.gather(x, axis, _wrapped(indices, x.shape[axis]).long())


@operator("GatherND")
def gather_nd(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    """The last axis of ``indices`` holds positions in the axes of ``x`` after the batch axes."""
    inner = indices.ndim - 1 - batch_dims
    batch = [
        torch.arange(n, device=x.device).reshape([-1] + [1] * (batch_dims - 1 - i + inner))
        for i, n in enumerate(x.shape[:batch_dims])
    ]
    return x[(*batch, *indices.long().unbind(-1))]


@operator("ScatterND", only={"reduction": ("none", "add")})
def scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    return x.index_put(tuple(indices.unbind(-1)), updates, accumulate=reduction == "add")


@operator("ScatterElements", only={"reduction": ("none", "add")})
def scatter_elements(x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none") -> Tensor:
    scatter = torch.scatter_add if reduction == "add" else torch.scatter
    return scatter(x, axis, _wrapped(indices, x.shape[axis]).long(), updates)


@operator("Expand", host=(1,))
def expand(x: Tensor, shape: Tensor) -> Tensor:
    both: torch.Size = torch.broadcast_shapes(x.shape, tuple(ints(shape)))  # type: ignore[no-untyped-call]
    return x.expand(both)


@operator("Tile", host=(1,))
def tile(x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(ints(repeats))


@operator("Trilu", host=(1,))
def trilu(x: Tensor, k: Tensor | None = None, *, upper: int = 1) -> Tensor:
    diagonal = 0 if k is None else int(k)
    return torch.triu(x, diagonal) if upper else torch.tril(x, diagonal)


@operator("DepthToSpace")
def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = x.shape
    b = blocksize
    if mode == "CRD":
        return F.pixel_shuffle(x, b)
    return x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)


@operator("SpaceToDepth")
def space_to_depth(x: Tensor, *, blocksize: int) -> Tensor:
    n, c, h, w = x.shape
    b = blocksize
    return x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, c * b**2, h // b, w // b)


@operator("Pad", host=(1, 2, 3), only={"mode": ("constant", "reflect", "edge")})
def pad(
    x: Tensor, pads: Tensor, constant_value: Tensor | None = None, axes: Tensor | None = None, *, mode: str = "constant"
) -> Tensor:
    """``pads`` holds what is added before each axis, then what is added after each; below zero takes away."""
    amounts = ints(pads)
    dims = list(range(x.ndim)) if axes is None else [a % x.ndim for a in ints(axes)]
    around = {dim: (amounts[i], amounts[i + len(dims)]) for i, dim in enumerate(dims)}
    if mode == "constant":
        return F.pad(x, _torch_order(around, x.ndim), value=0.0 if constant_value is None else constant_value.item())
    padded = [dim for dim, amount in around.items() if any(amount)]
    if padded and x.ndim in (3, 4) and min(padded) >= x.ndim - 2 and min(amounts) >= 0 and x.is_floating_point():
        inner = {dim: around.get(dim, (0, 0)) for dim in (x.ndim - 2, x.ndim - 1)}
        return F.pad(x, _torch_order(inner, x.ndim)[:4], mode="replicate" if mode == "edge" else "reflect")
    for dim in padded:
        x = x.index_select(dim, _mirrored(x.shape[dim], *around[dim], mode, x.device))
    return x


def _torch_order(around: dict[int, tuple[int, int]], ndim: int) -> list[int]:
    """Amounts as torch wants them: last axis first, before and after side by side."""
    return [n for dim in range(ndim - 1, -1, -1) for n in around.get(dim, (0, 0))]


def _mirrored(length: int, before: int, after: int, mode: str, device: torch.device) -> Tensor:
    """Position in the source of every position of a padded axis."""
    positions = torch.arange(-before, length + after, device=device)
    if mode == "reflect":
        period = max(2 * (length - 1), 1)
        positions = positions.remainder(period)
        return torch.minimum(positions, period - positions) if length > 1 else positions
    return positions.clamp(0, length - 1)
