"""Lips, the opening between them, teeth and tongue."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .parameters import Values
from .primitives import Points, carve, ellipsoid, join, length, overlap


class MouthLine(NamedTuple):
    """The mouth's outline over x, centimetres, [B, K].

    Attributes:
        inside: 1 in the middle, 0 at the corners, below 0 beyond.
        line: lower edge of the upper lip.
        gap: opening below the line.
        front: how far forward the lips' middle line is, z.
        upper, lower: half the lips' heights.
    """

    inside: Tensor
    line: Tensor
    gap: Tensor
    front: Tensor
    upper: Tensor
    lower: Tensor


@dataclass(frozen=True)
class Mouth:
    """Mouths of B heads."""

    who: Values
    does: Values

    def middle(self) -> tuple[Tensor, Tensor]:
        """Height and depth (y, z) of the closed mouth's middle."""
        w = self.who
        y = -6.04 - 0.75 * w["face_length"] + w["mouth_height"] + 0.03 * self.does["smile"].clamp(min=0)
        return y, 8.57 + w["lip_forward"] + 0.35 * self.does["pucker"].clamp(min=0)

    def half_width(self) -> Tensor:
        d = self.does
        return self.who["mouth_width"] * (1 + 0.17 * d["smile"].clamp(min=0) - 0.14 * d["pucker"] - 0.1 * d["jaw_open"])

    def gap(self) -> Tensor:
        """Opening in the middle."""
        d = self.does
        return 2.1 * d["jaw_open"] + 0.35 * d["lips_part"] * (1 - 0.5 * d["jaw_open"])

    def corner(self, side: float) -> tuple[Tensor, Tensor, Tensor]:
        """Corner on the person's left (1) or right (-1), (x, y, z)."""
        x = side * self.half_width()
        o = self.outline(x)
        return x, o.line, o.front + 0.12

    def outline(self, x: Tensor) -> MouthLine:
        """The outline at positions across, x [B, K]."""
        w, d = self.who, self.does
        y, z = self.middle()
        u2 = (x / self.half_width()) ** 2
        inside = 1 - u2
        round_ = inside.clamp(min=0)
        corner = 0.26 * d["smile"] + d["smile_side"] * torch.sign(x) - 0.34 * self.gap()
        line = y + corner * u2.clamp(max=1.3) + w["cupid_bow"] * 0.4 * (u2 * (1 - u2) * 2 - 0.2)
        gap = self.gap() * torch.sqrt(round_ + 1e-6) * (0.4 + 0.6 * round_) - 0.004
        thin = 1 - 0.22 * d["smile"].clamp(min=0)
        bow = (
            1
            - w["cupid_bow"] * 1.6 * torch.exp(-((x / 0.28) ** 2))
            + w["cupid_bow"] * torch.exp(-(((x.abs() - 0.55) / 0.4) ** 2))
        )
        upper = w["lip_upper"] * thin * round_**0.8 * bow
        lower = w["lip_lower"] * thin * round_**0.9
        return MouthLine(inside, line, gap, z - 0.16 * x * x, upper, lower)

    def cavity(self, p: Points, o: MouthLine) -> Tensor:
        """Distance to the room between the lips, as far back as the throat; the lower lip is ``gap`` down."""
        between = torch.maximum(p.y - o.line, o.line - o.gap - p.y) * 0.8
        return torch.maximum(torch.maximum(between, 3.5 - p.z), -o.inside)

    def join_to(self, head: Tensor, p: Points) -> Tensor:
        """The head's distance with the lips, and the mouth cut open."""
        y, z = self.middle()
        o = self.outline(p.x)
        below = p.y - y
        # The tissue around the teeth stretches with the jaw.
        stretched = torch.where(below < 0, below * (3.0 / (3.0 + self.gap())), below)
        head = join(head, ellipsoid(Points(p.x, stretched, p.z), (0.0, 0.0, z - 4.3), (3.4, 3.0, 4.05)), 1.2)
        rise = p.y - o.line
        fall = o.line - o.gap - p.y
        back = p.z - o.front - self.retreat(o)
        upper = 0.8 * (
            length((rise - o.upper) * 0.9, p.z - o.front - 0.1)
            - o.upper * 0.95
            - 0.08 * (o.inside - 0.4).clamp(-2, 0.2)
        )
        lower = 0.8 * (
            length((fall - o.lower) * 0.9, back - 0.05) - o.lower * 0.95 - 0.08 * (o.inside - 0.4).clamp(-2, 0.2)
        )
        beyond = (-o.inside).clamp(min=0)
        head = join(join(head, upper + beyond, 0.35), lower + beyond, 0.35)
        crease = ellipsoid(p, (0.0, y - self.gap() - 2 * self.who["lip_lower"] - 0.45, z + 0.55), (1.5, 0.3, 0.6))
        head = carve(head, crease, 0.6)
        # A closed mouth keeps a fine groove between the lips.
        groove = length(torch.maximum(rise.abs() - 0.01, fall.abs() - 0.01).clamp(min=0), p.z - o.front - 0.5) - 0.1
        head = carve(head, torch.maximum(groove, -o.inside), 0.2)
        return carve(head, self.cavity(p, o), 0.12)

    def retreat(self, o: MouthLine) -> Tensor:
        """How far the dropped jaw takes the lower lip back."""
        return -0.32 * o.gap.clamp(min=0)

    def teeth(self, p: Points) -> Tensor:
        """Upper and lower row, as bands along the dental arch."""
        arch, height, drop = self.arch(p)
        band = arch.abs() - 0.28
        upper = overlap(band, (height + 0.2).abs() - 0.62, 0.25)
        lower = overlap(self._band_behind(p), (height + drop + 0.35).abs() - 0.45, 0.2)
        return torch.minimum(upper, lower)

    def arch(self, p: Points) -> tuple[Tensor, Tensor, Tensor]:
        """Distance from the upper dental arch in x and z, height above the mouth's line, the lower row's drop."""
        y, z = self.middle()
        ax, az = p.x / 2.75, (p.z - z + 3.3) / 2.85
        radius = length(ax, az)
        arch = (radius - 1) * 2.75
        smile = self.does["smile"].clamp(min=0)
        height = p.y - y - 0.28 + 0.2 * smile - 0.42 * (0.55 * smile) * (p.x / self.half_width()) ** 2
        return arch, height, (self.gap() * 0.95).clamp(min=0.3)

    def _band_behind(self, p: Points) -> Tensor:
        _, z = self.middle()
        ax, az = p.x / 2.5, (p.z - z + 3.5 + 0.3 * self.gap()) / 2.7
        return ((length(ax, az) - 1) * 2.5).abs() - 0.25

    def tongue(self, p: Points) -> Tensor:
        y, z = self.middle()
        out = self.does["tongue"] * self.does["jaw_open"]
        centre = (0.0, y - self.gap() - 0.25 + 0.35 * out, z - 3.6 - 0.3 * self.gap() + 0.6 * out)
        return ellipsoid(p, centre, (1.95, 0.55, 2.6))
