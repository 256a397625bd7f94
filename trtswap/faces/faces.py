"""Faces found in a batch of frames, as a struct of arrays."""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

POINTS = 478
_UNMEASURED = torch.zeros(0)


@dataclass(frozen=True)
class Faces:
    """N faces of one batch of frames; N may be 0.

    Convention: coordinates are pixels of the *displayed* frame (upright, square pixels; the same as the
    coded frame for a video without rotation or sample aspect ratio), x to the right, y down, the centre of
    the first pixel at (0, 0).

    Attributes:
        frame_index: int64 [N], the frame of the batch that the face is in; not decreasing.
        box: float32 [N, 4], x1 y1 x2 y2.
        landmarks: float32 [N, 5, 2], right eye, left eye, nose, right and left mouth corner (of the person:
            in an unmirrored image the right eye has the smaller x).
        score: float32 [N], 0..1.
        track: int64 [N], the same number for the same person over time; -1 before tracking.
        points: float32 [N, 478, 3], points of the face's surface in the same pixels, x, y and depth (smaller towards
            the camera), as MediaPipe numbers them; zeros where ``fit`` is 0.
        fit: float32 [N], 0..1, how sure it is that the points fit; 0: they were not measured, or do not fit.
    """

    frame_index: Tensor
    box: Tensor
    landmarks: Tensor
    score: Tensor
    track: Tensor
    points: Tensor = _UNMEASURED
    fit: Tensor = _UNMEASURED

    def __post_init__(self) -> None:
        if self.points is _UNMEASURED or self.fit is _UNMEASURED:
            object.__setattr__(self, "points", self.score.new_zeros(len(self.score), POINTS, 3))
            object.__setattr__(self, "fit", torch.zeros_like(self.score))

    @staticmethod
    def none(device: torch.device | str = "cpu") -> "Faces":
        """No faces at all."""
        return Faces(
            torch.zeros(0, dtype=torch.int64, device=device),
            torch.zeros(0, 4, device=device),
            torch.zeros(0, 5, 2, device=device),
            torch.zeros(0, device=device),
            torch.zeros(0, dtype=torch.int64, device=device),
        )

    def __len__(self) -> int:
        return int(self.frame_index.shape[0])

    @property
    def side(self) -> Tensor:
        """float32 [N], pixels: side of the square of a box's area, so that a profile counts like a frontal view."""
        return (self.box[:, 2:] - self.box[:, :2]).clamp(min=0).prod(1).sqrt()

    def __getitem__(self, index: Tensor) -> "Faces":
        """The faces at a boolean mask or at int64 positions."""
        return Faces(*(getattr(self, f.name)[index] for f in fields(self)))

    def of_frame(self, frame: int) -> "Faces":
        """The faces of one frame of the batch; their ``frame_index`` stays."""
        return self[self.frame_index == frame]

    def to(self, device: torch.device | str) -> "Faces":
        return Faces(*(getattr(self, f.name).to(device) for f in fields(self)))

    def at(self, frame: int) -> "Faces":
        """The same faces said to be in another frame of the batch."""
        return replace(self, frame_index=torch.full_like(self.frame_index, frame))

    @staticmethod
    def cat(parts: "list[Faces]") -> "Faces":
        if not parts:
            return Faces.none()
        return Faces(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Faces)))
