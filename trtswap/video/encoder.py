"""Choose, set up and feed the video encoder."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

import av
from av.codec import Codec
from av.codec.codec import UnknownCodecError, find_best_pix_fmt_of_list
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import PictureType

from trtswap.errors import WriteError
from trtswap.pixels.color import FULL, LIMITED, ColorTags, PixelFormat
from trtswap.video.containers import Container
from trtswap.video.encoder_options import encoder_options
from trtswap.video.formats import chroma_shift
from trtswap.video.hdr import encoder_params
from trtswap.video.info import VideoInfo
from trtswap.video.planes import convert
from trtswap.video.scheduling import ordinary_threads, require_threads

# These refuse frames whose size is no multiple of the chroma subsampling.
_WANTS_WHOLE_CHROMA = frozenset({"libx264", "libx265", "libsvtav1"})
# Smallest width and height. Below 64 pixels x265 writes beyond its memory (seen at widths up to 48) or refuses to open.
_SMALLEST = {"libx265": (64, 64), "libsvtav1": (16, 16)}
_SENSIBLE = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks", "h264_nvenc", "hevc_nvenc")
_MAX_RATE = 300
# swscale's numbers for the matrices that RGB is turned into Y'CbCr with, which here equal those of H.273.
_BT709, _BT601 = 1, 5


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder and what it gets.

    Attributes:
        name: FFmpeg's name of the encoder.
        format: FFmpeg's name of the pixel format; the frames' own wherever that can be played and the encoder takes it.
        size: (width, height), pixels: that of the frames, or one more where the encoder takes even ones alone.
        passed_over: the encoder that ``auto`` would have taken, and why not; None where it took its first.
    """

    name: str
    format: str
    size: tuple[int, int]
    passed_over: str | None = None


def choose_encoder(
    codec: str, container: Container, fmt: PixelFormat, size: tuple[int, int], *, pixel_format: str = "auto"
) -> EncoderChoice:
    """The encoder for frames of a format.

    Args:
        codec: ``auto`` is the container's first that takes the frames unchanged.
        container: what the file holds.
        fmt: of the frames.
        size: (width, height) of the frames, pixels.
        pixel_format: what to encode. ``auto`` is the frames' own format, or the nearest that the encoder takes; with
            ``codec`` left to trtswap, RGB becomes 4:2:0, since few players show another.

    Raises:
        WriteError: there is no such encoder, or it takes nothing that the frames can be converted to.
    """
    automatic = container.codecs if fmt.bits == 8 else container.deep_codecs
    names = automatic if codec == "auto" else (codec,)
    played = "yuv420p" if fmt.bits == 8 else "yuv420p10le"
    wanted = played if codec == "auto" and fmt.matrix == "rgb" else fmt.name
    even = codec == "auto" or pixel_format != "auto"  # frames are padded rather than encoded as 4:4:4
    offers = (_offer(_find(name), wanted, pixel_format, size, even=even) for name in names)
    usable = [choice for choice in offers if choice is not None]
    least = _missed_size(names[0], size)
    if not usable:
        why = f", which is below its {least}" if least else ""
        if pixel_format != "auto":
            known = ", ".join(sorted({f.name for name in names for f in _find(name).video_formats or ()})) or "another"
            raise WriteError(f"encoder {' or '.join(names)} does not take {pixel_format}{why}, expected one of {known}")
        raise WriteError(f"encoder {names[0]} takes no format that {fmt.name} can become at {size[0]}x{size[1]}{why}")
    taken = next((choice for choice in usable if choice.format == wanted), usable[0])
    if codec == "auto" and taken.name != names[0] and least:
        return replace(taken, passed_over=f"{names[0]}, which needs {least},")
    return taken


def _offer(codec: Codec, wanted: str, pixel_format: str, size: tuple[int, int], *, even: bool) -> EncoderChoice | None:
    """What an encoder would make of frames whose best format is ``wanted``; None: nothing."""
    first = wanted if pixel_format == "auto" else pixel_format
    offered = [fmt.name for fmt in codec.video_formats or ()] or [first]
    whole = (size[0] + size[0] % 2, size[1] + size[1] % 2)
    for extent in dict.fromkeys((size, whole) if even else (size,)):
        if first in offered and _fits(codec.name, first, extent):
            return EncoderChoice(codec.name, first, extent)
    if pixel_format != "auto":
        return None
    usable = [name for name in offered if _fits(codec.name, name, size)]
    best = find_best_pix_fmt_of_list(usable, wanted)[0] if usable else None
    return EncoderChoice(codec.name, best.name, size) if best is not None else None


def _missed_size(codec: str, size: tuple[int, int]) -> str | None:
    """The smallest size of an encoder, such as ``64x64``, where frames are below it; else None."""
    width, height = _SMALLEST.get(codec, (1, 1))
    return f"{width}x{height}" if size[0] < width or size[1] < height else None


def _find(codec: str) -> Codec:
    try:
        found = Codec(codec, "w")
    except UnknownCodecError:
        found = None
    if found is None or found.type != "video":
        raise WriteError(f"there is no video encoder '{codec}', expected 'auto' or one such as {', '.join(_SENSIBLE)}")
    return found


def _fits(codec: str, name: str, size: tuple[int, int]) -> bool:
    fmt = av.VideoFormat(name, 16, 16)
    if not fmt.bits_per_pixel:  # frames in a device's memory
        return False
    if _missed_size(codec, size):
        return False
    whole = all(extent % (1 << shift) == 0 for extent, shift in zip(size, chroma_shift(fmt), strict=True))
    return whole or len(fmt.components) < 3 or codec not in _WANTS_WHOLE_CHROMA


class Encoder:
    """An open encoder, writing into one stream of ``output``.

    Args:
        output: the file, to which one video stream is added.
        choice: what to open.
        info: the source, whose sizes, rate, time base, aspect, colours and HDR metadata the stream gets.
        crf, preset: quality and effort, x264's scale and names.
        options: the encoder's own options, which come last.

    Raises:
        WriteError: the encoder does not open with these options, or the file's format does not take its codec.
    """

    def __init__(
        self,
        output: OutputContainer,
        choice: EncoderChoice,
        info: VideoInfo,
        *,
        crf: float,
        preset: str,
        options: Mapping[str, str],
    ) -> None:
        self._choice = choice
        self._fmt = info.pixel_format
        self.tags = _tags_after(choice, info)
        self._usual_duration = _usual_duration(info)
        self._durations: dict[int, int] = {}
        self._span: tuple[int, int] | None = None
        self._first_dts: int | None = None
        rate = info.average_rate if info.average_rate and info.average_rate < _MAX_RATE else Fraction(25)
        try:
            stream = output.add_stream(choice.name, rate=rate)
        except (ValueError, av.error.FFmpegError) as error:
            raise WriteError(f"{output.format.name} files cannot hold {choice.name} video: {error}") from error
        self.stream = cast(av.VideoStream, stream)
        self.stream.codec_context.options = encoder_options(
            self.stream.codec_context,
            choice.name,
            crf=crf,
            preset=preset,
            params=encoder_params(choice.name, info.hdr),
            options=options,
            tags=self.tags,
        )
        self._configure(info)
        self._open()

    def encode(
        self, frame: av.VideoFrame, pts: int, duration: int, *, key: bool = False
    ) -> "list[Packet[av.VideoStream]]":
        """Encode one frame; ``pts`` and ``duration`` (0: the usual one) in the source's time base; ``key``: anew."""
        if frame.format.name != self._choice.format:
            frame = self._convert(frame)
        if key:
            frame.pict_type = PictureType.I
        frame.pts = pts
        frame.time_base = self.stream.codec_context.time_base
        frame.duration = self._durations[pts] = duration or self._usual_duration
        self._span = (self._span[0] if self._span else pts, pts + frame.duration)
        return self._stamped(self.stream.encode(frame))

    def flush(self, *, durations_by_dts: bool) -> "list[Packet[av.VideoStream]]":
        """The packets that the encoder still held.

        Args:
            durations_by_dts: the file stores distances between decoding times only. With reordered frames of
                uneven duration the last packet then gets what makes their sum the length of the video.
        """
        packets = self._stamped(self.stream.encode(None))
        if durations_by_dts and packets and self._span and self._first_dts is not None:
            last = packets[-1]
            decoded = (last.dts or 0) - self._first_dts
            last.duration = max(1, self._span[1] - self._span[0] - decoded)
        return packets

    def _stamped(self, packets: "list[Packet[av.VideoStream]]") -> "list[Packet[av.VideoStream]]":
        """Encoders keep each pts but not every one keeps durations."""
        for packet in packets:
            if packet.pts is not None:
                packet.duration = self._durations.pop(packet.pts, packet.duration)
            if self._first_dts is None:
                self._first_dts = packet.dts
        return packets

    def _convert(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._fmt.matrix == "rgb" and not av.VideoFormat(self._choice.format).is_rgb:
            return convert(frame, self._choice.format, matrix=self.tags.matrix, to_range=LIMITED)
        return convert(frame, self._choice.format)

    def _configure(self, info: VideoInfo) -> None:
        context = self.stream.codec_context
        context.width, context.height = self._choice.size
        context.pix_fmt = self._choice.format
        context.time_base = info.time_base
        context.sample_aspect_ratio = info.sample_aspect
        context.color_primaries, context.color_trc = self.tags.primaries, self.tags.transfer
        context.colorspace, context.color_range = self.tags.matrix, self.tags.range
        if av.Codec(self._choice.name, "w").id == av.Codec("hevc", "r").id:
            context.codec_tag = "hvc1"  # the only mark of HEVC in MP4 that Apple's players take
        if info.display.matrix is not None:
            self.stream.set_display_matrix(info.display.matrix)

    def _open(self) -> None:
        require_threads(self._choice.name)
        with _quiet_svt(), ordinary_threads():
            try:
                self.stream.codec_context.open()
            except (av.error.FFmpegError, ValueError, OSError) as error:
                options = " ".join(f"{key}={value}" for key, value in self.stream.codec_context.options.items())
                said = getattr(error, "strerror", None) or error
                raise WriteError(f"encoder {self._choice.name} does not open with {options}: {said}") from error


@contextmanager
def _quiet_svt() -> Iterator[None]:
    """SVT-AV1 prints its settings to stderr, unless this variable asks for errors only when the first one opens."""
    if "SVT_LOG" in os.environ:
        yield
        return
    os.environ["SVT_LOG"] = "1"
    try:
        yield
    finally:
        del os.environ["SVT_LOG"]


def _tags_after(choice: EncoderChoice, info: VideoInfo) -> ColorTags:
    """The source's own tags; the encoder's conversion from RGB, if there is one, changes matrix and range."""
    if info.pixel_format.matrix == "rgb" and not av.VideoFormat(choice.format).is_rgb:
        return replace(info.color, matrix=_BT709 if info.height >= 720 else _BT601, range=LIMITED)
    if info.source_format.startswith("yuvj"):
        return replace(info.color, range=FULL)
    return info.color


def _usual_duration(info: VideoInfo) -> int:
    return max(1, round(1 / (info.average_rate * info.time_base))) if info.average_rate else 1
