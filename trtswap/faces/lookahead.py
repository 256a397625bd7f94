"""Frames that wait until what follows them is known."""

from collections import deque
from collections.abc import Iterator, Sequence

from trtswap.faces.cuts import Cut
from trtswap.faces.faces import Faces
from trtswap.faces.track import Tracker
from trtswap.pixels.frames import Frames


class Lookahead:
    """Holds batches of frames back until the tracker has completed their faces.

    Memory is bounded: no more frames wait than the tracker's lag and two batches.
    """

    def __init__(self, tracker: Tracker):
        self._tracker = tracker
        self._waiting: deque[Frames] = deque()
        self._done: list[Faces] = []
        self._pushed = 0
        self._given = 0

    def push(self, frames: Frames, found: Sequence[Faces | None], cuts: Sequence[Cut]) -> tuple[int, Faces]:
        """Take the next batch, the faces found in each of its frames (None where nobody has looked), and the cuts.

        Returns:
            The number of the batch's first frame, and the same faces with their track numbers.
        """
        first = self._pushed
        self._pushed += len(frames)
        self._waiting.append(frames)
        return first, Faces.cat([self._tracker.push(*of_frame) for of_frame in zip(found, cuts, strict=True)])

    def ready(self, *, ended: bool) -> Iterator[tuple[int, Frames, Faces]]:
        """Give out complete batches, oldest first: number of the first frame, frames, smoothed faces.

        Args:
            ended: no more frames follow; all that wait are given out.
        """
        self._done += self._tracker.ready(ended=ended)
        while self._waiting and len(self._done) >= len(self._waiting[0]):
            frames = self._waiting.popleft()
            faces = Faces.cat([self._done[b].at(b) for b in range(len(frames))])
            del self._done[: len(frames)]
            first = self._given
            self._given += len(frames)
            yield first, frames, faces
