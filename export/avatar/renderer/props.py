"""What people wear and hold: glasses, hats, jewellery, a hand or a microphone before the face."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .eyes import BALL
from .parameters import Parameter, Values, sample
from .primitives import Points, capsule, ellipsoid, join, length, overlap, sphere

TABLE = (
    Parameter("glasses", 0, 1),
    Parameter("glasses_width", 2.3, 2.9),
    Parameter("glasses_height", 1.5, 2.2),
    Parameter("glasses_round", 0.3, 1.0),
    Parameter("glasses_rim", 0.09, 0.2),
    Parameter("glasses_hue", 0, 1),
    Parameter("glasses_tint", -3, 0.9),
    Parameter("hat", 0, 1),
    Parameter("hat_height", -0.6, 0.8),
    Parameter("hat_hue", 0, 1),
    Parameter("hat_lightness", 0.1, 0.8),
    Parameter("occluder", 0, 1),
    Parameter("hand_x", 2.0, 6.0),
    Parameter("hand_y", -11.0, -7.5),
    Parameter("hand_angle", -0.8, 0.2),
    Parameter("hand_side", -1, 1),
    Parameter("microphone_x", -2.5, 2.5),
    Parameter("microphone_y", -11.5, -9.0),
    Parameter("earrings", 0, 1),
    Parameter("earring_size", 0.28, 0.55),
    Parameter("necklace", 0, 1),
    Parameter("necklace_drop", 0.0, 2.0),
    Parameter("metal_hue", 0.05, 0.2),
    Parameter("metal_warmth", 0.0, 0.6),
)

KINDS = ("glasses", "beanie", "cap", "hand", "microphone", "earrings", "necklace")

# Shares of the avatars that wear or hold each.
GLASSES, BEANIE, CAP, HAND, MICROPHONE = 0.16, 0.05, 0.1, 0.05, 0.11
EARRINGS, NECKLACE = 0.15, 0.15


def sample_props(seeds: Sequence[int]) -> Values:
    """Each prop is absent from most avatars; the kinds are told apart by where a uniform number falls."""
    v = sample(TABLE, seeds, "props")
    hat, occluder = v["hat"], v["occluder"]
    return v | {
        "glasses": (v["glasses"] < GLASSES).float(),
        "beanie": (hat < BEANIE).float(),
        "cap": ((hat >= BEANIE) & (hat < CAP)).float(),
        "hand": (occluder < HAND).float(),
        "microphone": ((occluder >= HAND) & (occluder < MICROPHONE)).float(),
        "earrings": (v["earrings"] < EARRINGS).float(),
        "necklace": (v["necklace"] < NECKLACE).float(),
    }


def without_props(props: Values) -> Values:
    """The same, with a bare face."""
    return props | {kind: torch.zeros_like(props[kind]) for kind in KINDS}


def kinds_in(wears: Values) -> frozenset[str]:
    """The kinds of props that one image or more has."""
    return frozenset(kind for kind in KINDS if bool((wears[kind] > 0).any()))


def hidden_unless(worn: Tensor, distance: Tensor) -> Tensor:
    """The distance where ``worn`` is set, [B, 1], and far away elsewhere."""
    return torch.where(worn > 0, distance, 1e3)


@dataclass(frozen=True)
class Props:
    """Props of B images; those that no image has cost nothing.

    Attributes:
        who: identity, for where glasses sit.
        wears: values of ``TABLE``.
        present: kinds that may be there; the others are not computed.
    """

    who: Values
    wears: Values
    present: frozenset[str]

    def any(self, *kinds: str) -> bool:
        """Whether one image or more may have one of the kinds."""
        return not self.present.isdisjoint(kinds)

    def hat_rim(self, p: Points) -> Tensor:
        """Centimetres above the rim of a hat, [B, K]; far below it on bare heads."""
        worn = self.wears["beanie"] + self.wears["cap"]
        above = p.y - 4.9 - self.wears["hat_height"] - 0.3 * (p.z - 8.5)
        return torch.where(worn > 0, 0.95 * above, -1e3)

    def hat(self, p: Points, cranium: Tensor) -> Tensor:
        above = self.hat_rim(p).clamp(min=-50)
        ribs = 0.05 * torch.sin(6.0 * torch.atan2(p.x, p.z) * 4) * self.wears["beanie"]
        cuff = 0.3 * self.wears["beanie"] * ((2.3 - above) * 4).clamp(0, 1)
        dome = overlap(0.9 * (cranium - 1.05 - cuff - ribs), -above, 0.3)
        y = 5.1 + self.wears["hat_height"] - 0.045 * p.x * p.x
        brim = 0.6 * ellipsoid(Points(p.x, p.y - y, p.z), (0.0, 0.3, 9.5), (6.6, 0.35, 6.5))
        brim = torch.where(self.wears["cap"] > 0, brim, 1e3)
        return hidden_unless(self.wears["beanie"] + self.wears["cap"], torch.minimum(dome, brim))

    def glasses_plane(self, x: Tensor) -> Tensor:
        """Depth z of the lenses over x."""
        return 6.95 - self.who["eye_depth"] + BALL + 1.25 - 0.035 * x * x

    def lens(self, x: Tensor, y: Tensor) -> Tensor:
        """Flat distance to the outline of the nearer lens, below 0 inside."""
        w = self.wears
        half_x, half_y = w["glasses_width"], w["glasses_height"]
        corner = w["glasses_round"] * half_y * 0.95
        centre = w["glasses_width"] + 0.75
        a = (x.abs() - centre).abs() - half_x + corner
        b = (y - self.who["eye_height"] + 0.35).abs() - half_y + corner
        return length(a.clamp(min=0), b.clamp(min=0)) + torch.maximum(a, b).clamp(max=0) - corner

    def glasses(self, p: Points) -> Tensor:
        w, m = self.wears, p.mirrored()
        thick = w["glasses_rim"]
        plane = self.glasses_plane(p.x)
        rim = length(self.lens(p.x, p.y), p.z - plane) - thick
        top = self.who["eye_height"] + 0.2
        bridge = capsule(m, (0.0, top + 0.15, plane), (0.8, top, plane), thick)
        hinge = 2 * w["glasses_width"] + 0.8
        temple = capsule(m, (hinge, top, self.glasses_plane(hinge)), (7.7, 0.2, -1.0), thick)
        return hidden_unless(w["glasses"], torch.minimum(torch.minimum(rim, bridge), temple))

    def hand(self, p: Points) -> Tensor:
        """Four fingers, a thumb and the back of a hand with a forearm that leaves the picture below."""
        w = self.wears
        side = torch.where(w["hand_side"] > 0, 1.0, -1.0)
        c, s = w["hand_angle"].cos(), w["hand_angle"].sin()
        x, y = p.x * side - w["hand_x"], p.y - w["hand_y"]
        q = Points(x * c + y * s, y * c - x * s, p.z - 12.6)
        palm = ellipsoid(q, (0.0, -4.2, 0.2), (4.0, 4.6, 1.4))
        for i, (reach, lean) in enumerate(((2.9, -0.35), (4.0, -0.1), (3.6, 0.12), (2.4, 0.4))):
            base = -2.7 + 1.8 * i
            finger = capsule(q, (base, -1.2, 0.2), (base + lean, reach, -0.7), 0.88, 0.66)
            palm = join(palm, finger, 0.35)
        thumb = capsule(q, (-3.2, -5.0, 0.1), (-5.2, -1.0, -0.3), 1.05, 0.75)
        arm = capsule(q, (0.0, -8.0, 0.0), (0.5, -30.0, -1.0), 2.7, 3.8)
        return hidden_unless(w["hand"], join(join(palm, thumb, 0.8), arm, 1.5))

    def microphone(self, p: Points) -> Tensor:
        w = self.wears
        x, y = w["microphone_x"], w["microphone_y"]
        head = ellipsoid(p, (x, y, 13.0), (2.1, 2.3, 2.1))
        handle = capsule(p, (x, y - 1.5, 13.3), (x * 2.0, y - 18.0, 17.0), 1.2, 0.95)
        return hidden_unless(w["microphone"], torch.minimum(head, handle))

    def earrings(self, p: Points) -> Tensor:
        """A bead below each ear's lobe."""
        who, m = self.who, p.mirrored()
        y = -2.1 - 2.75 * who["ear_size"] - self.wears["earring_size"]
        z = -0.3 + 0.5 * who["ear_size"]
        x = 7.0 - 0.45 * (z + 0.6) * (0.6 + who["ear_out"])
        return hidden_unless(self.wears["earrings"], sphere(m, x, y, z, self.wears["earring_size"]))

    def necklace(self, skin: Tensor, body: Points) -> Tensor:
        """A string of beads around the neck.

        Args:
            skin: distance to the bare neck.
            body: the points in the trunk's frame.
        """
        line = -15.2 - self.wears["necklace_drop"] - 0.45 * (body.z + 3.0)
        around = torch.atan2(body.x, body.z + 3.5)
        bead = 0.17 + 0.07 * torch.cos(around * 30)
        return hidden_unless(self.wears["necklace"], 0.8 * (length(skin - 0.05, 0.85 * (body.y - line)) - bead))
