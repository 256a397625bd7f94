"""Signed distances of simple solids and smooth ways to join them. All values are [B, K] for K points of B images.

Formulas of the ellipsoid bound and of the polynomial smooth minimum: Quilez, "distance functions" and
"smooth minimum" (2013).
"""

from typing import NamedTuple

import torch
from torch import Tensor

Scalar = Tensor | float  # [B, 1], or the same for all


class Points(NamedTuple):
    """Coordinates in centimetres, float32 [B, K] each."""

    x: Tensor
    y: Tensor
    z: Tensor

    def minus(self, x: Scalar, y: Scalar, z: Scalar) -> "Points":
        return Points(self.x - x, self.y - y, self.z - z)

    def mirrored(self) -> "Points":
        """Both halves of the head folded onto the person's left, x >= 0."""
        return Points(self.x.abs(), self.y, self.z)

    def stacked(self) -> Tensor:
        """[B, K, 3]."""
        return torch.stack(self, -1)


def points_of(stacked: Tensor) -> Points:
    """From [B, K, 3]."""
    # Copies, each of its own layout: compiled functions are compiled anew for views.
    return Points(*(axis.clone(memory_format=torch.contiguous_format) for axis in stacked.unbind(-1)))


def length(x: Tensor, y: Tensor, z: Tensor | None = None) -> Tensor:
    squared = torch.addcmul(x * x, y, y)
    if z is not None:
        squared = torch.addcmul(squared, z, z)
    # Never exactly zero: callers divide by it.
    return (squared + 1e-12).sqrt()


def sphere(p: Points, x: Scalar, y: Scalar, z: Scalar, radius: Scalar) -> Tensor:
    return length(*p.minus(x, y, z)) - radius


def ellipsoid(p: Points, centre: tuple[Scalar, Scalar, Scalar], radii: tuple[Scalar, Scalar, Scalar]) -> Tensor:
    """Close to the true distance near the surface, a usable bound elsewhere."""
    q = p.minus(*centre)
    a, b, c = q.x / radii[0], q.y / radii[1], q.z / radii[2]
    inner = length(a, b, c)
    return inner * (inner - 1) / length(a / radii[0], b / radii[1], c / radii[2])


def capsule(p: Points, start: tuple[Scalar, Scalar, Scalar], end: tuple[Scalar, Scalar, Scalar],
            radius: Scalar, end_radius: Scalar | None = None) -> Tensor:  # fmt: skip
    """A rod with round ends whose radius changes linearly."""
    q = p.minus(*start)
    bx, by, bz = (e - s for e, s in zip(end, start, strict=True))
    along = ((q.x * bx + q.y * by + q.z * bz) / (bx * bx + by * by + bz * bz)).clamp(0, 1)
    thick = radius if end_radius is None else radius + along * (end_radius - radius)
    return length(q.x - along * bx, q.y - along * by, q.z - along * bz) - thick


def join(a: Tensor, b: Tensor, radius: float) -> Tensor:
    """Union with a fillet."""
    h = (radius - (a - b).abs()).clamp(min=0)
    return torch.addcmul(torch.minimum(a, b), h, h, value=-0.25 / radius)


def carve(solid: Tensor, tool: Tensor, radius: float) -> Tensor:
    """The solid without the tool, its edge rounded."""
    h = (radius - (solid + tool).abs()).clamp(min=0)
    return torch.addcmul(torch.maximum(solid, -tool), h, h, value=0.25 / radius)


def overlap(a: Tensor, b: Tensor, radius: float) -> Tensor:
    """What both share, its edge rounded."""
    return carve(a, -b, radius)


def ramp(x: Tensor, low: Scalar, high: Scalar) -> Tensor:
    """0 below ``low``, 1 above ``high``, a smooth cubic between."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def bump(x: Tensor, width: Scalar) -> Tensor:
    """1 at 0, falling as a Gaussian of the standard deviation ``width``."""
    return torch.exp(-0.5 * (x / width) ** 2)
