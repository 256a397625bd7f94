"""The camera: rays through pixels, and points onto pixels. Pixel centres are at integers, x right, y down."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .parameters import Parameter, Values, sample

TABLE = (
    Parameter("distance", 55, 130),
    Parameter("zoom", 0.95, 1.35),
    Parameter("shift_x", -0.1, 0.1),
    Parameter("shift_y", -0.08, 0.08),
    Parameter("sensor_noise", 0, 0.02),
    Parameter("defocus", 0, 0.6),
    Parameter("vignette", 0, 0.35),
)
PIVOT = (0.0, -3.0, 2.0)  # the head turns about this point, which the camera looks at
FIELD_CM = 26.5  # height of what is seen at the pivot, at zoom 1


def sample_view(seeds: Sequence[int]) -> Values:
    return sample(TABLE, seeds, "view")


@dataclass(frozen=True)
class Camera:
    """Pinhole cameras of B images.

    Attributes:
        view: values of ``TABLE``; shifts are shares of the picture.
        turn: float32 [B, 3, 3], head to world.
        height, width: of the picture, pixels.
    """

    view: Values
    turn: Tensor
    height: int
    width: int

    @property
    def focal(self) -> Tensor:
        """Pixels, [B, 1]."""
        return self.view["zoom"] * self.view["distance"] * self.height / FIELD_CM

    def project(self, points: Tensor) -> Tensor:
        """Head-frame points float32 [B, N, 3] to pixels (x, y), [B, N, 2]."""
        pivot = torch.tensor(PIVOT, device=points.device)
        x, y, z = ((points - pivot) @ self.turn.mT).unbind(-1)
        scale = self.focal / (self.view["distance"] - z)
        cx, cy = self._centre()
        return torch.stack([cx + x * scale, cy - y * scale], -1)

    def origin(self) -> Tensor:
        """The camera in the head's frame: [B, 3]."""
        pivot = torch.tensor(PIVOT, device=self.turn.device)
        return self.turn[:, 2] * self.view["distance"] + pivot

    def rays(self, x: Tensor, y: Tensor) -> Tensor:
        """Unit directions in the head's frame through pixels x, y [K]: [B, K, 3]."""
        cx, cy = self._centre()
        across, up = (x - cx) / self.focal, (cy - y) / self.focal
        directions = torch.stack([across, up, -torch.ones_like(across)], -1)
        directions = directions / directions.norm(dim=-1, keepdim=True)
        into_head: Tensor = directions @ self.turn
        return into_head

    def _centre(self) -> tuple[Tensor, Tensor]:
        x = (0.5 + self.view["shift_x"]) * self.width - 0.5
        y = (0.5 + self.view["shift_y"]) * self.height - 0.5
        return x, y
