"""Faces that are too small to be swapped."""

import torch
from torch import Tensor

from trtswap.faces.faces import Faces

# Side of the box, pixels of the displayed frame, below which YuNet's landmarks are off by more than a seventh of the
# distance between the eyes (0.14 of it at 19 px, 0.27 at 15, 0.64 at 10, against 0.07 from 58 px up), so that what is
# pasted no longer lies where the face is.
MIN_FACE = 20.0


# A face that is being swapped may shrink to this share before it is left alone again, so that it does not flicker where
# its size wavers about the smallest.
STAYS = 0.8


class LargeEnough:
    """Leaves small faces of a stream alone, without flicker.

    Batches come in order; the result does not depend on how frames are batched.

    Args:
        smallest: as :func:`large_enough` has it.
    """

    def __init__(self, smallest: float = MIN_FACE) -> None:
        self._smallest = smallest
        self._tracks: set[int] = set()  # that were large enough in the latest frame that has faces

    def choose(self, faces: Faces) -> Faces:
        """The faces of the next batch (tracked, ``frame_index`` not decreasing) that are large enough."""
        frames, tracks, sides = faces.frame_index.tolist(), faces.track.tolist(), _sides(faces).tolist()
        rows: list[int] = []
        for frame in sorted(set(frames)):
            here = [
                row
                for row in range(len(faces))
                if frames[row] == frame
                and sides[row] >= self._smallest * (STAYS if tracks[row] in self._tracks else 1.0)
            ]
            self._tracks = {tracks[row] for row in here}
            rows += here
        return faces[torch.tensor(rows, dtype=torch.int64)]


def large_enough(faces: Faces, smallest: float = MIN_FACE) -> Faces:
    """The faces whose boxes are at least so large; 0 keeps all.

    A box's size is the side of the square of the same area, so that a face seen from the side counts as from the front.

    Args:
        faces: boxes in pixels of the displayed frame.
        smallest: pixels.
    """
    return faces[_sides(faces) >= smallest]


def _sides(faces: Faces) -> Tensor:
    """Side of the square of a box's area: float32 [N], pixels."""
    return (faces.box[:, 2:] - faces.box[:, :2]).clamp(min=0).prod(1).sqrt()
