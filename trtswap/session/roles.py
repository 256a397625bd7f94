"""What each thread of a video's swap does: decode, detect, swap, paste, encode."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trtswap.canvas.pipeline import Made, Pipeline
from trtswap.faces import Faces
from trtswap.faces.cast import Casting
from trtswap.faces.follow import Follower
from trtswap.faces.largest import largest
from trtswap.options import SwapOptions
from trtswap.pixels.frames import Frames
from trtswap.session.flow import Flow, Role, run_in_turn, side_by_side
from trtswap.session.handover import handover_for
from trtswap.session.observers import Observer
from trtswap.session.stopwatch import Clock
from trtswap.video.reader import Reader
from trtswap.video.writer import VideoWriter


@dataclass(frozen=True)
class Batch:
    """A batch of frames on its way from one role to the next.

    Attributes:
        first_frame: number of its first frame.
        frames: unchanged until it has been pasted into.
        faces: tracked faces, all of them.
        cast: those that get an identity, and ``latents`` float32 [N, D], which one.
        made: their swapped faces, once they are made.
    """

    first_frame: int
    frames: Frames
    faces: Faces
    cast: Faces
    latents: Tensor
    made: Made | None = None


def tracked(
    batches: Iterable[Frames], pipeline: Pipeline, options: SwapOptions, casting: Casting, clock: Clock
) -> Iterator[tuple[int, Frames, Faces]]:
    """Batches with the number of their first frame and their tracked faces, as soon as these are complete."""
    follower = Follower(
        pipeline.detect,
        casting,
        smooth=options.smooth,
        fill=options.fill,
        detect_every=options.detect_every,
        stopwatch=clock,
    )
    for batch in batches:
        for followed in follower.push(batch):
            yield followed.first_frame, followed.frames, followed.faces
    for followed in follower.flush():
        yield followed.first_frame, followed.frames, followed.faces


class VideoSwap:
    """The roles of one swap of one video.

    Args:
        observers: are shown each batch before and after it is changed.
        pipelined: work on several batches at the same time, a thread for each role and worker; without it on one batch
            after the other, all in the thread that calls :meth:`run`.

    Attributes:
        faces_per_frame: swapped faces of each frame pasted so far.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        options: SwapOptions,
        casting: Casting,
        clock: Clock,
        observers: Sequence[Observer] = (),
        *,
        pipelined: bool = True,
    ):
        self.faces_per_frame: list[int] = []
        self._pipeline = pipeline
        self._options = options
        self._casting = casting
        self._clock = clock
        self._observers = observers
        self._pipelined = pipelined

    def run(self, roles: Sequence[Role]) -> None:
        """Work until the stream has ended; see :class:`~trtswap.session.flow.Flow`."""
        if self._pipelined:
            Flow(roles, handover=handover_for(self._pipeline.device)).run()
        else:
            run_in_turn(roles)

    def roles(self, reader: Reader, writer: VideoWriter) -> tuple[Role, ...]:
        """In the order of the work; each may run in a thread of its own. Reader and writer are not closed."""
        return (
            Role("decode", lambda _: self.decode(reader)),
            Role("detect", self.detect),
            Role("swap", self.swap),
            Role("paste", self.paste),
            Role("encode", lambda batches: self.encode(batches, writer)),
        )

    def decode(self, reader: Reader) -> Iterator[Frames]:
        batches = iter(reader)
        while True:
            with self._clock.stage("decode"):
                frames = next(batches, None)
            if frames is None:
                return
            yield frames.to(self._pipeline.device)

    def detect(self, batches: Iterator[Frames]) -> Iterator[Batch]:
        for first, frames, faces in tracked(batches, self._pipeline, self._options, self._casting, self._clock):
            wanted = largest(faces) if self._options.faces == "largest" else faces
            yield Batch(first, frames, faces, *self._casting.assign(wanted, first))

    def swap(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        def made(batch: Batch) -> Batch:
            return replace(batch, made=self._pipeline.make(batch.frames, batch.cast, batch.latents, self._clock))

        workers = self._options.workers if self._pipelined else 1
        yield from side_by_side(made, batches, workers=workers, name="trtswap-swap")

    def paste(self, batches: Iterator[Batch]) -> Iterator[Frames]:
        """Gives out frames on the host."""
        for batch in batches:
            for observer in self._observers:
                observer.before(batch.first_frame, batch.frames, batch.faces)
            if batch.made is not None:
                self._pipeline.paste(batch.frames, batch.made, self._clock)
            self.faces_per_frame += torch.bincount(batch.cast.frame_index, minlength=len(batch.frames)).tolist()
            for observer in self._observers:
                observer.after(batch.first_frame, batch.frames, batch.cast)
            yield batch.frames.to("cpu")

    def encode(self, batches: Iterator[Frames], writer: VideoWriter) -> Iterator[None]:
        """Gives out nothing."""
        for frames in batches:
            with self._clock.stage("encode"):
                writer.write(frames)
        yield from ()
