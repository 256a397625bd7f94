"""Stage 1b: 478 points of each face, and five landmarks made of them that are steadier than a detector's.

The points are MediaPipe's (``face_mesh_connections.py`` names them). Each landmark is the mean of some of them, moved
to where YuNet, and the templates of aligned crops with it, has that landmark.
"""

from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor

from trtswap.backends.runtime import Stage
from trtswap.faces.faces import Faces
from trtswap.faces.pose import LEFT_EYE, RIGHT_EYE
from trtswap.pixels.frames import Frames
from trtswap.pixels.geometry import align, invert, transform_points
from trtswap.pixels.transfer import to_host

PARTS = (RIGHT_EYE, LEFT_EYE, (1,), (61,), (291,))
"""Points whose mean is a landmark: around each eye, the tip of the nose, the corners of the mouth."""

Offsets: TypeAlias = tuple[tuple[float, float], ...]
OFFSETS: Offsets = ((-0.031, -0.007), (0.031, -0.007), (0.0, -0.017), (0.018, 0.040), (-0.018, 0.040))
"""From there to YuNet's landmarks, for packs that say nothing else: along the line between the eyes and across it, as
shares of the eyes' distance; the median of seven people (138 frames of one, 15 pictures of the others at several
sizes), made symmetric."""


class DenseLandmarks:
    """Measures the faces that were found.

    Args:
        stage: the landmarks graph; its entry in the pack has the score from which on its points are taken.
        offsets: where the pack has its landmarks, as ``OFFSETS``, which are meant where there are none.
    """

    def __init__(self, stage: Stage, offsets: Offsets = ()) -> None:
        self._stage = stage
        self._offsets = offsets or OFFSETS

    def __call__(self, frames: Frames, faces: Faces) -> Faces:
        """The same faces with their points, and with landmarks made of them.

        A face whose score is too low, such as a full profile, keeps what it has, and ``fit`` 0.

        Args:
            frames: where they were found.
            faces: N of them, on the host.
        """
        if not len(faces):
            return faces
        spec = self._stage.spec
        to_crop = align(faces.landmarks, spec.templates, spec.size)
        parts = torch.split(torch.arange(len(faces)), self._stage.face_batch)  # a crowd's crops would take a gigabyte
        found = [self._measured(frames, faces.frame_index[rows], to_crop[rows]) for rows in parts]
        points, scores = to_host(*(torch.cat([part[name] for part in found]) for name in ("points", "scores")))
        fits = (scores >= spec.threshold) & points.isfinite().flatten(1).all(1)
        points = in_frame(points, to_crop)
        return replace(
            faces,
            landmarks=torch.where(fits[:, None, None], five_of(points, self._offsets), faces.landmarks),
            points=torch.where(fits[:, None, None], points, 0.0),
            fit=torch.where(fits, scores, 0.0),
        )

    def _measured(self, frames: Frames, frame_index: Tensor, to_crop: Tensor) -> dict[str, Tensor]:
        """What the graph says to some faces, on the device."""
        crops = frames.sample(frame_index, to_crop, self._stage.spec.size).clamp(0, 1)
        return self._stage.rows(faces=crops)


def in_frame(points: Tensor, to_crop: Tensor) -> Tensor:
    """Points [N, P, 3] of crops in frame pixels; depth has the same unit.

    Args:
        to_crop: float32 [N, 2, 3], similarities from frame to crop.
    """
    scale = to_crop[:, :, 0].square().sum(1).sqrt()
    return torch.cat([transform_points(invert(to_crop), points[..., :2]), points[..., 2:] / scale[:, None, None]], -1)


def in_crop(points: Tensor, to_crop: Tensor) -> Tensor:
    """Points [N, P, 3] of frames in pixels of crops; those that are all zero, which nobody measured, stay so.

    Args:
        to_crop: float32 [N, 2, 3], similarities from frame to crop.
    """
    scale = to_crop[:, :, 0].square().sum(1).sqrt()
    moved = torch.cat([transform_points(to_crop, points[..., :2]), points[..., 2:] * scale[:, None, None]], -1)
    return torch.where((points != 0).flatten(1).any(1)[:, None, None], moved, 0.0)


def five_of(points: Tensor, offsets: Offsets = OFFSETS) -> Tensor:
    """Five landmarks [N, 5, 2] of points [N, 478, 3], in the same pixels."""
    means = torch.stack([points[:, list(part), :2].mean(1) for part in PARTS], 1)
    along = means[:, 1] - means[:, 0]
    across = torch.stack([-along[:, 1], along[:, 0]], 1)
    return means + torch.tensor(offsets, device=points.device) @ torch.stack([along, across], 1)
