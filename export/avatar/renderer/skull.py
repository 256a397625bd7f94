"""The solid head without features: cranium, face, jaw, cheeks, ears, neck."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .parameters import Values
from .primitives import Points, capsule, carve, ellipsoid, join

JAW_JOINT = (-2.0, 0.5)  # y, z of the axis that the jaw turns about
JAW_OPEN = 0.26  # radians at jaw_open = 1


@dataclass(frozen=True)
class Skull:
    """Cranium, face, jaw, cheeks and ears of B heads.

    Attributes:
        who, does: identity and expression.
    """

    who: Values
    does: Values

    def distance(self, p: Points, cranium: Tensor) -> Tensor:
        """[B, K]; the features (nose, eyes, mouth) are added elsewhere."""
        m = p.mirrored()
        head = join(cranium, self._face(p, m), 2.2)
        head = join(head, self._jaw(self.jaw_frame(p), self.jaw_frame(m)), 1.8)
        return join(head, self._cheeks(m), 2.2)

    def jaw_frame(self, p: Points) -> Points:
        """Points as the closed jaw sees them."""
        angle = self.does["jaw_open"] * JAW_OPEN
        y, z = p.y - JAW_JOINT[0], p.z - JAW_JOINT[1]
        c, s = angle.cos(), angle.sin()
        return Points(p.x, y * c + z * s + JAW_JOINT[0], z * c - y * s + JAW_JOINT[1])

    def out_of_jaw_frame(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where a point of the closed jaw has gone, the inverse of :meth:`jaw_frame`."""
        angle = self.does["jaw_open"] * JAW_OPEN
        y, z = y - JAW_JOINT[0], z - JAW_JOINT[1]
        c, s = angle.cos(), angle.sin()
        return x, y * c - z * s + JAW_JOINT[0], z * c + y * s + JAW_JOINT[1]

    def chin(self) -> tuple[Tensor, Tensor, Tensor]:
        """Centre of the chin's ball in the closed jaw, (x, y, z)."""
        w = self.who
        return torch.zeros_like(w["chin_drop"]), -9.7 - w["face_length"] - w["chin_drop"], 7.2 + w["chin_forward"]

    def cranium(self, p: Points) -> Tensor:
        """The brain's case, which hair and hats lie on."""
        w = self.who
        top = ellipsoid(p, (0.0, 3.0, -0.7), (w["skull_width"], w["skull_height"], w["skull_depth"]))
        forehead = ellipsoid(p, (0.0, 3.4, 4.2 + w["forehead"]), (5.7, 4.2, 4.9))
        return join(top, forehead, 1.5)

    def _face(self, p: Points, m: Points) -> Tensor:
        w = self.who
        middle = ellipsoid(p, (0.0, -3.4 - 0.4 * w["face_length"], 2.4), (w["face_width"], 7.2, 6.3))
        ridge = ellipsoid(m, (2.2, 1.75 + w["eye_height"], 7.3 + w["brow_ridge"]), (2.6, 0.8, 1.3))
        return join(middle, ridge, 1.2)

    def _jaw(self, p: Points, m: Points) -> Tensor:
        w = self.who
        low = w["face_length"]
        bone = ellipsoid(p, (0.0, -6.9 - low, 3.0), (w["jaw_width"], 4.0, 5.6))
        corner = ellipsoid(m, (w["jaw_width"] - 0.9, -6.6 - low, 1.6), (w["jaw_corner"], 2.4, 2.2))
        cx, cy, cz = self.chin()
        chin = ellipsoid(p, (cx, cy, cz), (w["chin_width"], 1.35, 1.5))
        cleft = ellipsoid(p, (0.0, cy - 0.1, cz + 1.9), (0.18, 0.9, 0.5 * w["chin_cleft"].clamp(min=0.02)))
        return carve(join(join(bone, corner, 1.6), chin, 1.9), cleft, 0.4)

    def _cheeks(self, m: Points) -> Tensor:
        w, smile = self.who, self.does["smile"].clamp(min=0)
        bone = ellipsoid(
            m, (4.35, -2.3 + w["cheekbone_height"], 5.6 + 0.6 * w["cheekbone"]), (2.0 + 0.3 * w["cheekbone"], 1.3, 2.0)
        )
        flesh = ellipsoid(
            m,
            (3.5 + 0.2 * smile, -4.8 + 0.8 * smile, 5.3 + 0.5 * smile),
            (2.35 + 0.4 * w["cheek_fullness"], 2.9 - 0.6 * smile, 2.8 + 0.3 * w["cheek_fullness"]),
        )
        return join(bone, flesh, 2.2)


def ears(who: Values, p: Points) -> Tensor:
    """Both ears, as flat shells with a hollow."""
    m = p.mirrored()
    size, out = who["ear_size"], who["ear_out"]
    # The shell leans back and out: a shear is close enough to a turn for such a thin body.
    q = Points(m.x - 7.05 + 0.45 * (m.z + 0.6) * (0.6 + out), m.y + 1.4, m.z + 0.9 + 0.22 * (m.y + 1.4))
    shell = ellipsoid(q, (0.0, 0.0, 0.0), (0.75, 3.0 * size, 1.75 * size))
    hollow = ellipsoid(q, (0.75, 0.4, 0.15), (0.62, 1.9 * size, 1.05 * size))
    canal = ellipsoid(q, (0.6, -0.35, 0.7), (0.9, 0.75 * size, 0.55 * size))
    lobe = ellipsoid(q, (-0.05, -2.3 * size, 0.3), (0.42, 0.75, 0.65))
    return 0.85 * join(carve(carve(shell, hollow, 0.35), canal, 0.3), lobe, 0.5)


def neck(who: Values, p: Points, body: Points) -> Tensor:
    """The neck from under the skull into the trunk; its lower end follows the body's frame.

    Args:
        p, body: the same points in the head's and in the trunk's frame.
    """
    width = who["neck_width"]
    upper = capsule(p, (0.0, -4.0, -2.2), (0.0, -10.0, -2.8), width * 0.92)
    lower = capsule(body, (0.0, -9.0, -2.8), (0.0, -19.0, -4.0), width, width * 1.12)
    throat = ellipsoid(body, (0.0, -13.6, 1.2 + 0.6 * who["masculine"]), (1.0, 1.6, 0.9))
    return join(join(upper, lower, 2.0), throat, 1.5)
