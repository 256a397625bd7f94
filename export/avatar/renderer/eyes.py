"""Eyeballs, lids and the opening between the lids."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .parameters import Values
from .primitives import Points, carve, ellipsoid, join

BALL = 1.2
LID = 1.37


class Opening(NamedTuple):
    """Coordinates about the opening of the nearer eye, centimetres, [B, K].

    Attributes:
        across: from its middle, outwards.
        up: from the line between its corners.
        upper, lower: height of the lids' edges there, along ``up``.
        outside: above 0 off the opening, below 0 in it; close to a distance.
    """

    across: Tensor
    up: Tensor
    upper: Tensor
    lower: Tensor
    outside: Tensor


@dataclass(frozen=True)
class Eyes:
    """Eyes of B heads."""

    who: Values
    does: Values

    def centre(self) -> tuple[Tensor, Tensor, Tensor]:
        """Centre of the left eyeball, (x, y, z); the right one is its mirror image."""
        w = self.who
        return w["eye_distance"], w["eye_height"], 6.95 - w["eye_depth"]

    def landmarks(self) -> tuple[Tensor, Tensor, Tensor]:
        """Middle of the left eye's opening on the eyeball's front, (x, y, z)."""
        x, y, z = self.centre()
        return x - 0.06, y + 0.1, z + BALL

    def opening(self, p: Points) -> Opening:
        """Of the eye on the same side as the point."""
        w, d = self.who, self.does
        ex, ey, _ = self.centre()
        across = p.x.abs() - ex
        up = p.y - ey - w["eye_tilt"] * across
        relative = across / w["eye_width"]
        # The upper lid is highest a little towards the nose, the lower one lowest a little outwards.
        high = 1 - (relative + 0.1 * (1 - relative**2)) ** 2
        low = 1 - (relative - 0.12 * (1 - relative**2)) ** 2
        shut = torch.where(p.x > 0, d["lid_left"], d["lid_right"])
        lift = 0.2 * d["gaze_pitch"] + 0.08 * d["brow_raise"]
        raised = 0.38 * d["squint"] * d["smile"].clamp(min=0)
        lower = -(0.43 - 0.3 * raised) * w["eye_opening"] * low
        upper = torch.lerp((0.6 + lift) * w["eye_opening"] * high, lower + 0.1 * high - 0.02, shut)
        return Opening(across, up, upper, lower, 0.8 * torch.maximum(up - upper, lower - up))

    def ball(self, p: Points) -> Tensor:
        """Eyeballs, wider than in nature, which fills the corners; the corneas' bulge is flatter than a pixel."""
        return ellipsoid(p.mirrored(), self.centre(), (1.25 * BALL, BALL, BALL))

    def join_to(self, head: Tensor, p: Points) -> Tensor:
        """The head's distance with sockets, lids, and the openings cut through to the eyeballs."""
        m = p.mirrored()
        ex, ey, ez = self.centre()
        socket = ellipsoid(m, (ex - 0.15, ey + 0.1, ez + 3.0), (1.65, 1.05, 1.75))
        head = carve(head, socket, 1.1)
        lids = ellipsoid(m, (ex, ey, ez), (1.2 * LID, LID, LID))
        head = join(head, lids, 0.7)
        o = self.opening(p)
        # The hollow above the upper lid, deeper with a marked fold.
        fold = ellipsoid(m, (ex, ey + 0.98, ez + 1.45), (1.25, 0.1, 0.22))
        head = carve(head, fold + 0.1 * (1 - self.who["lid_fold"]), 0.3)
        slot = torch.maximum(o.outside, (ez + 0.2) - m.z)
        return carve(head, slot, 0.08)

    def gaze(self, p: Points) -> tuple[Tensor, Tensor]:
        """Angle-like distance from the pupil's middle, in centimetres on the eyeball, and the angle around it."""
        ex, ey, ez = self.centre()
        side = torch.where(p.x > 0, 1.0, -1.0)
        x, y, z = p.x - side * ex, p.y - ey, p.z - ez
        yaw, pitch = self.does["gaze_yaw"], self.does["gaze_pitch"]
        x, z = x * yaw.cos() - z * yaw.sin(), z * yaw.cos() + x * yaw.sin()
        y, z = y * pitch.cos() - z * pitch.sin(), z * pitch.cos() + y * pitch.sin()
        off = (torch.addcmul(x * x, y, y) + 1e-9).sqrt()
        return BALL * torch.atan2(off, z), torch.atan2(y, x)
