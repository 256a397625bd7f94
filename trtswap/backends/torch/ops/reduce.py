"""Operators along axes: reductions, softmax, sorting, running sums."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from trtswap.backends.torch.ops.table import Ints, ints, operator


def _product(x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    for axis in sorted((a % x.ndim for a in axes), reverse=True):
        x = x.prod(axis, keepdim, dtype=x.dtype)
    return x


def _enter(name: str, function: Callable[[Tensor, list[int], bool], Tensor]) -> None:
    @operator(name, host=(1,))
    def reduction(x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
        over = [] if axes is None else ints(axes)
        if not over and noop_with_empty_axes:
            return x
        return function(x, over or list(range(x.ndim)), bool(keepdims))


_REDUCTIONS: Mapping[str, Callable[[Tensor, list[int], bool], Tensor]] = {
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keep, dtype=x.dtype),
    "ReduceL2": lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep),
    "ReduceLogSumExp": torch.logsumexp,
    "ReduceMax": torch.amax,
    "ReduceMean": torch.mean,
    "ReduceMin": torch.amin,
    "ReduceProd": _product,
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keep, dtype=x.dtype),
    "ReduceSumSquare": lambda x, axes, keep: x.square().sum(axes, keep, dtype=x.dtype),
}
for _name, _function in _REDUCTIONS.items():
    _enter(_name, _function)


@operator("Softmax", since=13)
def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return torch.softmax(x, axis)


@operator("Softmax")
def softmax_flattened(x: Tensor, *, axis: int = 1) -> Tensor:
    """Before opset 13, one softmax over all axes from ``axis`` on."""
    return torch.softmax(x.flatten(axis), -1).reshape(x.shape)


@operator("LogSoftmax", since=13)
def log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return torch.log_softmax(x, axis)


@operator("ArgMax")
def argmax(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """Of equal values the first wins, or the last where that is asked for."""
    if select_last_index:
        return x.shape[axis] - 1 - torch.argmax(x.flip(axis), axis, bool(keepdims))
    return torch.argmax(x, axis, bool(keepdims))


@operator("ArgMin")
def argmin(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    if select_last_index:
        return x.shape[axis] - 1 - torch.argmin(x.flip(axis), axis, bool(keepdims))
    return torch.argmin(x, axis, bool(keepdims))


@operator("TopK", host=(1,), outputs=2)
def topk(x: Tensor, k: Tensor, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> tuple[Tensor, Tensor]:
    """Of equal values the one with the lower index comes first, which torch.topk leaves open."""
    values, indices = torch.sort(x, dim=axis, descending=bool(largest), stable=True)
    (count,) = ints(k)
    return values.narrow(axis, 0, count), indices.narrow(axis, 0, count)


@operator("CumSum", host=(1,))
def cumsum(x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    (dim,) = ints(axis)
    x = x.flip(dim) if reverse else x
    sums = torch.cumsum(x, dim, dtype=x.dtype)
    if exclusive:
        sums = torch.cat([torch.zeros_like(x.narrow(dim, 0, 1)), sums.narrow(dim, 0, x.shape[dim] - 1)], dim)
    return sums.flip(dim) if reverse else sums
