"""What the points of a face say: where the head is turned, whether mouth and eyes are open, where the eyes look."""

from dataclasses import dataclass

import torch
from torch import Tensor

# Points by MediaPipe's numbers; the person's own right and left.
OUTER_CORNERS, INNER_CORNERS = (33, 263), (133, 362)
UPPER_LIDS, LOWER_LIDS = (159, 386), (145, 374)
IRISES = (468, 473)
TOP, CHIN = 10, 152
# Around each eye, corners and lids: FACEMESH_RIGHT_EYE and FACEMESH_LEFT_EYE of face_mesh_connections.py.
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398)
UPPER_LIP, LOWER_LIP = 13, 14  # their inner edges


@dataclass(frozen=True)
class Pose:
    """Of N faces, float32.

    Attributes:
        yaw, pitch, roll: [N], degrees; positive: turned to the right of the picture, looking up, tilted clockwise.
            Depth is the mesh's guess, so that turns beyond some 60 degrees come out too small.
        mouth: [N], distance between the lips as a share of the distance between the outer corners of the eyes; 0 is
            closed.
        eyes: [N, 2], right and left: distance between the lids as a share of the eye's width; some 0.3 is open, below
            0.15 closed.
        gaze: [N, 2, 2], right and left: the iris's place from the middle between the corners of its eye, along the eye
            and across it, as shares of the eye's width; positive is the right of the picture, and down.
    """

    yaw: Tensor
    pitch: Tensor
    roll: Tensor
    mouth: Tensor
    eyes: Tensor
    gaze: Tensor

    @property
    def turns(self) -> Tensor:
        """Yaw and pitch, degrees: float32 [N, 2]."""
        return torch.stack([self.yaw, self.pitch], 1)


def pose_of(points: Tensor) -> Pose:
    """Pose of faces by their points, float32 [N, 478, 3], pixels; see :class:`~trtswap.faces.faces.Faces`."""
    across = _unit(points[:, OUTER_CORNERS[1]] - points[:, OUTER_CORNERS[0]])
    down = points[:, CHIN] - points[:, TOP]
    behind = _unit(torch.linalg.cross(across, down))  # away from the camera for a frontal face
    flat = points[..., :2]
    outer, inner = flat[:, list(OUTER_CORNERS)], flat[:, list(INNER_CORNERS)]
    width = (outer - inner).norm(dim=-1).clamp(min=1e-6)
    along = (flat[:, OUTER_CORNERS[1]] - flat[:, OUTER_CORNERS[0]])[:, None]
    along = along / along.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    off = flat[:, list(IRISES)] - (outer + inner) / 2
    gaze = torch.stack([(off * along).sum(-1), off[..., 1] * along[..., 0] - off[..., 0] * along[..., 1]], -1)
    lids = (points[:, list(UPPER_LIDS)] - points[:, list(LOWER_LIDS)]).norm(dim=-1)
    lips = (points[:, UPPER_LIP] - points[:, LOWER_LIP]).norm(dim=-1)
    return Pose(
        yaw=torch.atan2(-behind[:, 0], behind[:, 2]).rad2deg(),
        pitch=torch.atan2(behind[:, 1], behind[:, ::2].norm(dim=1)).rad2deg(),
        roll=torch.atan2(across[:, 1], across[:, 0]).rad2deg(),
        mouth=lips / (outer[:, 1] - outer[:, 0]).norm(dim=-1).clamp(min=1e-6),
        eyes=lids / width,
        gaze=gaze / width[..., None],
    )


def _unit(vectors: Tensor) -> Tensor:
    unit: Tensor = vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    return unit
