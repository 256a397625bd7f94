"""Write a video: the encoder gets the planes, everything else comes from the source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.packet import Packet

from trtswap.arguments import expect, expect_text
from trtswap.errors import InputError, WriteError
from trtswap.files import Target
from trtswap.pixels.frames import Frames
from trtswap.video.alpha import Alpha, carries_alpha
from trtswap.video.containers import container_for
from trtswap.video.encoder import Encoder, EncoderChoice, choose_encoder
from trtswap.video.formats import chroma_shift
from trtswap.video.hdr import encoder_params
from trtswap.video.info import TRANSPARENCY, VideoInfo
from trtswap.video.planes import frame_from_planes
from trtswap.video.probe import open_input, url_of, video_stream
from trtswap.video.streams import AUDIO, StreamCopier, TimeWindow

MOST_CRF = 63
"""Of the scales of VP9 and AV1; that of x264 and x265 ends at 51."""

# Formats that say nothing of how pictures are to be turned.
_NO_ROTATION = frozenset(("mpegts",))


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How a video is encoded, and what becomes of the rest of its file.

    Attributes:
        codec: FFmpeg's name of an encoder, or ``auto``: one for the format that takes the planes unchanged.
        crf: quality on x264's scale: 0 is best, 51 worst (63 for VP9 and AV1).
        preset: effort, by x264's names.
        pixel_format: FFmpeg's name of what is encoded, such as ``yuv420p``; ``auto`` is the source's where it can be.
        options: further options of the encoder, such as ``{"tune": "film"}``.
        copy_streams: carry audio, subtitles and attachments over; chapters and tags are carried over either way.
        audio: ``copy`` carries sound over as it is, and encodes what the file's format does not hold; ``encode``
            encodes all of it, ``drop`` leaves it out.
        overwrite: replace an existing file.

    Raises:
        InputError: a value of another type, or a quality beyond the scale.
    """

    codec: str = "auto"
    crf: float = 18
    preset: str = "medium"
    pixel_format: str = "auto"
    options: Mapping[str, str] = field(default_factory=dict)
    copy_streams: bool = True
    audio: str = "copy"
    overwrite: bool = False

    def __post_init__(self) -> None:
        expect_text("codec", self.codec, "FFmpeg's name of an encoder")
        expect_text("preset", self.preset, "one of x264's names")
        expect_text("pixel_format", self.pixel_format, "FFmpeg's name of a pixel format")
        expect("crf", self.crf, int | float, "a number")
        if not 0 <= self.crf <= MOST_CRF:
            raise InputError(f"crf is {self.crf}, expected 0 (best) to {MOST_CRF}, on x264's scale to 51.")
        expect("encoder_options", self.options, Mapping, "names and values of encoder options")
        for text in (*self.options, *self.options.values()):
            expect_text("encoder_options", text, "text")
        expect("copy_streams", self.copy_streams, bool, "True or False")
        expect_text("audio", self.audio, f"one of {', '.join(AUDIO)}")
        if self.audio not in AUDIO:
            raise InputError(f"audio is {self.audio!r}, expected one of {', '.join(AUDIO)}.")
        expect("overwrite", self.overwrite, bool, "True or False")


class VideoWriter:
    """Encodes frames into a file that gets its name when it is whole.

    As a context manager it finishes the file on a normal exit; on any exception, Ctrl-C included, nothing is left.
    Every pts is kept, in seconds, wherever the file format can express it (Matroska and WebM count milliseconds,
    MPEG-TS 1/90000 s). With ``start`` the first frame becomes time 0, and audio moves along by the same amount.

    Args:
        path: the file to write, or what was claimed for it before; the suffix chooses the format.
        info: what the reader said about the source.
        options: see :class:`WriteOptions`; its defaults where None.
        source: the file to copy audio, subtitles, chapters and tags from; None for none.
        start, end: the reader's, in seconds from the source's beginning.

    Attributes:
        warnings: what could not be carried over or had to be changed.
        codec: FFmpeg's name of the encoder in use.

    Raises:
        BusyError: somebody else writes this file.
        WriteError: the target, the codec or its options are unusable.
        ReadError: ``source`` does not open.
    """

    def __init__(
        self,
        path: str | PathLike[str] | Target,
        info: VideoInfo,
        *,
        options: WriteOptions | None = None,
        source: str | PathLike[str] | None = None,
        start: float | None = None,
        end: float | None = None,
    ) -> None:
        options = options or WriteOptions()
        self.path = path.path if isinstance(path, Target) else Path(path)
        self.warnings: list[str] = []
        self._info = info
        self._automatic = options.pixel_format == "auto"
        self._unasked = self._automatic and options.codec == "auto"
        self._range = (start, end)
        self._container = container_for(self.path)
        choice = choose_encoder(
            options.codec,
            self._container,
            info.pixel_format,
            (info.width, info.height),
            pixel_format=options.pixel_format,
        )
        self.codec, self._size = choice.name, choice.size
        source_path = None if source is None else Path(source)
        self._copier: StreamCopier | None = None
        self._alpha: Alpha | None = None
        self._target = (
            path if isinstance(path, Target) else Target(self.path, source=source_path, overwrite=options.overwrite)
        )
        self._begun = self._closed = False
        try:
            self._output = av.open(
                url_of(self._target.temporary),
                "w",
                format=self._container.format,
                container_options=self._container.options(
                    info.time_base,
                    [stream.time_base for stream in info.streams if stream.time_base is not None],
                    info.tags,
                ),
            )
            self._encoder = Encoder(
                self._output, choice, info, crf=options.crf, preset=options.preset, options=options.options
            )
            if source_path is not None:
                self._copier = StreamCopier(
                    source_path,
                    self._output,
                    self._container,
                    self.warnings,
                    copy_streams=options.copy_streams,
                    audio=options.audio,
                )
            if source_path is not None and carries_alpha(info, choice.name, self._container.format, choice.size):
                self._alpha = Alpha(source_path)
        except BaseException:
            self._target.discard()  # FFmpeg has not opened it yet
            raise
        if choice.passed_over is not None:
            self.warnings.append(f"{choice.passed_over} cannot be used: encoded with {choice.name}")
        self._warn_about_pictures(choice)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def write(self, frames: Frames) -> None:
        """Encode a batch, in presentation order.

        Raises:
            InputError: the planes are not those that ``info`` announced.
            WriteError: encoding or writing failed, for example because the disk is full.
        """
        fmt = self._info.pixel_format
        size = (self._info.width, self._info.height)
        if frames.format.name != fmt.name or tuple(frames.planes[0].shape[:0:-1]) != size:
            raise InputError(
                f"frames are {frames.format.name} with planes {tuple(frames.planes[0].shape)}, expected {fmt.name} "
                f"{size[0]}x{size[1]} as announced"
            )
        if frames.time_base != self._info.time_base:
            raise InputError(f"frames count time in {frames.time_base} s, expected {self._info.time_base} s")
        try:
            for index, (pts, duration) in enumerate(zip(frames.pts, frames.durations, strict=True)):
                if not self._begun:
                    self._begin(pts)
                frame = frame_from_planes(frames.planes, index, fmt, self._size)
                key = self._alpha is not None and self._alpha.is_key(pts)
                self._mux(self._encoder.encode(frame, pts - self._shift_ticks, duration, key=key))
        except (av.error.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Flush the encoder, finish the file and give it its name.

        Raises:
            WriteError: no frame was written, or the file cannot be finished.
        """
        if self._closed:
            return
        try:
            if not self._begun:
                raise WriteError(f"{self.path}: no frame was written")
            try:
                self._mux(self._encoder.flush(durations_by_dts=self._container.durations_by_dts))
                if self._copier is not None:
                    self._copier.copy_until(None)
                self._output.close()
            except (av.error.FFmpegError, OSError) as error:
                raise self._failure(error) from error
            self._check_start()
        except BaseException:
            self.discard()
            raise
        self._release()
        self._target.commit()

    def discard(self) -> None:
        """Give up: remove what was written. Does nothing after ``close``."""
        if self._closed:
            return
        try:
            self._output.close()
        except (av.error.FFmpegError, OSError):
            pass  # it goes away anyhow
        finally:
            self._release()
            self._target.discard()

    def _begin(self, first_pts: int) -> None:
        window = self._time_window(first_pts * self._info.time_base)
        self._shift_ticks = round(window.shift / self._info.time_base)
        self._first = (first_pts - self._shift_ticks) * self._info.time_base
        if self._copier is not None:
            self._copier.begin(window, self._encoder.stream)
        if self._alpha is not None and not self._alpha.is_key(first_pts):
            self.warnings.append(
                f"lost in encoding: {TRANSPARENCY}, since the part begins between two key frames; start at one"
            )
            self._alpha.close()
            self._alpha = None
        if self._alpha is not None:
            self._encoder.stream.metadata["alpha_mode"] = "1"
        self._output.start_encoding()
        self._begun = True

    def _time_window(self, first: Fraction) -> TimeWindow:
        start, end = self._range
        stop = None if end is None else self._info.origin + Fraction(end)
        if start is not None:
            return TimeWindow(first, first, stop)
        # A clock that starts anywhere stays as it is only in a format whose own clock does.
        origin = Fraction(0) if self._container.format == "mpegts" else self._info.origin
        return TimeWindow(min(origin, first), None, stop)  # frames whose time was worked out may lie before it

    def _mux(self, packets: "list[Packet[av.VideoStream]]") -> None:
        for packet in packets:
            if self._copier is not None and packet.dts is not None:
                self._copier.copy_until(packet.dts * packet.time_base)
            if self._alpha is not None and packet.pts is not None:
                self._alpha.attach(packet, packet.pts + self._shift_ticks)
            self._output.mux_one(packet)

    def _check_start(self) -> None:
        """Muxers of formats without negative times move everything; only the file itself tells whether one did."""
        with open_input(self._target.temporary) as result:
            stream = video_stream(result, self._target.temporary)
            found = (stream.start_time or 0) * (stream.time_base or Fraction(0))
        unit = max(self._info.time_base, self._container.time_base or Fraction(0))
        if abs(found - self._first) > unit:
            self.warnings.append(
                f"everything lies {float(found - self._first):+.3f} s from where it was, sound and picture alike: "
                f"{self._container.format} has no times below zero"
            )

    def _release(self) -> None:
        self._closed = True
        if self._copier is not None:
            self._copier.close()
        if self._alpha is not None:
            self._alpha.close()

    def _failure(self, error: Exception) -> WriteError:
        return WriteError(f"{self.path}: writing failed: {getattr(error, 'strerror', None) or error}")

    def _few_show(self, name: str) -> bool:
        """H.264 and HEVC of 4:2:2 and 4:4:4: browsers, phones and televisions decode 4:2:0 alone."""
        fmt = av.VideoFormat(name, 16, 16)
        return self.codec in ("libx264", "libx265") and len(fmt.components) > 1 and chroma_shift(fmt) != (1, 1)

    def _warn_about_pictures(self, choice: EncoderChoice) -> None:
        fmt = self._info.pixel_format
        size, coded = (f"{width}x{height}" for width, height in ((self._info.width, self._info.height), choice.size))
        if choice.format != fmt.name and fmt.matrix == "rgb":
            self.warnings.append(
                f"encoded as {choice.format}, not RGB, which few players show (pixel_format='gbrp', --pix-fmt gbrp "
                "keep it)"
            )
        elif choice.format != fmt.name and self._automatic:
            self.warnings.append(f"{self.codec} does not take {fmt.name} at {size}: encoded as {choice.format}")
        if self._info.display.matrix is not None and self._container.format in _NO_ROTATION:
            self.warnings.append(
                f"rotation is lost: {self._container.format} has no place for it, and players show pictures as they "
                "are coded; .mp4, .mov and .mkv have one"
            )
        if self._few_show(choice.format) and self._unasked and fmt.matrix != "rgb":
            self.warnings.append(
                f"encoded as {choice.format} with {self.codec}, as the source's pixels are, which few players show "
                "(pixel_format='yuv420p', --pix-fmt yuv420p make what all do; codec=, --codec choose another)"
            )
        if coded != size:
            self.warnings.append(
                f"encoded at {coded} instead of {size}, its edge repeated: {self.codec} takes even sizes alone for "
                f"{choice.format}"
            )
        if self._info.hdr and not encoder_params(self.codec, self._info.hdr):
            self.warnings.append(f"HDR10 metadata is lost: {self.codec} has no place for it")
        kept = () if self._alpha is None else (TRANSPARENCY,)
        self.warnings.extend(f"lost in encoding: {what}" for what in self._info.not_carried if what not in kept)
