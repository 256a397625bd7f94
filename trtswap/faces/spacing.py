"""Stage 1 for some of the frames: where nothing happens between two searched frames, those between are tracked."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from torch import Tensor

from trtswap.faces.cuts import Cut, CutDetector, detail
from trtswap.faces.faces import Faces
from trtswap.faces.track import moves
from trtswap.pixels.frames import Frames

# Between two searched frames a face may move by this share of its size, and the frames between are not searched.
MAX_DRIFT = 0.25


@dataclass
class Detected:
    """A batch of frames and what was found in each.

    Attributes:
        frames: the batch.
        found: the faces of each frame; None for a frame that was not searched.
        cuts: does a new shot begin with the frame? It does with none that was not searched.
    """

    frames: Frames
    found: list[Faces | None] = field(init=False)
    cuts: list[Cut] = field(init=False)
    shown: list[Tensor | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.found = [None] * len(self.frames)
        self.cuts = [Cut.NO] * len(self.frames)
        self.shown = [None] * len(self.frames)


class SpacedDetector:
    """Searches every ``every``-th frame of a video, and those between two only where somebody came, went or moved far,
    or where there may be a cut.

    Frames are counted from the video's first, so that the result does not depend on how they are batched. Frames wait
    until the next searched one is known: at most ``every`` and a batch.

    Args:
        detect: finds the faces of some frames, and gives their thumbnails; without these (None) no cuts are seen.
        every: 1 searches all.
    """

    def __init__(self, detect: Callable[[Frames], tuple[Faces, Tensor | None]], every: int):
        self._detect = detect
        self._every = every
        self._waiting: deque[Detected] = deque()
        self._first = 0  # number of the first frame that waits
        self._pushed = 0
        self._last: Faces | None = None  # of the latest searched frame, which is number self._known
        self._known = -1
        self._cuts = CutDetector()  # between neighbours, as far as they were searched
        self._shown_before = False  # was the frame before the next one to be decided searched?
        self._spaced_cuts = CutDetector()  # between every so many-th frame: somewhere between two of them

    def push(self, frames: Frames) -> Iterator[Detected]:
        """Take the next batch; gives out batches that are decided, oldest first."""
        batch = Detected(frames)
        self._waiting.append(batch)
        start = -self._pushed % self._every
        self._pushed += len(frames)
        if start < len(frames):
            self._search(batch, slice(start, len(frames), self._every))
            for index in range(start, len(frames), self._every):
                self._decide(self._pushed - len(frames) + index, batch.found[index], batch.shown[index])
        yield from self._decided()

    def end(self) -> Iterator[Detected]:
        """No more frames follow: gives out the rest, in which every frame after the last searched one is searched."""
        self._search_between(self._known + 1, self._pushed)
        self._known = self._pushed - 1
        yield from self._decided()

    def _decide(self, number: int, found: Faces | None, shown: Tensor | None) -> None:
        """Frame ``number`` has been searched: what is with those since the last one?"""
        assert found is not None  # noqa: S101 - the caller has just searched it
        cut = self._every > 1 and shown is not None and self._spaced_cuts.push(shown) != Cut.NO
        if self._last is not None and (cut or not _steady(self._last, found)):
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
        faces, small = self._detect(batch.frames[rows])
        for place, index in enumerate(range(rows.start, rows.stop, rows.step)):
            batch.found[index] = faces.of_frame(place).at(index)
            batch.shown[index] = None if small is None else detail(small[place])

    def _decided(self) -> Iterator[Detected]:
        while self._waiting and self._first + len(self._waiting[0].frames) <= self._known + 1:
            batch = self._waiting.popleft()
            self._first += len(batch.frames)
            for index, shown in enumerate(batch.shown):
                if shown is not None:
                    batch.cuts[index] = self._cuts.push(shown, adjoins=self._shown_before)
                self._shown_before = shown is not None
            yield batch


def _steady(before: Faces, after: Faces) -> bool:
    """The same faces, one for one, and none has moved far."""
    near = [(i, j) for move, i, j in moves(before, after) if move < MAX_DRIFT]
    sides = {i for i, _ in near}, {j for _, j in near}
    return len(before) == len(after) == len(near) and all(len(side) == len(before) for side in sides)
