"""Operators that work on every element by itself: arithmetic, comparison, activation, casts."""

from collections.abc import Callable, Mapping
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.backends.torch.ops.table import DTYPES, operator

_PLAIN: Mapping[str, Callable[..., Tensor]] = {
    "Abs": torch.abs,
    "And": torch.logical_and,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "IsNaN": torch.isnan,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sqrt": torch.sqrt,
    "Tanh": torch.tanh,
    "Where": torch.where,
    "Xor": torch.logical_xor,
}
for _name, _function in _PLAIN.items():
    operator(_name)(_function)


@operator("Identity")
def identity(x: Tensor) -> Tensor:
    return x


@operator("Add")
def add(a: Tensor, b: Tensor) -> Tensor:
    return a + b


@operator("Sub")
def sub(a: Tensor, b: Tensor) -> Tensor:
    return a - b


@operator("Div")
def div(a: Tensor, b: Tensor) -> Tensor:
    """Integers are divided as in C: towards zero."""
    if a.is_floating_point():
        return a / b
    # Processors stop at the smallest integer divided by -1, whose result has no number; the negative wraps around.
    by_minus_one = b == -1 if b.is_signed() else torch.zeros_like(b, dtype=torch.bool)
    return torch.where(by_minus_one, -a, torch.div(a, b.masked_fill(by_minus_one, 1), rounding_mode="trunc"))


@operator("Pow")
def power(x: Tensor, exponent: Tensor) -> Tensor:
    return torch.pow(x, exponent).to(x.dtype)


@operator("Mod")
def mod(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


@operator("Min")
def minimum(*xs: Tensor) -> Tensor:
    return reduce(torch.minimum, xs)


@operator("Max")
def maximum(*xs: Tensor) -> Tensor:
    return reduce(torch.maximum, xs)


@operator("Sum")
def total(*xs: Tensor) -> Tensor:
    return reduce(torch.add, xs)


@operator("Mean")
def mean(*xs: Tensor) -> Tensor:
    return reduce(torch.add, xs) / len(xs)


@operator("Clip")
def clip(x: Tensor, min: Tensor | None = None, max: Tensor | None = None) -> Tensor:
    return x if min is None and max is None else torch.clamp(x, min, max)


@operator("Cast")
def cast(x: Tensor, *, to: int, saturate: int = 1) -> Tensor:
    """``saturate`` concerns 8-bit floats alone, which are no key of ``DTYPES``."""
    return x.to(DTYPES[to])


@operator("CastLike")
def cast_like(x: Tensor, like: Tensor, *, saturate: int = 1) -> Tensor:
    return x.to(like.dtype)


@operator("Dropout", host=(2,))
def dropout(x: Tensor, ratio: Tensor | None = None, training_mode: Tensor | None = None, *, seed: int = 0) -> Tensor:
    if training_mode is not None and training_mode.item():
        raise ValueError("training_mode is true; export the network for inference")
    return x


@operator("LeakyRelu")
def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return F.leaky_relu(x, alpha)


@operator("Elu")
def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.elu(x, alpha)


@operator("PRelu")
def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """One slope for all or one per channel is PyTorch's own; any other shape is broadcast."""
    per_channel = x.ndim > 1 and slope.ndim == x.ndim - 1 and slope.numel() == slope.shape[0] == x.shape[1]
    if slope.numel() == 1 or per_channel:
        return torch.prelu(x, slope.flatten())
    return torch.where(x < 0, slope * x, x)


@operator("HardSigmoid")
def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return torch.clamp(alpha * x + beta, 0, 1)


@operator("HardSwish")
def hard_swish(x: Tensor) -> Tensor:
    return F.hardswish(x)


@operator("Softplus")
def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), without PyTorch's straight line above 20."""
    return torch.logaddexp(x, torch.zeros_like(x))


@operator("Mish")
def mish(x: Tensor) -> Tensor:
    return F.mish(x)
