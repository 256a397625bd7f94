"""Swapper: the one object that a service needs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from trtswap.backends import choose
from trtswap.backends.engine import Engine
from trtswap.canvas.pipeline import Pipeline, largest
from trtswap.errors import InputError, SourceError
from trtswap.faces import Faces
from trtswap.faces.cast import ByReference, Casting, OneForAll, Who
from trtswap.faces.identity import Identity, average
from trtswap.model.pack import Pack
from trtswap.options import SwapOptions
from trtswap.packs import find_pack
from trtswap.pixels.frames import Frames
from trtswap.session.observers import Observer
from trtswap.session.roles import VideoSwap, tracked
from trtswap.session.stopwatch import Clock, Span
from trtswap.video.images import frames_from_rgb, read_image
from trtswap.video.info import VideoInfo
from trtswap.video.opening import open_reader
from trtswap.video.reader import Loss, Reader
from trtswap.video.writer import VideoWriter, WriteOptions

# Detection alone casts nobody.
NOBODY = OneForAll(Identity(torch.zeros(0)))
# Source pictures are often close-ups; a face that fills the picture is found in a smaller copy of it. Shares of the
# size that the pack's detector searches: engines are built for no more.
SOURCE_SHARES = (1.0, 0.5, 0.25)


@dataclass(frozen=True)
class SwapResult:
    """What came out of :meth:`Swapper.swap_video`.

    Attributes:
        frames: frames written.
        faces_per_frame: swapped faces of each frame.
        seconds: wall time by stage; stages overlap in a pipelined swap.
        warnings: everything a careful user should know, one sentence each.
        loss: what the reader expected and did not get, None for a whole video.
        spans: when each stage was at work, oldest first; of a long video the latest.
    """

    frames: int
    faces_per_frame: tuple[int, ...]
    seconds: Mapping[str, float]
    warnings: tuple[str, ...] = field(default=())
    loss: Loss | None = None
    spans: tuple[Span, ...] = field(default=(), repr=False)


class Swapper:
    """Swaps faces in videos and in batches of pictures.

    Args:
        pack: the name of an installed pack, a pack's folder, or a loaded pack.
        backend: ``auto``, ``onnxruntime``, ``openvino``, ``torch`` or ``tensorrt``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: CPU threads of the networks, all workers' together; the backend's default where None.
        options: see :class:`~trtswap.options.SwapOptions`.

    Raises:
        InputError: an option that this backend or device does not take.
        PackError: no such pack, or a broken one.
        BackendError: the backend or device is not available here.

    Use it as a context manager, from one thread at a time.
    """

    def __init__(
        self,
        pack: str | Path | Pack = "avatar",
        *,
        backend: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        options: SwapOptions | None = None,
    ):
        self.pack = pack if isinstance(pack, Pack) else Pack.load(find_pack(pack))
        self.options = options or SwapOptions()
        self.choice = choose(backend, device, graphs=tuple(self.pack.stages.values()))
        self._pipeline = Pipeline(self.pack, self.choice, self.options, threads=threads)

    @property
    def pipeline(self) -> Pipeline:
        """The opened stages, for benchmarks and embedding; they stay the Swapper's own."""
        return self._pipeline

    @property
    def engines(self) -> Mapping[str, Engine]:
        """The open engines by stage; they stay the Swapper's own."""
        return self._pipeline.engines

    def identity(self, *images: Any, pick: str | int = "only") -> Identity:
        """One identity from one or several pictures of the same person.

        Args:
            images: paths, or uint8 RGB arrays [H, W, 3].
            pick: which face of a picture: ``only`` (several are an error), ``largest``, or a number counted
                from the left, starting with 0.

        Raises:
            SourceError: a picture cannot be read, has no face, or not the one asked for; names the picture.
        """
        if not images:
            raise InputError("identity() was given no picture; expected one or more paths or arrays.")
        names = tuple(str(i) if isinstance(i, str | Path) else f"picture {n}" for n, i in enumerate(images, 1))
        latents = [self._latent(image, name, pick) for image, name in zip(images, names, strict=True)]
        return Identity(average(torch.cat(latents)), names)

    def _latent(self, image: Any, name: str, pick: str | int) -> Tensor:
        rgb = read_image(image) if isinstance(image, str | Path) else image
        frames = frames_from_rgb([rgb]).to(self.choice.device)
        whole = self.pack.stages["detect"].size
        found = (self._pipeline.detect(frames, size=round(whole * share)) for share in SOURCE_SHARES)
        faces = next((f for f in found if len(f)), Faces.none())
        return self._pipeline.identify(frames, _pick(faces, name, pick))

    def detect(self, frames: Any) -> Faces:
        """Faces in uint8 RGB pictures [B, H, W, 3] (torch, NumPy or any DLPack or CUDA-array object)."""
        return self._pipeline.detect(frames_from_rgb(frames).to(self.choice.device))

    def swap(self, frames: Any, who: Who) -> Any:
        """Swap faces in a batch of unrelated pictures (no tracking, no smoothing).

        Args:
            frames: uint8 RGB [B, H, W, 3]: torch, NumPy, or any DLPack or CUDA-array object. Not modified.
            who: an identity for all faces, or pairs of (reference, source).

        Returns:
            Swapped pictures: a NumPy array for a NumPy array, else a torch tensor on the engine's device.
        """
        casting = self._casting(who)
        batch = frames_from_rgb(frames, copy=True).to(self.choice.device)
        faces = self._pipeline.detect(batch)
        faces = replace(faces, track=torch.arange(len(faces)))
        casting.look(batch, faces, 0)
        self._swap_batch(batch, faces, casting, Clock())
        out = torch.stack(batch.planes, -1)
        return out.cpu().numpy() if type(frames).__module__ == "numpy" else out

    def detect_video(
        self, source: Path | str | Reader, *, start: float | None = None, end: float | None = None
    ) -> Iterator[tuple[Frames, Faces]]:
        """Tracked faces of a video: batches of frames, each with its faces, in order.

        Args:
            source: a video, or an open reader, which afterwards knows what was lost; it is not closed.
            start, end: seconds of the source to take; an open reader has its own.
        """
        if isinstance(source, Path | str):
            with open_reader(source, batch=self.options.batch, start=start, end=end) as reader:
                yield from self.detect_video(reader)
            return
        batches = (frames.to(self.choice.device) for frames in source)
        for _, frames, faces in tracked(batches, self._pipeline, self.options, NOBODY, Clock()):
            yield frames, faces

    def swap_video(
        self,
        source: Path | str,
        target: Path | str,
        who: Who,
        *,
        start: float | None = None,
        end: float | None = None,
        observers: Sequence[Observer] = (),
        profile: bool = False,
        pipelined: bool = True,
        reader: str = "pyav",
        **writing: Any,
    ) -> SwapResult:
        """Swap faces in a video; sound, subtitles, timing and metadata are carried over.

        Args:
            source, target: the video and the file to write; they differ.
            who: an identity for all faces, or pairs of (reference, source).
            start, end: seconds of the source to take.
            observers: are shown each batch before and after it is changed.
            profile: on a GPU, wait for it at the end of each stage, so that ``seconds`` tells what each took;
                without it, only what the host waited for.
            pipelined: decode, detect, swap, paste and encode at the same time on different batches, a thread each (on
                a GPU a stream each); without it one after the other. The frames are the same.
            reader: who decodes, one of :data:`~trtswap.video.opening.READERS`.
            writing: passed to :class:`~trtswap.video.writer.WriteOptions`: ``codec``, ``crf``, ``preset``,
                ``options``, ``copy_streams``, ``overwrite``.

        Raises:
            ReadError, WriteError: see there. Nothing is left under the target's name after an error.
        """
        clock = Clock(
            synchronise=self.choice.device if profile else None, listeners=[observer.stage for observer in observers]
        )
        with (
            open_reader(
                source, reader=reader, batch=self.options.batch, start=start, end=end, device=self.choice.device
            ) as frames,
            VideoWriter(
                target, frames.info, options=WriteOptions(**writing), source=Path(source), start=start, end=end
            ) as writer,
        ):
            work = VideoSwap(self._pipeline, self.options, self._casting(who), clock, observers, pipelined=pipelined)
            for observer in observers:
                observer.begin(frames.info, expected_frames(frames.info, start, end))
            work.run(work.roles(frames, writer))
            with clock.stage("encode"):
                writer.close()
            warnings = (*frames.warnings, *damage(frames), *writer.warnings)
        counts = work.faces_per_frame
        if not any(counts):
            warnings += (f"No face was found in {source}; the target is a copy.",)
        return SwapResult(len(counts), tuple(counts), clock.seconds, warnings, frames.loss, tuple(clock.spans))

    def _casting(self, who: Who) -> Casting:
        """Check identities against the pack, and say how they are given to faces."""
        for identity in [who] if isinstance(who, Identity) else [i for pair in who for i in pair]:
            if identity.latent.numel() != (expected := self.pack.stages["identify"].latent):
                raise InputError(
                    f"an identity has a latent of {identity.latent.numel()} numbers; pack {self.pack.name} works with "
                    f"{expected}. Make it with identity() of this Swapper."
                )
        if isinstance(who, Identity):
            return OneForAll(who)
        if not who:
            raise InputError("who is an empty list; expected an Identity or pairs of (reference, source).")
        threshold = self.options.similarity
        if threshold is None:
            threshold = self.pack.stages["identify"].threshold
        return ByReference(self._pipeline.identify, who, threshold)

    def _swap_batch(self, frames: Frames, faces: Faces, casting: Casting, clock: Clock) -> Faces:
        """Swap in place; gives back the faces that were swapped."""
        faces, latents = casting.cast(largest(faces) if self.options.faces == "largest" else faces)
        self._pipeline.swap(frames, faces, latents, clock)
        return faces

    def close(self) -> None:
        """Release the engines; may be called twice."""
        self._pipeline.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


def damage(reader: Reader) -> tuple[str, ...]:
    """What of a source was damaged, one sentence, or nothing."""
    packets, frames = reader.damaged_packets, reader.corrupt_frames
    if not packets and not frames:
        return ()
    return (f"The source is damaged: {packets} packets were skipped, {frames} frames were decoded with errors.",)


def expected_frames(info: VideoInfo, start: float | None, end: float | None) -> int | None:
    """How many frames a range of a video holds, as far as its header tells."""
    if start is None and end is None:
        return info.frame_count
    until = min((t for t in (end, info.duration) if t is not None), default=None)
    if until is None or info.average_rate is None:
        return None
    return max(0, round((until - (start or 0)) * info.average_rate))


def _pick(faces: Faces, name: str, pick: str | int) -> Faces:
    """The one face of a source picture, or a SourceError that says how to choose."""
    if not len(faces):
        raise SourceError(f"No face was found in {name}. Expected a picture that shows one, upright and not too small.")
    if pick == "largest":
        return largest(faces)
    order = faces.box[:, 0].argsort(stable=True)
    if isinstance(pick, int):
        if pick not in range(len(faces)):
            raise SourceError(
                f"{name} has {len(faces)} faces; number {pick} does not exist (they count from 0, from the left)."
            )
        return faces[order[pick : pick + 1]]
    if pick != "only":
        raise InputError(f"pick is {pick!r}, expected 'only', 'largest' or a number.")
    if len(faces) > 1:
        raise SourceError(
            f"{name} shows {len(faces)} faces. Say which one: the largest, or a number from 0 to {len(faces) - 1}, "
            "counted from the left (--source-face largest, --source-face 0)."
        )
    return faces
