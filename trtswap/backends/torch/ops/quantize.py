"""Quantisation to 8 bits and back."""

import torch
from torch import Tensor

from trtswap.backends.torch.ops.table import operator


def _along(values: Tensor, x: Tensor, axis: int) -> Tensor:
    """One value for all, or one per position of an axis, shaped to broadcast against ``x``."""
    if values.ndim == 0:
        return values
    shape = [1] * x.ndim
    shape[axis] = -1
    return values.reshape(shape)


@operator("QuantizeLinear")
def quantize_linear(
    x: Tensor, scale: Tensor, zero_point: Tensor | None = None, *, axis: int = 1, saturate: int = 1
) -> Tensor:
    """round(x / scale) + zero_point, halves to even, saturated. ``saturate`` concerns 8-bit floats alone."""
    dtype = torch.uint8 if zero_point is None else zero_point.dtype
    levels = torch.round(x.float() / _along(scale.float(), x, axis))
    if zero_point is not None:
        levels = levels + _along(zero_point, x, axis)
    limits = torch.iinfo(dtype)
    return levels.clamp(limits.min, limits.max).to(dtype)


@operator("DequantizeLinear")
def dequantize_linear(x: Tensor, scale: Tensor, zero_point: Tensor | None = None, *, axis: int = 1) -> Tensor:
    levels = x.to(torch.int32) if zero_point is None else x.to(torch.int32) - _along(zero_point.int(), x, axis)
    return levels.to(scale.dtype) * _along(scale, x, axis)
