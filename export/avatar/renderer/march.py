"""Sphere tracing: where rays meet a signed distance field, and what light reaches that point.

Hart, "Sphere tracing" (1996): a step as long as the distance to the nearest surface never jumps through one.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .primitives import Points, points_of

Distance = Callable[[Points], Tensor]

# The field's distances are bounds only nearly: a fillet or a relief can overestimate by a little.
CAUTION, HASTE = 0.92, 1.5


class Rays(NamedTuple):
    """Attributes: origin float32 [B, 3], directions float32 [B, K, 3] of length 1."""

    origin: Tensor
    directions: Tensor

    def at(self, t: Tensor) -> Points:
        """The points t [B, K] centimetres along the rays."""
        return points_of(self.origin[:, None] + self.directions * t[..., None])

    def take(self, index: Tensor) -> "Rays":
        return Rays(self.origin, take(self.directions, index))


def packed(mask: Tensor) -> Tensor:
    """Indices of the set elements of each row of mask, bool [B, K], first: int64 [B, largest count].

    Rows with fewer set elements are filled up with unset ones, whose results the caller ignores.
    """
    if len(mask) == 1:
        return mask[0].nonzero()[:, 0][None]
    count = int(mask.sum(1).max())
    return mask.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices[:, :count]


def take(values: Tensor, index: Tensor) -> Tensor:
    """Elements of values [B, K] or [B, K, C] at index [B, J]."""
    if values.dim() == 3:
        return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))
    return values.gather(1, index)


def put(values: Tensor, index: Tensor, new: Tensor, mask: Tensor) -> Tensor:
    """Values with the elements at index [B, J] replaced by new where mask [B, J] is set."""
    if values.dim() == 3:
        index, mask = (v[..., None].expand_as(new) for v in (index, mask))
    return values.scatter(1, index, torch.where(mask, new, values.gather(1, index)))


def march(
    distance: Distance, rays: Rays, start: Tensor, alive: Tensor, *, cone: Tensor, far: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Walk along rays until a surface comes nearer than the rays' own thickness.

    Args:
        start: where the rays begin, centimetres [B, K].
        alive: bool [B, K]; others stay where they are and count as missed.
        cone: thickness of a ray per centimetre, [B, 1].
        far: where a ray has missed, [B, 1].

    Returns:
        Distance along the ray [B, K], and bool [B, K]: whether it met a surface.
    """
    t, met, gap = start, torch.zeros_like(alive), torch.full_like(start, 1e9)
    for step in range(steps):
        index = packed(alive)
        if index.shape[1] == 0:
            break
        here, walking = take(t, index), take(alive, index)
        d = distance(rays.take(index).at(here))
        # Rays along a surface come near it slowly: what counts as near grows with their patience.
        close = d.abs() < cone * here * (1 + step / 6)
        # A ray that leaves a surface behind may hurry; where that took it into the next one, it goes back.
        pace = torch.where(d > take(gap, index).abs(), HASTE, CAUTION)
        here = torch.where(close, here, here + pace * d)
        t, gap = put(t, index, here, walking), put(gap, index, d, walking)
        met = put(met, index, close, walking)
        alive = put(alive, index, ~close & (here < far), walking)
    # Rays that graze a surface run out of steps beside it.
    return t, met | (alive & (gap < 6 * cone * t))


def normals(distance: Distance, p: Points, here: Tensor, step: float = 0.03) -> Tensor:
    """Directions out of the surface by forward differences: [B, K, 3]."""
    moved = [distance(Points(*(c + step * (i == axis) for i, c in enumerate(p)))) - here for axis in range(3)]
    return torch.nn.functional.normalize(torch.stack(moved, -1), dim=-1)


def openness(distance: Distance, p: Points, normal: Tensor) -> Tensor:
    """Share of the surroundings' light that reaches the points, 0..1 [B, K]: ambient occlusion from how much
    nearer other surfaces are than the point itself, at three distances (Evans 2006)."""
    blocked = torch.zeros_like(p.x)
    for reach, weight in ((0.35, 0.4), (1.1, 0.55), (3.0, 0.5)):
        d = distance(points_of(p.stacked() + normal * reach))
        blocked = blocked + weight * (1 - d / reach).clamp(0, 1.2)
    return torch.exp(-1.5 * blocked)


def sunlight(
    distance: Distance, p: Points, normal: Tensor, light: Tensor, softness: Tensor, *, steps: int = 14
) -> Tensor:
    """Share of the key light that reaches the points, 0..1 [B, K], with penumbras (Quilez 2010; the nearest
    approach between two steps after Aaltonen, GDC 2018, without which few steps show as bands).

    Args:
        light: unit direction to the light, [B, 3].
        softness: tangent of the light's half angle, [B, 1].
    """
    rays = Rays(light, light[:, None].expand(-1, p.x.shape[1], -1))
    base = p.stacked() + normal * 0.12
    t = torch.full_like(p.x, 0.25)
    lit = torch.ones_like(p.x)
    last = torch.full_like(t, 1e9)
    for _ in range(steps):
        d = distance(points_of(base + rays.directions * t[..., None]))
        back = torch.where(d > 0, d * d / (2 * last), 0.0).minimum(0.9 * d.abs())
        near = torch.where(d > 0, (d * d - back * back).clamp(min=0).sqrt(), d)
        lit = torch.minimum(lit, 0.5 + 0.5 * near / (softness * (t - back).clamp(min=0.1)))
        t, last = t + torch.maximum(0.9 * d, 0.2 + 0.16 * t).clamp(max=1.8), d.abs().clamp(min=0.1)
    lit = lit.clamp(0, 1)
    return lit * lit * (3 - 2 * lit)
