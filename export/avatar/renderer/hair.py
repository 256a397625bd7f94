"""Hair on the head: where it grows, how thick it lies, and which way its strands run."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .parameters import Values
from .primitives import Points, bump, capsule, ellipsoid, join, overlap, ramp

CROWN_BACK = -2.5  # z of the whorl that strands leave in all directions


@dataclass(frozen=True)
class Hair:
    """Hair of B heads. Colour and style belong to the identity."""

    who: Values

    def exists(self) -> Tensor:
        """bool [B, 1]; the others are bald."""
        return self.who["hair_bald"] < 0.8

    def long(self) -> Tensor:
        """Length below the ears, 0..1, [B, 1]."""
        return self.who["hair_length"].clamp(0, 1)

    def above_line(self, p: Points) -> Tensor:
        """Centimetres above the hairline, below 0 on the bare face, [B, K]."""
        w = self.who
        slope = torch.where(p.z > 1.5, 1.0, 0.8)
        line = 5.9 + 0.7 * w["hair_line"] - 6.7 + (p.z - 1.5) * slope
        front = ramp(p.z, 4.5, 7.5)
        line = line - 3.1 * w["hair_fringe"].clamp(min=0) * ramp(p.z, 3.0, 5.0)
        bare = w["hair_fringe"].clamp(max=0).abs().clamp(max=1)
        temple = 1.6 * w["hair_temples"] * torch.exp(-(((p.x.abs() - 4.0) / 1.6) ** 2)) * front * bare
        # Wisps of several widths end the hair in no straight line.
        wisp = torch.sin(p.x * 4.1 + 2 * torch.sin(p.x * 1.9)) + 0.7 * torch.sin(
            p.x * 11.3 + 1.5 * torch.sin(p.x * 4.7)
        )
        ragged = 0.2 * wisp * front + 0.2 * torch.sin(p.z * 5.3 + torch.sin(p.z * 2.1)) * (1 - front)
        return 0.75 * (p.y - line - temple - ragged)

    def distance(self, p: Points, cranium: Tensor, room: Tensor | None) -> Tensor:
        """[B, K].

        Args:
            cranium: distance to the bare cranium.
            room: height above a hat's rim, where hair is pressed flat; None without a hat.
        """
        w = self.who
        above = self.above_line(p)
        volume = w["hair_volume"]
        sweep = ramp(above, -0.1, 1.2 + volume)
        # A fringe ends thick, hair combed back starts thin.
        start = 0.06 + (0.12 + 0.3 * volume) * ramp(w["hair_fringe"], -0.1, 0.3)
        part = 0.45 * bump(p.x - w["hair_part"], 0.35) * ramp(p.y, 6.0, 8.5) * ramp(p.z, 0.0, 2.0)
        thick = (start + volume * 0.8 * sweep) * (1 - part) * ramp(above, -0.35, 0.45) - 0.5 * ramp(-above, 0.0, 1.0)
        thick = thick * (0.8 + 0.35 * ramp(p.y, 2.0, 9.0))
        if room is not None:
            thick = torch.where(room > -0.8, thick.clamp(max=0.5), thick)
        solid = 0.8 * (cranium - thick)
        solid = join(solid, self._falling(p), 2.5)
        solid = solid - self.locks(p) * ramp(above, -0.2, 1.5)
        return torch.where(self.exists(), solid, 1e3)

    def locks(self, p: Points) -> Tensor:
        """Relief of locks and curls, centimetres."""
        w = self.who
        across = self.across(p)
        relief = 0.07 * torch.sin(across * 3.1 + 1.7 * torch.sin(p.y * 0.5 + across * 0.7))
        curl = torch.sin(p.x * 2.6 + torch.sin(p.y * 1.9)) * torch.sin(p.y * 2.3 + 1.3) * torch.sin(p.z * 2.5)
        return (
            relief * (0.5 + 0.5 * w["hair_volume"])
            + 0.28 * (w["hair_curl"] - 0.45).clamp(min=0) * w["hair_volume"].clamp(max=1.4) * curl
        )

    def across(self, p: Points) -> Tensor:
        """Position across the strands, centimetres: the angle around the whorl."""
        x = p.x - 0.5 * self.who["hair_part"] * ramp(p.y, 4.0, 9.0)
        return 8.0 * torch.atan2(x, p.z - CROWN_BACK)

    def _falling(self, p: Points) -> Tensor:
        """Long hair beside and behind the face."""
        m = p.mirrored()
        reach = 11.0 * self.long()
        wide = 1.2 + 0.45 * self.who["hair_volume"]
        sway = Points(m.x + 0.35 * torch.sin(p.y * 0.45 + 1.0), m.y, 0.5 * m.z)
        side = capsule(sway, (6.5, 3.0, -0.6), (7.0, -9.0 - reach, -0.6), wide, 0.8 * wide)
        back = ellipsoid(p, (0.0, -1.0 - 0.55 * reach, -4.6), (7.0, 7.0 + 0.6 * reach, 4.6))
        tips = 0.7 * torch.sin(self.across(p) * 2.7 + 2 * torch.sin(self.across(p)))
        body = overlap(join(side, back, 3.0), -(p.y + 6.0 + reach + tips), 0.5)
        return torch.where(self.who["hair_length"] > 0, body, 1e3)
