"""The Resize operator: PyTorch's own kernels where they compute the same, else one axis at a time."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.backends.torch.ops.table import ints, operator

COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")

NEAREST: Mapping[str, Callable[[Tensor], Tensor]] = {
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round_prefer_floor": lambda x: torch.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: torch.floor(x + 0.5),
}


@dataclass(frozen=True)
class Axis:
    """One axis that changes: its position, length before and after, and how many outputs there are per input."""

    dim: int
    before: int
    after: int
    scale: float


@operator(
    "Resize",
    host=(1, 2, 3),
    only={
        "antialias": (0,),
        "coordinate_transformation_mode": COORDINATES,
        "exclude_outside": (0,),
        "keep_aspect_ratio_policy": ("stretch",),
        "mode": ("nearest", "linear"),
        "nearest_mode": tuple(NEAREST),
    },
)
def resize(
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Tensor:
    """``roi``, ``cubic_coeff_a`` and ``extrapolation_value`` belong to modes that are refused."""
    dims = list(range(x.ndim)) if axes is None else [a % x.ndim for a in axes]
    changed = [axis for axis in _axes(x, dims, scales, sizes) if axis.before != axis.after or axis.scale != 1]
    coordinates = coordinate_transformation_mode
    spatial = 3 <= x.ndim <= 5 and all(axis.dim >= 2 for axis in changed)
    if mode == "linear":
        if changed and spatial and _torch_is_linear(changed, coordinates):
            return _torch_linear(x, changed, align_corners=coordinates == "align_corners")
        for axis in changed:
            x = _linear(x, axis, _source(axis, coordinates, x.device))
        return x
    if changed and spatial and _repeats(changed, coordinates, nearest_mode):
        return F.interpolate(x, _spatial_size(x, changed), mode="nearest")
    for axis in changed:
        source = NEAREST[nearest_mode](_source(axis, coordinates, x.device))
        x = x.index_select(axis.dim, source.clamp(0, axis.before - 1).long())
    return x


def _axes(x: Tensor, dims: list[int], scales: Tensor | None, sizes: Tensor | None) -> list[Axis]:
    if sizes is not None and sizes.numel():
        return [Axis(d, x.shape[d], n, n / x.shape[d]) for d, n in zip(dims, ints(sizes), strict=True)]
    if scales is None or not scales.numel():
        raise ValueError("neither scales nor sizes are given")
    return [Axis(d, x.shape[d], _scaled(x.shape[d], s), s) for d, s in zip(dims, scales.tolist(), strict=True)]


def _scaled(length: int, scale: float) -> int:
    """A length times a scale in float32, as shape inference has it; one that is kept may be symbolic."""
    return length if scale == 1 else math.floor(float(torch.tensor(length, dtype=torch.float32) * scale))


def _source(axis: Axis, coordinates: str, device: torch.device) -> Tensor:
    """Where in the source each output of an axis lies, float32 [after]."""
    out = torch.arange(axis.after, device=device, dtype=torch.float32)
    if coordinates == "align_corners":
        return out * (axis.before - 1) / max(axis.after - 1, 1)
    if coordinates == "asymmetric":
        return out / axis.scale
    if coordinates == "pytorch_half_pixel" and axis.after == 1:
        return torch.zeros_like(out)
    return (out + 0.5) / axis.scale - 0.5


def _linear(x: Tensor, axis: Axis, source: Tensor) -> Tensor:
    source = source.clamp(0, axis.before - 1)
    low = source.long()
    weight = (source - low).to(x.dtype).reshape([-1] + [1] * (x.ndim - 1 - axis.dim))
    high = torch.clamp(low + 1, max=axis.before - 1)
    return torch.lerp(x.index_select(axis.dim, low), x.index_select(axis.dim, high), weight)


def _torch_is_linear(changed: list[Axis], coordinates: str) -> bool:
    if coordinates == "pytorch_half_pixel":
        return all(axis.after > 1 for axis in changed)
    return coordinates != "asymmetric"


def _torch_linear(x: Tensor, changed: list[Axis], *, align_corners: bool) -> Tensor:
    """PyTorch's kernels below F.interpolate, which takes a size or a scale but not both, as ONNX needs."""
    kernels = (
        torch.ops.aten.upsample_linear1d,
        torch.ops.aten.upsample_bilinear2d,
        torch.ops.aten.upsample_trilinear3d,
    )
    scales = {axis.dim: axis.scale for axis in changed}
    factors = [scales.get(dim, 1.0) for dim in range(2, x.ndim)]
    resized: Tensor = kernels[x.ndim - 3](x, _spatial_size(x, changed), align_corners, *factors)
    return resized


def _repeats(changed: list[Axis], coordinates: str, nearest_mode: str) -> bool:
    """True where every element is repeated a whole number of times."""
    by_position = coordinates == "asymmetric" and nearest_mode == "floor"
    by_centre = coordinates in ("half_pixel", "pytorch_half_pixel") and nearest_mode.startswith("round")
    return (by_position or by_centre) and all(
        axis.after == axis.before * axis.scale and axis.scale % 1 == 0 for axis in changed
    )


def _spatial_size(x: Tensor, changed: list[Axis]) -> list[int]:
    after = {axis.dim: axis.after for axis in changed}
    return [after.get(dim, x.shape[dim]) for dim in range(2, x.ndim)]
