"""Session: one stream of frames through a runtime."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from torch import Tensor

from trtswap.arguments import expect, expect_all
from trtswap.backends.device import device_of
from trtswap.backends.runtime import Runtime, Watcher
from trtswap.canvas.batch import SwappedFaces
from trtswap.canvas.pipeline import Opened, Pipeline
from trtswap.errors import InputError, SessionError
from trtswap.faces import Faces
from trtswap.faces.cast import ByReference, Casting, Nobody, OneForAll, Who
from trtswap.faces.dense import DenseLandmarks
from trtswap.faces.detect import Detector
from trtswap.faces.follow import Followed, Follower, Unrelated
from trtswap.faces.identity import Identifier, Identity
from trtswap.faces.largest import LargestFace
from trtswap.faces.small import LargeEnough
from trtswap.options import SwapOptions
from trtswap.pictures.arrays import frames_from_rgb
from trtswap.pixels.frames import Frames
from trtswap.session.observers import Observer, Summary
from trtswap.session.stopwatch import Stopwatch

Finder = Callable[[Frames], Faces]


@dataclass(frozen=True)
class Batch:
    """A batch of frames on its way through a session.

    Attributes:
        first_frame: number of its first frame in the stream.
        frames: unchanged until it has been pasted into.
        faces: tracked faces, all of them.
        cast: those that get an identity, and ``latents`` float32 [N, D], which one.
        swapped: their swapped faces, once they are made.
    """

    first_frame: int
    frames: Frames
    faces: Faces
    cast: Faces
    latents: Tensor
    swapped: SwappedFaces | None = None


class Session:
    """One stream of frames: its tracks, its people, its options. Any number of sessions share a runtime.

    :meth:`push` takes frames as they come, and gives out those that are ready, in order; :meth:`flush` gives out the
    rest. A frame is ready when what follows it is known far enough for its faces to be steady: some frames later (none
    with ``smooth=0, fill=0``). Frames of a stream may be pushed in batches of any size; the results are the same.

    Who runs the parts of the work in threads of his own calls, in place of :meth:`push`: :meth:`follow` and
    :meth:`follow_rest` in one thread, :meth:`make` in as many as the runtime has workers, and :meth:`paste` in one, the
    batches in order.

    Args:
        runtime: opened engines; stays the caller's.
        who: an identity for all faces, or pairs of (reference, source); None only follows faces and changes nothing.
        options: of this request.
        observers: are told what happens.
        stopwatch: takes the time of each stage, and tells its own listeners; one that tells the observers where None.
        related: the frames follow each other in time. Without it they are unrelated pictures: nothing is tracked,
            smoothed or filled, and every batch is ready at once.
        finder: finds the faces of some frames, in place of the pack's detector.

    Attributes:
        frames: frames given out so far.
        faces_swapped: faces swapped in them, counted in every frame.
        faces_found: faces that were followed so far, swapped or not, counted in every frame.

    Raises:
        InputError: an identity is of another pack, or ``who`` is empty.
        SessionError: from every method that takes or gives frames, once the stream has ended or something has failed:
            frames are missing then, so that what follows would not be what it should be.
    """

    def __init__(
        self,
        runtime: Runtime,
        who: Who | None,
        options: SwapOptions | None = None,
        *,
        observers: Sequence[Observer] = (),
        stopwatch: Stopwatch | None = None,
        related: bool = True,
        finder: Finder | None = None,
    ) -> None:
        expect("runtime", runtime, Runtime, "an opened Runtime")
        expect("options", options, SwapOptions | None, "SwapOptions")
        expect_all("observers", observers, Observer, "an Observer")
        self.runtime = runtime
        self.options = options or SwapOptions()
        self.stopwatch = stopwatch or Stopwatch(listeners=[observer.stage for observer in observers])
        self.frames = self.faces_swapped = self.faces_found = 0
        self._unsound: Tensor | int = 0
        self._ended = False
        self._failed: str | None = None  # by what
        self._batch: int | None = None
        self._observers = tuple(observers)
        watchers = _watchers(self._observers)
        self._pipeline = Pipeline(Opened(runtime, self.options, watchers), self.stopwatch)
        self._cast = _casting(runtime, who, self.options, watchers)
        self._follower = self._new_follower(finder or detector(runtime, self.options, watchers), related)
        self._large, self._largest = LargeEnough(self.options.min_face), LargestFace()
        self._making: deque[Future[Any]] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def summary(self) -> Summary:
        """What became of the stream so far; on a GPU the host waits for what was queued."""
        best, similarity = (None, None)
        if isinstance(self._cast, ByReference):
            best, similarity = self._cast.best_cosine, self._cast.threshold
        return Summary(
            self.frames,
            self.faces_found,
            self.faces_swapped,
            int(self._unsound),
            best_cosine=best,
            similarity=similarity,
        )

    def prepare(self, display_size: tuple[int, int], batch: int) -> None:
        """Have the detector ready for such frames before the first of them comes; on a GPU its work is captured now.

        Args:
            display_size: (width, height), pixels.
            batch: frames that will be pushed at once.
        """
        find, every = detector(self.runtime, self.options), self.options.detect_every
        for searched in {-(-batch // every), max(1, batch // every)}:  # whichever frame of it is searched first
            find.prepare(display_size, searched)

    def push(self, frames: Any) -> list[Frames]:
        """Take the next frames, at least one; gives out the batches that are ready, oldest first.

        Args:
            frames: :class:`~trtswap.pixels.frames.Frames`, or uint8 RGB [B, H, W, 3] as
                :func:`~trtswap.pictures.arrays.pixels_of` takes it. They are the session's until they come back, and
                faces are pasted into them, an array's own memory too where it lies on the runtime's device and can be
                shared. More than the runtime's ``batch`` come back in several;
                :meth:`~trtswap.pixels.frames.Frames.pictures` makes arrays of them again.
        """
        return self._passed(self.follow(frames), ended=False)

    def flush(self) -> list[Frames]:
        """No more frames follow: gives out the rest, oldest first. The session is at its end then."""
        return self._passed(self.follow_rest(), ended=True)

    def follow(self, frames: Any) -> list[Batch]:
        """Find, follow and cast faces; gives out the batches whose faces are known now, oldest first."""
        if not isinstance(frames, Frames):
            frames = frames_from_rgb(frames)
        with self._working():
            return [
                self._with_cast(followed)
                for part in in_parts(frames, self._at_once(frames))
                for followed in self._follower.push(part.to(self.runtime.device))
            ]

    def follow_rest(self) -> list[Batch]:
        """The batches that waited for frames after them, oldest first; no more are taken."""
        with self._working():
            rest = [self._with_cast(followed) for followed in self._follower.flush()]
        self._ended = True
        return rest

    def make(self, batch: Batch) -> Batch:
        """The same batch with its swapped faces; may be called by as many threads at once as there are workers."""
        with self._working(rest=True):
            return replace(batch, swapped=self._pipeline.make(batch.frames, batch.cast, batch.latents))

    def paste(self, batch: Batch) -> Frames:
        """The batch's frames with the faces in them; batches come in order."""
        with self._working(rest=True):
            for observer in self._observers:
                observer.before(batch.first_frame, batch.frames, batch.faces)
            if batch.swapped is not None:
                self._pipeline.paste(batch.frames, batch.swapped)
                self._unsound = self._unsound + batch.swapped.unsound
            self.frames += len(batch.frames)
            self.faces_swapped += len(batch.cast)
            for observer in self._observers:
                observer.after(batch.first_frame, batch.frames, batch.cast)
        return batch.frames

    def close(self) -> None:
        """End the session and its threads, if it has any; may be called twice."""
        self._ended = True
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    @contextmanager
    def _working(self, *, rest: bool = False) -> Iterator[None]:
        """Work on the stream, or on what is left of it after its end; an error ends it."""
        self.runtime.check_process()
        if self._failed is not None:
            raise SessionError(f"The session cannot go on: it failed before ({self._failed}). Start another one.")
        if self._ended and not rest:
            raise SessionError("The session has ended, so that it takes no more frames. Start another one.")
        try:
            yield
        except BaseException as error:
            self._failed = f"{type(error).__name__}: {error}".rstrip(".: ")
            raise

    def _at_once(self, frames: Frames) -> int:
        """Decided with the first frames, so that the whole stream is worked on alike."""
        if self._batch is None:
            self._batch = self.runtime.frames_at_once(frames.frame_bytes)
        return self._batch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def _new_follower(self, find: Finder, related: bool) -> Follower | Unrelated:
        options = self.options
        if not related:
            return Unrelated(find, self._cast, stopwatch=self.stopwatch)
        return Follower(
            find,
            self._cast,
            smooth=options.smooth,
            fill=options.fill,
            detect_every=options.detect_every,
            stopwatch=self.stopwatch,
        )

    def _with_cast(self, followed: Followed) -> Batch:
        self.faces_found += len(followed.faces)
        faces = self._large.choose(followed.faces)
        if self.runtime.pack.needs_points:  # a profile, or the back of a head
            faces = faces[faces.fit > 0]
        if self.options.faces == "largest":
            faces = self._largest.choose(faces)
        cast, latents = self._cast.assign(faces, followed.first_frame)
        return Batch(followed.first_frame, followed.frames, followed.faces, cast, latents)

    def _passed(self, batches: Iterable[Batch], *, ended: bool) -> list[Frames]:
        """Make faces, each batch by a worker of its own where there are several, and paste those that are made."""
        if self.runtime.options.workers == 1:
            return [self.paste(self.make(batch)) for batch in batches]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.runtime.options.workers, thread_name_prefix="trtswap-swap")
        device = device_of(self.runtime.device)
        self._making += [self._pool.submit(self._make_in, device.role("swap"), device.send(batch)) for batch in batches]
        ready = []
        while self._making and (ended or self._making[0].done() or len(self._making) > self.runtime.options.workers):
            ready.append(self.paste(device.receive(self._making.popleft().result())))
        if ended:
            self.close()
        return ready

    def _make_in(self, place: AbstractContextManager[None], parcel: Any) -> Any:
        """A worker's part: on a GPU its stream is not the caller's."""
        device = device_of(self.runtime.device)
        with place:
            return device.send(self.make(device.receive(parcel)))


def in_parts(frames: Frames, most: int) -> Iterator[Frames]:
    """The same frames, at most so many at once; they share memory."""
    for start in range(0, len(frames), most):
        yield frames[start : start + most]


def detector(runtime: Runtime, options: SwapOptions, watchers: Sequence[Watcher] = ()) -> Detector:
    """A pack's detector with the options of a request."""
    return Detector(
        runtime.stage("detect", watchers),
        threshold=options.detect_threshold,
        max_faces=options.max_faces,
        size=options.search_size,
        dense=_dense(runtime, watchers) if "landmarks" in runtime.engines else None,
    )


def _dense(runtime: Runtime, watchers: Sequence[Watcher]) -> DenseLandmarks:
    return DenseLandmarks(runtime.stage("landmarks", watchers), runtime.pack.stages["detect"].offsets)


def _watchers(observers: Iterable[Observer]) -> tuple[Watcher, ...]:
    """Those that want to see what graphs do: only they are called at every run."""
    return tuple(observer.ran for observer in observers if type(observer).ran is not Observer.ran)


def _pairs(who: Any) -> list[tuple[Identity, Identity]]:
    if not isinstance(who, Sequence) or isinstance(who, str | bytes):
        raise InputError(f"who is a {type(who).__name__}; expected an Identity or pairs of (reference, source).")
    for pair in who:
        if not isinstance(pair, Sequence) or len(pair) != 2 or not all(isinstance(one, Identity) for one in pair):
            raise InputError(
                f"who holds {type(pair).__name__}; expected pairs of (reference, source), each an Identity; one for "
                "all faces is given by itself."
            )
    return list(who)


def _casting(runtime: Runtime, who: Who | None, options: SwapOptions, watchers: Sequence[Watcher]) -> Casting:
    """Check identities against the pack, and say how they are given to faces."""
    if who is None:
        return Nobody()
    for identity in [who] if isinstance(who, Identity) else [i for pair in _pairs(who) for i in pair]:
        identity.check(runtime.pack)
    device = runtime.device
    if isinstance(who, Identity):
        return OneForAll(who.to(device))
    if not who:
        raise InputError("who is an empty list; expected an Identity or pairs of (reference, source).")
    pairs = [(reference.to(device), source.to(device)) for reference, source in who]
    threshold = runtime.pack.similarity(options.similarity)
    return ByReference(Identifier(runtime.stage("identify", watchers)), pairs, threshold)
