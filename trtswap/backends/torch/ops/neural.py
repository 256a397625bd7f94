"""Operators of networks: convolution, pooling, normalisation, matrix products, sampling."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.backends.torch.ops.table import operator

CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
TRANSPOSED_CONVOLUTIONS = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
MAX_POOLS = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
AVERAGE_POOLS = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
ONES = ((1,), (1, 1), (1, 1, 1))


def _padding(
    spatial: Sequence[int],
    kernel: Sequence[int],
    *,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int] | None,
    auto_pad: str,
) -> tuple[list[int], list[int]]:
    """What is added before and after each spatial axis."""
    n = len(kernel)
    if auto_pad in ("NOTSET", "VALID"):
        pads = list(pads) if pads and auto_pad == "NOTSET" else [0] * 2 * n
        return pads[:n], pads[n:]
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    totals = [
        max((-(-size // s) - 1) * s + extent - size, 0)
        for size, s, extent in zip(spatial, strides, extents, strict=True)
    ]
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return (small, large) if auto_pad == "SAME_UPPER" else (large, small)


def _pad(x: Tensor, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> Tensor:
    around = [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]
    return F.pad(x, around, value=value)


@operator("Conv")
def conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    kernel_shape: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    group: int = 1,
) -> Tensor:
    n = x.ndim - 2
    strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
    before, after = _padding(
        x.shape[2:], w.shape[2:], strides=strides, dilations=dilations, pads=pads, auto_pad=auto_pad
    )
    if before != after:
        x, before = _pad(x, before, after), [0] * n
    return CONVOLUTIONS[n - 1](x, w, b, strides, before, dilations, group)


@operator("ConvTranspose")
def conv_transpose(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    kernel_shape: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    group: int = 1,
) -> Tensor:
    """The full product, of which ``pads`` are cut off."""
    n = x.ndim - 2
    strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
    extra = list(output_padding or [0] * n)
    cut = list(pads or [0] * 2 * n)
    if output_shape is not None or auto_pad.startswith("SAME"):
        wanted = output_shape or [size * s for size, s in zip(x.shape[2:], strides, strict=True)]
        geometry = zip(x.shape[2:], w.shape[2:], strides, dilations, extra, wanted, strict=True)
        totals = [max((size - 1) * s + (k - 1) * d + 1 + e - out, 0) for size, k, s, d, e, out in geometry]
        small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
        cut = small + large if auto_pad == "SAME_UPPER" else large + small
    before, after = cut[:n], cut[n:]
    run = TRANSPOSED_CONVOLUTIONS[n - 1]
    if before == after:
        return run(x, w, b, strides, before, extra, group, dilations)
    return _pad(run(x, w, b, strides, 0, extra, group, dilations), [-p for p in before], [-p for p in after])


@operator("MaxPool", only={"ceil_mode": (0,)})
def max_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    storage_order: int = 0,
) -> Tensor:
    """``storage_order`` concerns the second output, which is not given."""
    n = x.ndim - 2
    strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
    before, after = _padding(
        x.shape[2:], kernel_shape, strides=strides, dilations=dilations, pads=pads, auto_pad=auto_pad
    )
    if before != after or any(2 * p > k for p, k in zip(before, kernel_shape, strict=True)):
        x, before = _pad(x, before, after, -torch.inf), [0] * n
    return MAX_POOLS[n - 1](x, list(kernel_shape), strides, before, dilations)


@operator("AveragePool", only={"ceil_mode": (0,), "dilations": ONES})
def average_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
) -> Tensor:
    n = x.ndim - 2
    kernel, strides = list(kernel_shape), list(strides or [1] * n)
    before, after = _padding(x.shape[2:], kernel, strides=strides, dilations=[1] * n, pads=pads, auto_pad=auto_pad)
    pool = AVERAGE_POOLS[n - 1]
    if before == after and all(2 * p <= k for p, k in zip(before, kernel, strict=True)):
        return pool(x, kernel, strides, before, False, bool(count_include_pad))
    mean = pool(_pad(x, before, after), kernel, strides)
    if count_include_pad:
        return mean
    share = pool(_pad(torch.ones_like(x[:1, :1]), before, after), kernel, strides)
    return mean / share


@operator("GlobalAveragePool")
def global_average_pool(x: Tensor) -> Tensor:
    return x.mean(list(range(2, x.ndim)), keepdim=True)


@operator("GlobalMaxPool")
def global_max_pool(x: Tensor) -> Tensor:
    return x.amax(list(range(2, x.ndim)), keepdim=True)


@operator("BatchNormalization", only={"training_mode": (0,)})
def batch_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Tensor:
    return F.batch_norm(x, mean, var, scale, bias, eps=epsilon)


@operator("InstanceNormalization")
def instance_normalization(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    # F.instance_norm refuses planes of one element, for which ONNX has an answer.
    cudnn = torch.backends.cudnn.enabled
    return torch.instance_norm(x, scale, bias, None, None, True, 0.0, epsilon, cudnn)


@operator("LayerNormalization", only={"stash_type": (1,)})
def layer_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    """``stash_type`` 1: statistics in float32, as PyTorch has them."""
    shape = x.shape[axis:]
    return F.layer_norm(x, shape, scale.expand(shape), None if bias is None else bias.expand(shape), epsilon)


@operator("LpNormalization", only={"p": (1, 2)})
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """Zero stays zero."""
    norm: Tensor = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    return x / norm.clamp_min(torch.finfo(x.dtype).tiny)


@operator("Gemm")
def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    a, b = a.T if transA else a, b.T if transB else b
    return alpha * (a @ b) if c is None else torch.addmm(c, a, b, beta=beta, alpha=alpha)


@operator("MatMul")
def matmul(a: Tensor, b: Tensor) -> Tensor:
    return a @ b


@operator("Einsum")
def einsum(*xs: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation, *xs)


@operator("GridSample", only={"mode": ("bilinear", "linear", "nearest", "bicubic", "cubic")})
def grid_sample(
    x: Tensor, grid: Tensor, *, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: int = 0
) -> Tensor:
    """Opset 20 renamed the modes; both names mean the same."""
    names = {"linear": "bilinear", "cubic": "bicubic"}
    return F.grid_sample(x, grid, names.get(mode, mode), padding_mode, bool(align_corners))
