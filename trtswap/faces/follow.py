"""Stages 1 to 3 of a stream: its faces searched, cut into shots, tracked, and shown to the casting."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trtswap.faces.cast import Casting
from trtswap.faces.detect import Detector
from trtswap.faces.faces import Faces
from trtswap.faces.lookahead import Lookahead
from trtswap.faces.spacing import Detected, SpacedDetector
from trtswap.faces.track import Tracker
from trtswap.pixels.frames import Frames
from trtswap.session.stopwatch import Stopwatch


@dataclass(frozen=True)
class Followed:
    """A batch of frames whose faces are complete.

    Attributes:
        first_frame: number of the batch's first frame in the stream.
        frames: as they were pushed.
        faces: tracked, smoothed and filled, on the host; ``frame_index`` counts within the batch.
    """

    first_frame: int
    frames: Frames
    faces: Faces


class Follower:
    """Faces of a stream over time: searched, cut into shots, tracked, shown to the casting.

    The faces of a frame do not depend on how the stream is cut into batches. Memory is bounded: see
    :class:`~trtswap.faces.spacing.SpacedDetector` and :class:`~trtswap.faces.lookahead.Lookahead`.

    Args:
        detect: finds the faces of some frames. The pack's detector also tells where cuts are; with another finder of
            faces none are seen.
        cast: is shown the tracked faces of each batch before the batch is given out.
        smooth: landmarks are smoothed over this many frames before and after; 0 turns it off.
        fill: a face missed in at most this many consecutive frames is put back; 0 turns it off.
        detect_every: faces are searched in every so many-th frame, and between only where something changes.
        stopwatch: takes the time of the stages detect, track and identify.
    """

    def __init__(
        self,
        detect: Callable[[Frames], Faces],
        cast: Casting,
        *,
        smooth: int,
        fill: int,
        detect_every: int,
        stopwatch: Stopwatch,
    ) -> None:
        # Enough searched frames for a parabola, and gaps that are as wide as those between searched frames.
        half_window = max(smooth, 2 * detect_every) if smooth and detect_every > 1 else smooth
        tracker = Tracker(half_window=half_window, max_gap=fill + detect_every - 1, min_lag=cast.observe_frames)
        self._detector = SpacedDetector(_with_thumbnails(detect), detect_every)
        self._lookahead = Lookahead(tracker)
        self._cast = cast
        self._stopwatch = stopwatch

    def push(self, frames: Frames) -> list[Followed]:
        """Take the next batch; gives out the batches that are complete now, oldest first."""
        with self._stopwatch.stage("detect"):
            detected = list(self._detector.push(frames))
        return self._track(detected, ended=False)

    def flush(self) -> list[Followed]:
        """No more frames follow: gives out the rest, oldest first."""
        with self._stopwatch.stage("detect"):
            detected = list(self._detector.end())
        return self._track(detected, ended=True)

    def _track(self, detected: Sequence[Detected], *, ended: bool) -> list[Followed]:
        for batch in detected:
            with self._stopwatch.stage("track"):
                first, faces = self._lookahead.push(batch.frames, batch.found, batch.cuts)
            with self._stopwatch.stage("identify"):
                self._cast.observe(batch.frames, faces, first)
        with self._stopwatch.stage("track"):
            return [Followed(*ready) for ready in self._lookahead.ready(ended=ended)]


class Unrelated:
    """Faces of pictures that do not follow each other: each is a track of its own, and nothing waits.

    Args:
        detect: finds the faces of some pictures.
        cast: is shown them.
        stopwatch: takes the time of the stages detect and identify.
    """

    def __init__(self, detect: Callable[[Frames], Faces], cast: Casting, *, stopwatch: Stopwatch) -> None:
        self._detect = detect
        self._cast = cast
        self._stopwatch = stopwatch
        self._frames = self._faces = 0

    def push(self, frames: Frames) -> list[Followed]:
        """The same pictures with their faces."""
        with self._stopwatch.stage("detect"):
            found = self._detect(frames)
        faces = replace(found, track=torch.arange(self._faces, self._faces + len(found)))
        with self._stopwatch.stage("identify"):
            self._cast.observe(frames, faces, self._frames)
        first, self._frames, self._faces = self._frames, self._frames + len(frames), self._faces + len(faces)
        return [Followed(first, frames, faces)]

    def flush(self) -> list[Followed]:
        """Nothing has waited."""
        return []


def _with_thumbnails(detect: Callable[[Frames], Faces]) -> Callable[[Frames], tuple[Faces, Tensor | None]]:
    if isinstance(detect, Detector):
        return detect.with_thumbnails
    return lambda frames: (detect(frames), None)
