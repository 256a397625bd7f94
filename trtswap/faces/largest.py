"""The largest face of a frame: of a single picture, and of a stream without alternating."""

import torch
from torch import Tensor

from trtswap.faces.faces import Faces

# Another face takes over where its box has so many times the area: 12 % on a side, several times what boxes shake by.
TAKES_OVER = 1.25


def largest(faces: Faces) -> Faces:
    """Of each frame only the face with the largest box."""
    if not len(faces):
        return faces
    same = faces.frame_index[:, None] == faces.frame_index[None]
    best = torch.where(same, _area(faces)[None], -torch.inf).argmax(1)
    return faces[best == torch.arange(len(faces))]


class LargestFace:
    """Chooses one face of each frame of a stream: the largest, and then its track for as long as it is not clearly
    smaller than another.

    Two people of about the same size would otherwise alternate. Batches come in order; the result does not depend on
    how frames are batched.
    """

    def __init__(self) -> None:
        self._track = -1

    def choose(self, faces: Faces) -> Faces:
        """Of each frame of the next batch of tracked faces (``frame_index`` not decreasing) the chosen face."""
        rows: list[int] = []
        area, tracks, frames = _area(faces).tolist(), faces.track.tolist(), faces.frame_index.tolist()
        for frame in sorted(set(frames)):
            here = [row for row in range(len(faces)) if frames[row] == frame]
            best = max(here, key=lambda row: area[row])
            kept = next((row for row in here if tracks[row] == self._track), None)
            row = best if kept is None or area[best] > TAKES_OVER * area[kept] else kept
            self._track = tracks[row]
            rows.append(row)
        return faces[torch.tensor(rows, dtype=torch.int64)]


def _area(faces: Faces) -> Tensor:
    """Of the boxes, float32 [N], square pixels."""
    return (faces.box[:, 2] - faces.box[:, 0]) * (faces.box[:, 3] - faces.box[:, 1])
