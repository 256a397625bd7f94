"""Swapper: the one object that a service needs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from trtswap.arguments import expect, expect_all
from trtswap.backends import Choice
from trtswap.backends.engine import Engine
from trtswap.backends.runtime import Runtime
from trtswap.errors import InputError, SourceError
from trtswap.faces import Faces, sources
from trtswap.faces.cast import Who
from trtswap.faces.identity import Identifier, Identity, average
from trtswap.faces.largest import largest
from trtswap.faces.pose import pose_of
from trtswap.faces.posed import BestFrames
from trtswap.files import Target
from trtswap.limits import Limits
from trtswap.model.pack import Pack
from trtswap.options import RuntimeOptions, SwapOptions
from trtswap.packs import DEFAULT_PACK
from trtswap.pictures.arrays import frames_from_rgb, pixels_of, read_image
from trtswap.pictures.picture import read_picture
from trtswap.pictures.saving import check_suffix, fitted, save
from trtswap.pixels.frames import Frames
from trtswap.session.observers import Observer, Summary
from trtswap.session.session import Session, detector, in_parts
from trtswap.session.stopwatch import Span, Stopwatch
from trtswap.session.video import run_video
from trtswap.video.containers import CONTAINERS
from trtswap.video.info import VideoInfo
from trtswap.video.opening import open_reader
from trtswap.video.reader import Loss, Reader
from trtswap.video.writer import VideoWriter, WriteOptions

# Source pictures are often close-ups; a face that fills the picture is found in a smaller copy of it. Shares of the
# size that the pack's detector searches: engines are built for no more.
SOURCE_SHARES = (1.0, 0.5, 0.25)
VIDEOS = frozenset((*CONTAINERS, ".avi", ".mpg", ".mpeg", ".flv", ".wmv", ".3gp"))
"""Names of what is a video and no picture."""
LOOKED_AT = 250  # frames of a source's video


@dataclass(frozen=True)
class SwapResult:
    """What came out of :meth:`Swapper.swap_video`.

    Attributes:
        frames: frames written.
        faces_per_frame: swapped faces of each frame.
        seconds: wall time by stage, in the order of the work; stages overlap in a pipelined swap.
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


@dataclass(frozen=True)
class _SourceFace:
    """The face of a picture, float32 [1, D] from each graph, and what speaks against the picture."""

    face: Faces
    latents: Mapping[str, Tensor]
    doubts: tuple[str, ...]


class Swapper:
    """Swaps faces in videos and in batches of pictures.

    Args:
        pack: the name of an installed pack, a pack's folder, or a loaded pack; ``mesh`` where None.
        backend: ``auto``, ``onnxruntime``, ``openvino``, ``torch`` or ``tensorrt``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: short for ``RuntimeOptions(threads=...)``.
        options: of all requests that bring none of their own; see :class:`~trtswap.options.SwapOptions`.
        runtime: what is settled when engines are opened; or an opened runtime, which decides pack, backend and device,
            may be shared by several Swappers, and stays the caller's.

    Raises:
        InputError: an option that this backend or device does not take.
        PackError: no such pack, or a broken one.
        BackendError: the backend or device is not available here.

    Use it as a context manager. Any number of threads may call it at a time; it is closed once all of them are done.
    """

    def __init__(
        self,
        pack: str | Path | Pack | None = None,
        *,
        backend: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        options: SwapOptions | None = None,
        runtime: RuntimeOptions | Runtime | None = None,
    ) -> None:
        expect("options", options, SwapOptions | None, "SwapOptions")
        expect("runtime", runtime, RuntimeOptions | Runtime | None, "RuntimeOptions or a Runtime")
        self.options = options or SwapOptions()
        self._owned = not isinstance(runtime, Runtime)
        if isinstance(runtime, Runtime):
            if pack is not None or threads is not None or (backend, device) != ("auto", "auto"):
                raise InputError(
                    f"pack is {pack!r}, backend {backend!r}, device {device!r}, threads {threads}, but the runtime is "
                    "opened and has decided these; expected them to be left out."
                )
            self.runtime = runtime
            return
        chosen = runtime or RuntimeOptions()
        if threads is not None:
            if chosen.threads not in (None, threads):
                raise InputError(f"threads is {threads}, but {chosen.threads} in runtime; expected one of them.")
            chosen = replace(chosen, threads=threads)
        self.runtime = Runtime(DEFAULT_PACK if pack is None else pack, backend=backend, device=device, options=chosen)

    @property
    def pack(self) -> Pack:
        return self.runtime.pack

    @property
    def _limits(self) -> Limits:
        return self.runtime.options.limits

    @property
    def choice(self) -> Choice:
        """Backend and device that run, and why."""
        return self.runtime.choice

    @property
    def engines(self) -> Mapping[str, Engine]:
        """The open engines by stage; they stay the runtime's."""
        return self.runtime.engines

    def identity(self, *images: Any, pick: str | int = "only") -> Identity:
        """One identity from one or several pictures of the same person.

        Args:
            images: paths, PIL images, the bytes of picture files, or uint8 RGB arrays [H, W, 3]; the path of a video
                stands for its best frames, up to five, by pose, sharpness, and open eyes.
            pick: which face of a picture: ``only`` (several are an error), ``largest``, or a number counted
                from the left, starting with 0.

        Raises:
            SourceError: a picture cannot be read, has no face, or not the one asked for; names the picture.
            ReadError: a video cannot be read.
        """
        if not images:
            raise InputError("identity() was given no picture; expected one or more paths or arrays.")
        expect("pick", pick, str | int, "'only', 'largest' or a number")
        named = [pair for n, image in enumerate(images, 1) for pair in self._pictures_of(image, n, pick)]
        names = tuple(name for name, _ in named)
        stages = list(dict.fromkeys(("identify", self.pack.coder.name)))
        found = [self._looked_at(image, name, pick, stages) for name, image in named]
        rows = {stage: torch.cat([one.latents[stage] for one in found]) for stage in stages}
        how = self.pack.coder.average
        code = average(rows["encode"], how) if "encode" in rows else None
        several = how == "nearest" and len(found) > 1
        made_by = {stage: self.pack.stages[stage].sha256 for stage in stages}
        return Identity(
            average(rows["identify"]),
            names,
            self.pack.name,
            made_by["identify"],
            code,
            made_by.get("encode", ""),
            doubts=tuple(f"{name}: {doubt}." for name, one in zip(names, found, strict=True) for doubt in one.doubts),
            poses=pose_of(torch.cat([one.face.points for one in found])).turns if several else None,
        )

    def _pictures_of(self, image: Any, number: int, pick: str | int) -> list[tuple[str, Any]]:
        """A picture with its name; of a video its best frames."""
        if not isinstance(image, str | Path):
            return [(f"picture {number}", image)]
        if Path(image).suffix.lower() not in VIDEOS:
            return [(str(image), image)]
        best, find = BestFrames(), detector(self.runtime, self.options)
        with open_reader(image, batch=1, limits=self._limits) as reader:
            step = max(1, (expected_frames(reader.info, None, None) or 0) // LOOKED_AT)
            for position, frames in enumerate(reader):
                if position % step == 0:
                    part = frames.to(self.choice.device)
                    faces = find(part)
                    best.look(part, largest(faces) if pick == "largest" or len(faces) == 1 else Faces.none())
        if not best.found:
            raise SourceError(
                f"{image}: none of {best.looked} frames shows one face alone, sharp, from the front and with open "
                "eyes. Expected a video of one person (of several, --source-face largest), or pictures."
            )
        return [(f"{image}, frame {shown.frame * step}", shown.rgb) for shown in best.found]

    def _looked_at(self, image: Any, name: str, pick: str | int, stages: Sequence[str]) -> "_SourceFace":
        """The face of a picture, and what graphs make of it."""
        rgb = read_image(image, limits=self._limits) if isinstance(image, str | Path | bytes) else image
        frames, faces = self._faces_of_source(frames_from_rgb([rgb]))
        face = _pick(faces, name, pick)
        if self.pack.coder.points and not float(face.fit[0]) > 0:
            raise SourceError(
                f"{name}: the face is turned away too far to be measured. Expected one that shows both eyes."
            )
        latents = {stage: Identifier(self.runtime.stage(stage))(frames, face) for stage in stages}
        for stage, latent in latents.items():
            if not latent.isfinite().all():
                raise SourceError(
                    f"{name}: the {stage} graph of pack {self.pack.name} gave no numbers (NaN or infinity)."
                )
        return _SourceFace(face, latents, sources.doubts(frames, face))

    def _faces_of_source(self, upright: Frames) -> tuple[Frames, Faces]:
        """A picture and its faces; turned by quarters where none is found in it as it is, nor in smaller copies."""
        find = detector(self.runtime, self.options)
        for quarter in range(4):
            frames = _turned(upright, quarter).to(self.choice.device)
            for share in SOURCE_SHARES:
                if len(faces := find(frames, size=round(find.size * share))):
                    return frames, faces
        return upright, Faces.none()

    def session(
        self,
        who: Who | None,
        *,
        options: SwapOptions | None = None,
        observers: Sequence[Observer] = (),
    ) -> Session:
        """A stream of frames of its own, for live video and for whoever decodes by himself.

        Args:
            who: an identity for all faces, or pairs of (reference, source); None only follows faces.
            options: of this stream; the Swapper's where None.
            observers: are told what happens.

        Raises:
            InputError: an identity is of another pack, or ``who`` is empty.
        """
        return Session(self.runtime, who, self._of(options), observers=observers)

    def _of(self, options: SwapOptions | None) -> SwapOptions:
        return self.options if options is None else options

    def detect(self, frames: Any) -> Faces:
        """Faces in uint8 RGB pictures [B, H, W, 3] (torch, NumPy or any DLPack or CUDA-array object)."""
        batch, find = frames_from_rgb(frames), detector(self.runtime, self.options)
        found, first = [], 0
        for part in in_parts(batch, self.runtime.frames_at_once(batch.frame_bytes)):
            faces = find(part.to(self.choice.device))
            found.append(replace(faces, frame_index=faces.frame_index + first))
            first += len(part)
        return Faces.cat(found)

    def swap(
        self,
        frames: Any,
        who: Who,
        *,
        out: Any = None,
        options: SwapOptions | None = None,
        observers: Sequence[Observer] = (),
    ) -> Any:
        """Swap faces in a batch of unrelated pictures (no tracking, no smoothing).

        Args:
            frames: uint8 RGB [B, H, W, 3]: torch, NumPy, or any DLPack or CUDA-array object. Not modified.
            who: an identity for all faces, or pairs of (reference, source).
            out: an array of the same shape that takes the swapped pictures, of any of these kinds, on any device;
                ``out=frames`` swaps in place: where they lie on the engine's device no pixel is copied.
            options: of this request; the Swapper's where None.
            observers: are told what happens.

        Returns:
            ``out`` where it is given; else a NumPy array for a NumPy array, and otherwise a torch tensor on the
            engine's device.

        Raises:
            InputError: ``frames`` or ``out`` is no such array, ``out`` cannot be written into as it is, or their shapes
                differ.
        """
        _expect_somebody(who)
        pixels, device = pixels_of(frames), self.choice.device
        target = None if out is None else pixels_of(out, copy=False)
        if target is not None and target.shape != pixels.shape:
            raise InputError(
                f"out is {list(target.shape)}, but frames are {list(pixels.shape)}; expected equal shapes."
            )
        with Session(self.runtime, who, self._of(options), observers=observers, related=False) as session:
            made = _put(pixels, target, device)
            session.push(made)  # faces are pasted into these very pixels
            session.flush()
            for observer in observers:
                observer.end(session.summary())
        if target is not None and made is not target:
            target.copy_(made)
        if out is not None:
            return out
        return made.cpu().numpy() if type(frames).__module__ == "numpy" else made

    def detect_video(
        self,
        source: Path | str | Reader,
        *,
        start: float | None = None,
        end: float | None = None,
        options: SwapOptions | None = None,
    ) -> Iterator[tuple[Frames, Faces]]:
        """Tracked faces of a video: batches of frames, each with its faces, in order.

        Args:
            source: a video, or an open reader, which afterwards knows what was lost; it is not closed.
            start, end: seconds of the source to take; an open reader has its own.
            options: of this request; the Swapper's where None.
        """
        expect("source", source, Path | str | Reader, "a video's path, or an open reader")
        if isinstance(source, Path | str):
            batch = self.runtime.options.batch
            with open_reader(source, batch=batch, start=start, end=end, limits=self._limits) as reader:
                yield from self.detect_video(reader, options=options)
            return
        session = self.session(None, options=options)
        for frames in source:
            yield from ((batch.frames, batch.faces) for batch in session.follow(frames))
        yield from ((batch.frames, batch.faces) for batch in session.follow_rest())

    def swap_video(
        self,
        source: Path | str,
        target: Path | str | Target,
        who: Who,
        *,
        start: float | None = None,
        end: float | None = None,
        options: SwapOptions | None = None,
        observers: Sequence[Observer] = (),
        profile: bool = False,
        pipelined: bool = True,
        reader: str = "pyav",
        codec: str = "auto",
        crf: float = 18,
        preset: str = "medium",
        pixel_format: str = "auto",
        encoder_options: Mapping[str, str] | None = None,
        copy_streams: bool = True,
        audio: str = "copy",
        overwrite: bool = False,
    ) -> SwapResult:
        """Swap faces in a video; sound, subtitles, timing and metadata are carried over.

        Args:
            source, target: the video and the file to write, or what was claimed for it before; they differ.
            who: an identity for all faces, or pairs of (reference, source).
            start, end: seconds of the source to take.
            options: of this request; the Swapper's where None.
            observers: are shown each batch before and after it is changed.
            profile: on a GPU, wait for it at the end of each stage, so that ``seconds`` tells what each took;
                without it, only what the host waited for.
            pipelined: see :func:`~trtswap.session.video.run_video`. The frames are the same.
            reader: who decodes, one of :data:`~trtswap.video.opening.READERS`.
            codec, crf, preset, pixel_format, encoder_options, copy_streams, audio, overwrite: see
                :class:`~trtswap.video.writer.WriteOptions`.

        Raises:
            ReadError, BusyError, WriteError: see there. Nothing is left under the target's name after an error.
        """
        expect("source", source, Path | str, "a video's path")
        expect("target", target, Path | str | Target, "the path of the file to write")
        expect("profile", profile, bool, "True or False")
        expect("pipelined", pipelined, bool, "True or False")
        expect_all("observers", observers, Observer, "an Observer")
        _expect_somebody(who)
        device = self.choice.device
        watch = Stopwatch(synchronise=device if profile else None, listeners=[observer.stage for observer in observers])
        counts = _Counts()
        writing = WriteOptions(
            codec=codec, crf=crf, preset=preset, pixel_format=pixel_format,
            options={} if encoder_options is None else encoder_options,
            copy_streams=copy_streams, audio=audio, overwrite=overwrite,
        )  # fmt: skip
        batch = self.runtime.options.batch
        with (
            open_reader(
                source, reader=reader, batch=batch, start=start, end=end, device=device, limits=self._limits
            ) as frames,
            VideoWriter(target, frames.info, options=writing, source=Path(source), start=start, end=end) as writer,
            Session(self.runtime, who, self._of(options), observers=[*observers, counts], stopwatch=watch) as session,
        ):
            for observer in observers:
                observer.begin(frames.info, expected_frames(frames.info, start, end))
            session.prepare(frames.info.display_size, frames.batch_size)
            run_video(session, frames, writer, pipelined=pipelined)
            with watch.stage("encode"):
                writer.close()
            warnings = (*frames.warnings, *damage(frames), *writer.warnings)
        summary = session.summary()
        for observer in observers:
            observer.end(summary)
        warnings += self._warnings(source, who, summary, session.options)
        per_frame, spans = tuple(counts.of_frames), tuple(watch.spans)
        return SwapResult(session.frames, per_frame, watch.seconds, warnings, frames.loss, spans)

    def swap_picture(
        self,
        source: Path | str,
        target: Path | str | Target,
        who: Who,
        *,
        options: SwapOptions | None = None,
        observers: Sequence[Observer] = (),
        overwrite: bool = False,
    ) -> SwapResult:
        """Swap faces in a picture's file; everything but the faces stays as it is, to the bit where the format is
        lossless: transparency, 16 bits, EXIF, profile, resolution, an animation's times.

        Args:
            source, target: the picture, or animation, and the file to write; the suffix chooses the format, one of
                :data:`~trtswap.pictures.saving.SUFFIXES`.
            who: an identity for all faces, or pairs of (reference, source).
            options: of this request; the Swapper's where None. Faces of an animation are followed, as in a video.
            observers: are shown each batch before and after it is changed.
            overwrite: replace an existing file.

        Raises:
            SourceError, LimitError: the picture cannot be read.
            BusyError, WriteError: the target cannot be written; nothing is left under its name then.
        """
        expect("source", source, Path | str, "a picture's path")
        expect("target", target, Path | str | Target, "the path of the file to write")
        expect("overwrite", overwrite, bool, "True or False")
        expect_all("observers", observers, Observer, "an Observer")
        _expect_somebody(who)
        path = target.path if isinstance(target, Target) else Path(target)
        check_suffix(path)
        place = target if isinstance(target, Target) else Target(path, source=Path(source), overwrite=overwrite)
        with place:
            picture = fitted(read_picture(source, self._limits), path)
            counts, related = _Counts(), len(picture.samples) > 1
            watching = [*observers, counts]
            with Session(self.runtime, who, self._of(options), observers=watching, related=related) as session:
                out = [*session.push(picture.frames()), *session.flush()]
            planes = [torch.cat([part.planes[number] for part in out]) for number in range(3)]
            save(picture.with_frames(replace(out[0], planes=(planes[0], planes[1], planes[2]))), place)
        summary = session.summary()
        for observer in observers:
            observer.end(summary)
        warnings = (*picture.warnings, *self._warnings(source, who, summary, session.options))
        return SwapResult(len(picture.samples), tuple(counts.of_frames), session.stopwatch.seconds, warnings)

    def _warnings(self, source: Path | str, who: Who, summary: Summary, options: SwapOptions) -> tuple[str, ...]:
        """What pack, identities and faces give reason to say, whatever kind of file it was."""
        identities = [who] if isinstance(who, Identity) else [identity for pair in who for identity in pair]
        doubts = dict.fromkeys(doubt for identity in identities for doubt in identity.doubts)
        alone = left_alone(source, summary, options, self.pack)
        return (*untrained(self.pack), *narrow(self.pack, source), *doubts, *alone)

    def close(self) -> None:
        """Release the engines, unless the runtime is the caller's; may be called twice."""
        if self._owned:
            self.runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class _Counts(Observer):
    """How many faces were swapped in each frame."""

    def __init__(self) -> None:
        self.of_frames: list[int] = []

    def after(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        self.of_frames += torch.bincount(faces.frame_index, minlength=len(frames)).tolist()


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


def _expect_somebody(who: Who | None) -> None:
    """Nobody, as a lookup that found nothing gives it, would leave every face as it is, without a word."""
    if who is None:
        raise InputError(
            "who is None; expected an Identity or pairs of (reference, source). Sessions alone take nobody: they "
            "follow faces and change none."
        )


def untrained(pack: Pack) -> tuple[str, ...]:
    """That a pack's networks have random weights, one sentence, or nothing."""
    if not pack.random:
        return ()
    return (
        f"Pack {pack.name} has random weights in {', '.join(pack.random)}: it is for speed and tests, and paints "
        "noise.",
    )


def narrow(pack: Pack, source: Path | str) -> tuple[str, ...]:
    """That a pack's networks know one kind of faces alone, a sentence for each kind, unless the source is its sample.

    Nothing in the networks' answers says so: detection scores, how well a network draws a face that it is given as its
    own identity, and how much a restorer changes overlap between rendered heads and photographs.
    """
    if Path(source).resolve().is_relative_to(pack.path.resolve()):
        return ()
    kinds = dict.fromkeys(stage.made_for for stage in pack.stages.values() if stage.made_for)
    return tuple(
        f"Pack {pack.name} was made for {kind} ({', '.join(s.name for s in pack.stages.values() if s.made_for == kind)}"
        "): other faces come out damaged. For real ones make a pack from checkpoints, with trtswap export."
        for kind in kinds
    )


def left_alone(source: Path | str, summary: Summary, options: SwapOptions, pack: Pack) -> tuple[str, ...]:
    """Why no face of a source was swapped, and on which a network failed: a sentence for each, or nothing."""
    said: list[str] = []
    if not summary.faces_found:
        small = " Small faces in large frames are found at a larger search_size, --search-size."
        hint = small if options.search_size is None else ""
        said.append(f"No face was found in {source}; the target is a copy.{hint}")
    elif not summary.faces_swapped and summary.best_cosine is not None and summary.similarity is not None:
        said.append(
            f"Faces were found in {source}, but none is like a reference: the highest cosine is "
            f"{summary.best_cosine:.2f}, the same person has {summary.similarity:.2f} or more (similarity); the target "
            "is a copy."
        )
    elif not summary.faces_swapped:
        turned = " or turned away too far to be measured" if pack.needs_points else ""
        said.append(
            f"Faces were found in {source}, but none was changed: each is smaller than {options.min_face:g} pixels "
            f"(min_face){turned}; the target is a copy."
        )
    if faces := summary.faces_unsound:
        said.append(
            f"{faces} face{'s were' if faces > 1 else ' was'} left unchanged: a network of pack {pack.name} gave NaN "
            "or infinity there. Its graphs are damaged, or their precision is too low for them."
        )
    return tuple(said)


def _put(pixels: Tensor, target: Tensor | None, device: torch.device) -> Tensor:
    """Pictures in memory of the device that may be written into: that of ``target`` where it lies there."""
    if target is None or target.device != device:
        return pixels.to(device, copy=True, memory_format=torch.contiguous_format)
    same = (pixels.data_ptr(), pixels.stride()) == (target.data_ptr(), target.stride())
    if not same:
        (first, last), (start, end) = _addresses(pixels), _addresses(target)
        target.copy_(pixels.clone() if first < end and start < last else pixels)  # they may be parts of one array
    return target


def _addresses(pixels: Tensor) -> tuple[int, int]:
    """Where uint8 pixels begin and end in memory."""
    lengths = zip(pixels.shape, pixels.stride(), strict=True)
    return pixels.data_ptr(), pixels.data_ptr() + 1 + sum((size - 1) * step for size, step in lengths)


def _turned(frames: Frames, quarter: int) -> Frames:
    """Pictures turned by so many quarters."""
    return frames if quarter == 0 else frames_from_rgb(torch.stack(frames.planes, -1).rot90(quarter, (1, 2)))


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
                f"{name} has {len(faces)} face{'s' if len(faces) > 1 else ''}; number {pick} does not exist (they "
                "count from 0, from the left)."
            )
        return faces[order[pick : pick + 1]]
    if pick != "only":
        raise InputError(f"pick is {pick!r}, expected 'only', 'largest' or a number.")
    if len(faces) > 1:
        raise SourceError(
            f"{name} shows {len(faces)} faces. Say which one: pick='largest', or a number from 0 to {len(faces) - 1}, "
            "counted from the left (--source-face largest, --reference-face 0)."
        )
    return faces
