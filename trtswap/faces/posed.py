"""Which frames of a video show a person best: from the front, turned a little to each side, up and down."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trtswap.faces.faces import Faces
from trtswap.faces.pose import pose_of
from trtswap.faces.sources import CLOSED, SMALL, TURNED, sharpness
from trtswap.pixels.frames import Frames

POSES = ((0.0, 0.0), (-20.0, 0.0), (20.0, 0.0), (0.0, -14.0), (0.0, 14.0))
"""Yaw and pitch, degrees, that a frame is wanted for."""
NEAR = 10.0  # degrees from one of them
NEUTRAL = 0.5  # what an open mouth costs, in sharpness; see Pose.mouth


@dataclass(frozen=True)
class Shown:
    """A frame that shows somebody well.

    Attributes:
        frame: its number among those that were looked at.
        rgb: uint8 [H, W, 3].
        quality: how well, by sharpness and a mouth that is shut.
    """

    frame: int
    rgb: Tensor
    quality: float


class BestFrames:
    """Keeps the best frame for each of ``POSES``, whatever the length of the video.

    Attributes:
        looked: frames that were looked at.
    """

    def __init__(self) -> None:
        self.looked = 0
        self._best: dict[int, Shown] = {}

    def look(self, frames: Frames, faces: Faces) -> None:
        """Take the next frames, and at most one measured face of each."""
        first = self.looked
        self.looked += len(frames)
        if not len(faces):
            return
        pose, sharp = pose_of(faces.points), sharpness(frames, faces)
        apart = (pose.turns[:, None] - torch.tensor(POSES)).norm(dim=2)
        fit = (faces.fit > 0) & (faces.side >= SMALL) & (pose.eyes.amax(1) >= CLOSED) & (pose.yaw.abs() < TURNED)
        quality = sharp - NEUTRAL * pose.mouth
        nearest = apart.argmin(1)
        fit &= apart.amin(1) < NEAR
        for row in fit.nonzero().flatten().tolist():
            wanted, frame = int(nearest[row]), int(faces.frame_index[row])
            known = self._best.get(wanted)
            if known is None or float(quality[row]) > known.quality:
                self._best[wanted] = Shown(first + frame, frames.rgb(frame).cpu(), float(quality[row]))

    @property
    def found(self) -> list[Shown]:
        """The best of each pose that was seen, the one from the front first."""
        return [self._best[wanted] for wanted in sorted(self._best)]
