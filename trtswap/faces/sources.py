"""Whether a picture shows a face well enough to make an identity of it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.faces.faces import Faces
from trtswap.faces.pose import pose_of
from trtswap.pixels.frames import Frames
from trtswap.pixels.geometry import align

SMALL = 48.0
"""Side of a box, pixels, below which an identity network sees a face enlarged by more than two thirds."""
TURNED = 28.0
"""Degrees to either side, as the mesh guesses them, from which half of a face is hidden: in two photographs with 30 and
42 the nose's tip is six times as near to one edge of the face as to the other, in ten with up to 23 at most twice."""
CLOSED = 0.12
"""Share of an eye's width between its lids; open ones have some 0.3, those of a laughing face 0.2."""
BLURRED = 0.045
"""Share of a face's contrast that is in details of two pixels of 112. Sixteen pictures, photographed and rendered, have
0.11 to 0.26; blurred with a Gaussian of 2 % of the face's side 0.03 to 0.07, of 3 % 0.02 to 0.04."""
EVEN = 1e-3  # contrast, of 1, below which a crop shows nothing
_CROP = 112
_INNER = slice(24, 104), slice(20, 92)  # the face, without what is around it


def doubts(frames: Frames, faces: Faces) -> tuple[str, ...]:
    """What speaks against a picture of a face as a source, half a sentence each; nothing where all is well.

    Args:
        frames: the picture.
        faces: the one face, of which pose and eyes are judged where it was measured at many points.
    """
    found = []
    side = float(faces.side[0])
    if side < SMALL:
        found.append(f"the face is only {side:.0f} pixels wide; from {SMALL:.0f} on an identity is surer")
    elif float(sharpness(frames, faces)[0]) < BLURRED:
        found.append("the face is blurred")
    if float(faces.fit[0]) > 0:
        pose = pose_of(faces.points)
        if abs(float(pose.yaw[0])) > TURNED:
            found.append(
                f"the face is turned away by {abs(float(pose.yaw[0])):.0f} degrees; one from the front is surer"
            )
        if float(pose.eyes[0].max()) < CLOSED:
            found.append("the eyes are closed")
    return tuple(found)


def sharpness(frames: Frames, faces: Faces) -> Tensor:
    """Share of each face's contrast that is in its finest details, as an identity network sees it: float32 [N]."""
    transforms = align(faces.landmarks, ("arcface_112_v1",), _CROP)
    grey = frames.sample(faces.frame_index, transforms, _CROP).clamp(0, 1).mean(1, keepdim=True)[..., *_INNER]
    coarse = F.interpolate(F.avg_pool2d(grey, 2), scale_factor=2.0, mode="bilinear", align_corners=False)
    fine, whole = (part.flatten(1).std(1) for part in (grey - coarse, grey))
    return torch.where(whole > EVEN, fine / whole.clamp(min=EVEN), 0.0).cpu()
