"""A stream's clock: every frame gets a presentation timestamp, and they only go up; nothing is measured here."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av

_LONG_GAP = Fraction(1, 2)
# As many frames as H.264 and HEVC hold back at most; if none of so many has a time, the file has none.
_AWAITED = 16


class Clock:
    """Stamps frames of a video stream that come without a pts or with one that does not follow the last.

    It ticks in the stream's time base. Frames at the beginning without a pts lie before the first that has one, as far
    as the frame rate says (files whose clock begins below zero lose these); where none has one, the first is at the
    stream's start time.

    Attributes:
        repaired: frames that were given another pts than the file's.
        gaps: (end of a frame, pts of the next) where more than half a second has no picture, stream time base.
    """

    def __init__(self, stream: av.VideoStream) -> None:
        self.repaired = 0
        self.gaps: list[tuple[int, int]] = []
        rate = stream.average_rate or stream.guessed_rate
        self._usual = max(1, round(1 / (rate * stream.time_base))) if rate and stream.time_base else 1
        self._start = stream.start_time or 0
        self._long = round(_LONG_GAP / stream.time_base) if stream.time_base else 0

    def stamp(self, frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """Yields the same frames, each with a pts above the one before and a duration (the usual one if unknown)."""
        last: av.VideoFrame | None = None
        for frame in self._begun(frames):
            if frame.pts is None:
                frame.pts = self._start if last is None else (last.pts or 0) + last.duration
                self.repaired += 1
            elif last is not None and frame.pts <= (last.pts or 0):
                frame.pts = (last.pts or 0) + 1
                self.repaired += 1
            elif last is not None and frame.pts > (last.pts or 0) + last.duration + self._long:
                self.gaps.append(((last.pts or 0) + last.duration, frame.pts))
            frame.duration = frame.duration or self._usual
            last = frame
            yield frame

    def _begun(self, frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """The same frames, those before the first pts with one each."""
        coming, first = iter(frames), list[av.VideoFrame]()
        for frame in coming:
            first.append(frame)
            if frame.pts is not None or len(first) > _AWAITED:
                break
        pts = first[-1].pts if first else None
        for frame in reversed(first[:-1] if pts is not None else ()):
            pts = (pts or 0) - (frame.duration or self._usual)
            frame.pts = pts
            self.repaired += 1
        yield from first
        yield from coming
