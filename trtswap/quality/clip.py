"""A clip as it is judged: the first face of each frame, as it is, unsmoothed."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from trtswap.backends.runtime import Runtime
from trtswap.faces import Faces
from trtswap.faces.pose import Pose, pose_of
from trtswap.limits import Limits
from trtswap.options import SwapOptions
from trtswap.pixels.geometry import align
from trtswap.session.session import Session
from trtswap.video.opening import open_reader

SIZE = 512


@dataclass(frozen=True)
class Clip:
    """The first face of each frame.

    Attributes:
        faces: one for each of ``times``, the numbers of the frames that have one.
        frames: these frames, whole, RGB uint8 [H, W, 3] each.
    """

    faces: Faces
    times: list[int]
    frames: list[NDArray[np.uint8]]

    @property
    def pose(self) -> Pose:
        """What the faces' points say."""
        return pose_of(self.faces.points)

    def canvases(self, landmarks: torch.Tensor) -> NDArray[np.float32]:
        """The frames cut by landmarks [T, 5, 2]: float32 RGB [T, 512, 512, 3], 0..255."""
        transforms = align(landmarks, ("ffhq_512",), SIZE).numpy()
        cut = [
            cv2.warpAffine(f, m, (SIZE, SIZE), flags=cv2.INTER_AREA)
            for f, m in zip(self.frames, transforms, strict=True)
        ]
        return np.stack(cut).astype(np.float32)

    def only(self, times: list[int]) -> "Clip":
        """Some of its frames."""
        rows = [self.times.index(time) for time in times]
        return Clip(self.faces[torch.tensor(rows, dtype=torch.int64)], times, [self.frames[row] for row in rows])


def follow(video: Path, runtime: Runtime, *, limits: Limits | None = None) -> Clip:
    """Find the face of a clip; unsmoothed, so that what is measured is what is there."""
    faces, times, frames = [], [], []
    with open_reader(video, limits=limits) as reader:
        session = Session(runtime, None, SwapOptions(smooth=0, fill=0, max_faces=1))
        batches = [batch for part in reader for batch in session.follow(part)] + session.follow_rest()
        for batch in batches:
            for row, frame in enumerate(batch.faces.frame_index.tolist()):
                faces.append(batch.faces[torch.tensor([row])])
                times.append(batch.first_frame + frame)
                frames.append(batch.frames.rgb(frame).cpu().numpy())
    return Clip(Faces.cat(faces), times, frames)


def both(original: Clip, swapped: Clip) -> tuple[Clip, Clip]:
    """The frames in which both have a face."""
    shared = sorted(set(original.times) & set(swapped.times))
    return original.only(shared), swapped.only(shared)
