"""Neck, shoulders and clothes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .parameters import Parameter, Values, sample
from .primitives import Points, capsule, ellipsoid, join, points_of
from .skull import neck

CLOTHES = (
    Parameter("neckline", -1.5, 2.0),
    Parameter("neckline_v", 0.0, 0.5),
    Parameter("cloth_hue", 0, 1),
    Parameter("cloth_saturation", 0, 0.8),
    Parameter("cloth_lightness", 0.05, 0.85),
    Parameter("cloth_stripes", -1.5, 1),
    Parameter("cloth_scale", 0.5, 2.5),
)
JOINT = (0.0, -9.0, -3.0)  # where the trunk stays when the head turns


def sample_clothes(seeds: Sequence[int]) -> Values:
    return sample(CLOTHES, seeds, "clothes")


@dataclass(frozen=True)
class Body:
    """Trunks of B people.

    Attributes:
        who, clothes: identity, values of ``CLOTHES``.
        from_head: float32 [B, 3, 3], turns the head's frame into the trunk's.
    """

    who: Values
    clothes: Values
    from_head: Tensor

    def frame(self, p: Points) -> Points:
        """The points in the trunk's frame."""
        joint = torch.tensor(JOINT, device=p.x.device)
        return points_of((p.stacked() - joint) @ self.from_head.mT + joint)

    def skin(self, p: Points, body: Points) -> Tensor:
        """Neck and shoulders, bare."""
        m = body.mirrored()
        shoulders = capsule(m, (0.0, -21.5, -4.5), (14.0, -23.5, -4.5), 4.6, 4.4)
        chest = ellipsoid(body, (0.0, -33.0, -4.5), (16.0, 15.0, 8.5))
        return join(neck(self.who, p, body), join(shoulders, chest, 3.0), 3.4)

    def cloth(self, skin: Tensor, body: Points) -> Tensor:
        """A garment over the bare trunk, open at the neck."""
        c = self.clothes
        line = -16.8 + c["neckline"] - 0.32 * (body.z + 3.0) - c["neckline_v"] * (3.5 - body.x.abs()).clamp(min=0)
        folds = 0.12 * torch.sin(body.x * 0.9 + 2 * torch.sin(body.y * 0.35)) * torch.sin(body.y * 0.8)
        return 0.9 * torch.maximum(skin - 0.35 - folds, body.y - line)
