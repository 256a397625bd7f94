"""Watch a swap and keep a few pictures of it; memory does not grow with the length of the video."""

import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from trtswap.faces import Faces
from trtswap.pixels.frames import Frames
from trtswap.report.pictures import Picture, around, close_up, copy_of, whole
from trtswap.session.observers import Observer
from trtswap.video.info import VideoInfo

SHOWN = 6
# Twice as many places as are shown, so that there is a choice: frames with faces come first.
PLACES = 2 * SHOWN


@dataclass(frozen=True)
class Sample:
    """One frame before and after.

    Attributes:
        frame: its number, from 0.
        seconds: when a player shows it.
        faces: how many were swapped.
        before, after: the whole frame, made smaller.
        face_before, face_after: a square around the largest swapped face; None without one.
    """

    frame: int
    seconds: float
    faces: int
    before: Picture
    after: Picture
    face_before: Picture | None
    face_after: Picture | None


class Recorder(Observer):
    """Keeps before and after of frames that are spread over the video.

    The video is divided into equal intervals, of each of which the first frame with a face is kept, or else its first
    frame. Their length comes from the expected number of frames; where that is unknown or too low, every second one is
    dropped and the length doubled.

    Attributes:
        info: what is known about the source; set when the swap begins.
        seconds: of each frame, when a player shows it.
        own_seconds: time that keeping pictures took.
    """

    info: VideoInfo

    def __init__(self) -> None:
        self.seconds = array("d")
        self.own_seconds = 0.0
        self._interval = 1
        self._samples: dict[int, Sample] = {}
        self._originals: dict[int, Frames] = {}

    def begin(self, info: VideoInfo, expected_frames: int | None) -> None:
        self.info = info
        self._interval = max(1, (expected_frames or 0) // PLACES)

    def before(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        self.seconds.extend(float(pts * frames.time_base - self.info.origin) for pts in frames.pts)
        with self._timed():
            self._originals = {b: copy_of(frames, b) for b in self._candidates(first_frame, frames, faces)}

    def after(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        with self._timed():
            for b, original in self._originals.items():
                frame = first_frame + b
                sample = _sample(frame, self.seconds[frame], original, copy_of(frames, b), faces.of_frame(b))
                self._keep(frame // self._interval, sample)
            self._originals = {}
            while len(self._samples) > 2 * PLACES:
                self._widen()

    def _candidates(self, first_frame: int, frames: Frames, faces: Faces) -> set[int]:
        """Frames of the batch of which a picture is needed: in each place the first one, and the first with a face."""
        with_faces = set(faces.frame_index.tolist())
        wanted: dict[tuple[int, bool], int] = {}
        for b in range(len(frames)):
            place = (first_frame + b) // self._interval
            kept = self._samples.get(place)
            if kept is None or (not kept.faces and b in with_faces):
                wanted.setdefault((place, b in with_faces), b)
        return set(wanted.values())

    def _keep(self, place: int, sample: Sample) -> None:
        kept = self._samples.get(place)
        if kept is None or (not kept.faces and sample.faces):
            self._samples[place] = sample

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.own_seconds += time.perf_counter() - started

    def _widen(self) -> None:
        self._interval *= 2
        samples, self._samples = self._samples, {}
        for place, sample in sorted(samples.items()):
            self._keep(place // 2, sample)

    def samples(self) -> list[Sample]:
        """At most ``SHOWN`` frames, spread evenly over those with faces, or over all where none has any."""
        found = [sample for _, sample in sorted(self._samples.items())]
        found = [sample for sample in found if sample.faces] or found
        if len(found) <= SHOWN:
            return found
        return [found[round(i * (len(found) - 1) / (SHOWN - 1))] for i in range(SHOWN)]


def _sample(frame: int, seconds: float, before: Frames, after: Frames, faces: Faces) -> Sample:
    face_before = face_after = None
    if len(faces):
        square = around(faces, before.display_size)
        face_before, face_after = close_up(before, square), close_up(after, square)
    return Sample(frame, seconds, len(faces), whole(before), whole(after), face_before, face_after)
