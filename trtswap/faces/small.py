"""Faces that are too small to be swapped."""

import torch

from trtswap.faces.faces import Faces

# A face that is being swapped may shrink to this share before it is left alone again, so that it does not flicker where
# its size wavers about the smallest.
STAYS = 0.8


class LargeEnough:
    """Leaves small faces of a stream alone, without flicker.

    Batches come in order; the result does not depend on how frames are batched.

    Args:
        smallest: side of the box (:attr:`~trtswap.faces.faces.Faces.side`), pixels; 0 takes all.
    """

    def __init__(self, smallest: float) -> None:
        self._smallest = smallest
        self._tracks: set[int] = set()  # that were large enough in the latest frame that has faces

    def choose(self, faces: Faces) -> Faces:
        """The faces of the next batch (tracked, ``frame_index`` not decreasing) that are large enough."""
        frames, tracks, sides = faces.frame_index.tolist(), faces.track.tolist(), faces.side.tolist()
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
