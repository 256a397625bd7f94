"""The largest face of a frame."""

import torch

from trtswap.faces.faces import Faces


def largest(faces: Faces) -> Faces:
    """Of each frame only the face with the largest box."""
    if not len(faces):
        return faces
    area = (faces.box[:, 2] - faces.box[:, 0]) * (faces.box[:, 3] - faces.box[:, 1])
    same = faces.frame_index[:, None] == faces.frame_index[None]
    best = torch.where(same, area[None], -torch.inf).argmax(1)
    return faces[best == torch.arange(len(faces))]
