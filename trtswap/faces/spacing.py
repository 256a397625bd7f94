"""Stage 1 for some of the frames: where nothing happens between two searched frames, those between are tracked."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from trtswap.faces import Faces
from trtswap.faces.track import moves
from trtswap.pixels.frames import Frames

# Between two searched frames a face may move by this share of its size, and the frames between are not searched.
MAX_DRIFT = 0.25


@dataclass
class Detected:
    """A batch of frames and the faces of each; None for a frame that was not searched."""

    frames: Frames
    found: list[Faces | None] = field(default_factory=list)


class SpacedDetector:
    """Searches every ``every``-th frame of a video, and those between two only where somebody came, went or moved far.

    Frames are counted from the video's first, so that the result does not depend on how they are batched. Frames wait
    until the next searched one is known: at most ``every`` and a batch.

    Args:
        detect: finds the faces of some frames.
        every: 1 searches all.
    """

    def __init__(self, detect: Callable[[Frames], Faces], every: int):
        self._detect = detect
        self._every = every
        self._waiting: deque[Detected] = deque()
        self._first = 0  # number of the first frame that waits
        self._pushed = 0
        self._last: Faces | None = None  # of the latest searched frame, which is number self._known
        self._known = -1

    def push(self, frames: Frames) -> Iterator[Detected]:
        """Take the next batch; gives out batches that are decided, oldest first."""
        batch = Detected(frames, [None] * len(frames))
        self._waiting.append(batch)
        start = -self._pushed % self._every
        self._pushed += len(frames)
        if start < len(frames):
            self._search(batch, slice(start, len(frames), self._every))
            for index in range(start, len(frames), self._every):
                self._decide(self._pushed - len(frames) + index, batch.found[index])
        yield from self._decided()

    def end(self) -> Iterator[Detected]:
        """No more frames follow: gives out the rest, in which every frame after the last searched one is searched."""
        self._search_between(self._known + 1, self._pushed)
        self._known = self._pushed - 1
        yield from self._decided()

    def _decide(self, number: int, found: Faces | None) -> None:
        """Frame ``number`` has been searched: what is with those since the last one?"""
        assert found is not None  # noqa: S101 - the caller has just searched it
        if self._last is not None and not _steady(self._last, found):
            self._search_between(self._known + 1, number)
        self._last, self._known = found, number

    def _search_between(self, start: int, end: int) -> None:
        first = self._first
        for batch in self._waiting:
            low, high = max(start - first, 0), min(end - first, len(batch.frames))
            if low < high:
                self._search(batch, slice(low, high, 1))
            first += len(batch.frames)

    def _search(self, batch: Detected, rows: slice) -> None:
        faces = self._detect(batch.frames[rows])
        for place, index in enumerate(range(rows.start, rows.stop, rows.step)):
            batch.found[index] = faces.of_frame(place).at(index)

    def _decided(self) -> Iterator[Detected]:
        while self._waiting and self._first + len(self._waiting[0].frames) <= self._known + 1:
            batch = self._waiting.popleft()
            self._first += len(batch.frames)
            yield batch


def _steady(before: Faces, after: Faces) -> bool:
    """The same faces, one for one, and none has moved far."""
    near = [(i, j) for move, i, j in moves(before, after) if move < MAX_DRIFT]
    sides = {i for i, _ in near}, {j for _, j in near}
    return len(before) == len(after) == len(near) and all(len(side) == len(before) for side in sides)
