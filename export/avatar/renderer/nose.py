"""The nose: bridge, tip, wings and nostrils."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .parameters import Values
from .primitives import Points, capsule, carve, ellipsoid, join, sphere


@dataclass(frozen=True)
class Nose:
    """Noses of B heads, fixed to the skull but for the wings, which a smile widens."""

    who: Values
    does: Values

    def tip(self) -> tuple[Tensor, Tensor, Tensor]:
        """Centre of the tip's ball, (x, y, z)."""
        w = self.who
        y = -3.23 - w["nose_length"] - 0.4 * w["face_length"] + 0.9 * w["nose_tip_turn"]
        return torch.zeros_like(y), y, 10.33 + w["nose_projection"]

    def landmark(self) -> tuple[Tensor, Tensor, Tensor]:
        """The middle of the tip as it is seen from any side: the ball's centre."""
        return self.tip()

    def join_to(self, head: Tensor, p: Points) -> Tensor:
        """The head's distance [B, K] with the nose."""
        w, m = self.who, p.mirrored()
        _, ty, tz = self.tip()
        root = (0.0, 0.5 + w["eye_height"], 8.15 + w["bridge_height"])
        middle = (0.0, 0.45 * ty, 8.15 + 0.55 * (tz - 8.15) + w["nose_bump"])
        bridge = join(
            capsule(p, root, middle, w["bridge_width"], w["bridge_width"] * 1.1),
            capsule(p, middle, (0.0, ty, tz), w["bridge_width"] * 1.1, w["nose_tip_size"] * 0.92),
            0.5,
        )
        head = join(head, join(bridge, sphere(p, 0.0, ty, tz, w["nose_tip_size"]), 0.6), 1.5)
        wide = w["nose_width"] + 0.12 * self.does["smile"].clamp(min=0)
        wing = ellipsoid(m, (wide - 0.12, ty - 0.35, tz - 1.3), (0.55 * w["nostril_size"], 0.62, 1.0))
        septum = capsule(p, (0.0, ty - 0.45, tz - 0.1), (0.0, ty - 0.95, tz - 1.2), 0.34)
        head = join(join(head, wing, 0.8), septum, 0.6)
        return carve(head, self.nostrils(m), 0.2)

    def nostrils(self, m: Points) -> Tensor:
        """The holes, at mirrored points."""
        w = self.who
        _, ty, tz = self.tip()
        centre = (0.5 * w["nose_width"] + 0.06, ty - 0.98 + 0.1 * w["nose_tip_turn"], tz - 0.65)
        return ellipsoid(m, centre, (0.27 * w["nostril_size"], 0.42, 0.42))
