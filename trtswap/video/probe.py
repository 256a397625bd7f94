"""Open a file and say what it is: every way of not being a video gets a sentence of its own."""

import io
import re
import stat
import struct
from collections.abc import Iterable
from fractions import Fraction
from math import isinf
from pathlib import Path

import av
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.stream import Discard, Disposition, Stream

from trtswap.errors import LimitError, ReadError
from trtswap.limits import Limits
from trtswap.pixels.color import ColorTags
from trtswap.video.display import display_of, parse_display_matrix
from trtswap.video.formats import Layout, pixel_format_of
from trtswap.video.hdr import hdr_of, side_data_of
from trtswap.video.info import TRANSPARENCY, StreamInfo, VideoInfo

# Their clocks start anywhere; a player shows the first timestamp as 0.
_FREE_RUNNING = frozenset({"mpegts", "mpeg"})
# Formats that hold their pictures and sound themselves. Others, playlists above all, name files and addresses to read.
_FORMATS = (
    "aac,ac3,aiff,apng,asf,av1,avi,cavsvideo,dirac,dnxhd,dv,flac,flv,gif,gxf,h261,h263,h264,hevc,ivf,live_flv,lxf,m4v,"
    "matroska,mjpeg,mov,mp3,mpeg,mpegts,mpegvideo,mxf,nsv,nut,nuv,obu,ogg,rm,swf,vc1,vvc,wav,webm,wtv,yuv4mpegpipe"
)
_STEREO = "stereoscopic layout metadata"
_NOT_CARRIED = {
    Type.A53_CC: "closed captions inside the video stream",
    Type.DYNAMIC_HDR_PLUS: "HDR10+ dynamic metadata",
    Type.DOVI_METADATA: "Dolby Vision metadata",
    Type.DOVI_RPU_BUFFER: "Dolby Vision metadata",
    Type.SPHERICAL: "spherical projection metadata",
    Type.STEREO3D: _STEREO,
}


_MOST_BOXES = 1000
# ChromaSitingHorz and ChromaSitingVert (RFC 9559, 5.1.4.1.28.23); FFmpeg writes them side by side, and neither for
# sites at the bottom of a cell.
_SITING = re.compile(rb"\x55\xb7\x81([\x01\x02])\x55\xb8\x81([\x01\x02])")
_CHROMA_SITES = {
    (b"\x01", b"\x01"): "topleft",
    (b"\x01", b"\x02"): "left",
    (b"\x02", b"\x01"): "top",
    (b"\x02", b"\x02"): "center",
}


READING = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
"""Options of FFmpeg's with which a stranger's file is opened."""


def _check_file(path: Path) -> None:
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise ReadError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:  # names that no file system takes, loops of links, folders without rights
        raise ReadError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISDIR(found.st_mode):
        raise ReadError(f"{path}: is a folder, expected a video file")
    if not stat.S_ISREG(found.st_mode):
        raise ReadError(f"{path}: is a pipe, a socket or a device, expected a file: a video is read more than once")
    if found.st_size == 0:
        raise ReadError(f"{path}: the file is empty (0 bytes)")


def open_input(path: Path, limits: Limits | None = None) -> InputContainer:
    """Open a media file, and no other file or address that it may name. Tags that are no UTF-8 get replacement marks.

    Raises:
        ReadError: it is missing, a folder, no regular file, empty, or FFmpeg finds no media in it.
        LimitError: it takes longer to open, has more streams or is longer than :class:`~trtswap.limits.Limits` allow.
    """
    limits = limits or Limits()
    _check_file(path)
    timeout = None if isinf(limits.probe_seconds) else (limits.probe_seconds, None)
    try:
        container = av.open(url_of(path), metadata_errors="replace", options=READING, timeout=timeout)
    except av.error.ExitError as error:
        raise LimitError(
            f"{path}: was not open after {limits.probe_seconds:g} seconds, the limit probe_seconds. If you trust the "
            "file, allow more: --limit probe_seconds=NUMBER, or Limits(probe_seconds=...)."
        ) from error
    except PermissionError as error:
        raise ReadError(f"{path}: no permission to read it") from error
    except (av.error.FFmpegError, OSError) as error:
        why = "its index (moov) is missing" if _has_no_index(path) else error.strerror
        raise ReadError(
            f"{path}: not a video that FFmpeg can open: {why}. "
            "It may be cut off, still being written, or of another kind"
        ) from error
    try:
        limits.check("streams", len(container.streams), path)
        limits.check("tags", sum(len(one.metadata) for one in (container, *container.streams)), path)
        limits.check("seconds", (container.duration or 0) / av.time_base, path)
    except LimitError:
        container.close()
        raise
    return container


def url_of(path: Path) -> str:
    """A file as FFmpeg names it: ``12:30.mp4`` would be a protocol."""
    return f"file:{path}"


def _has_no_index(path: Path) -> bool:
    """Whether a file is MP4 or QuickTime, and has no box that says where its frames are (ISO/IEC 14496-12, 4.2)."""
    with path.open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            return False
        end, place = path.stat().st_size, 0
        for _ in range(_MOST_BOXES):
            file.seek(place)
            size, kind, large = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
            if kind in (b"moov", b"moof"):
                return False
            place += large if size == 1 else size
            if size == 0 or place >= end:
                return True
    return False


def video_stream(container: InputContainer, path: Path) -> av.VideoStream:
    """The first video stream that is not a cover picture.

    Raises:
        ReadError: there is none, or FFmpeg has no decoder for it.
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise ReadError(f"{path}: FFmpeg has no decoder for its video stream")
            return stream
    kinds = sorted({stream.type for stream in container.streams})
    found = f"only {', '.join(kinds)}" if kinds else "no stream at all"
    cover = " and a cover picture" if container.streams.video else ""
    raise ReadError(f"{path}: has no video stream ({found}{cover})")


def describe(
    container: InputContainer,
    stream: av.VideoStream,
    frame: av.VideoFrame,
    layout: Layout,
    path: Path,
    *,
    interlaced: bool,
) -> VideoInfo:
    """All about the video, from its headers and its first frame, whose planes will be read as ``layout``.

    Raises:
        ReadError: the colour matrix is one that no Y'CbCr conversion here knows, or there is no time base.
    """
    tags = _color_tags(stream, frame)
    pixel_format = pixel_format_of(frame.format.name, layout, tags, frame.height)
    if pixel_format is None:
        raise ReadError(
            f"{path}: its colours are coded with matrix {tags.matrix} of H.273 (such as YCgCo or ICtCp), expected "
            "BT.601, BT.709, BT.2020, SMPTE 240M or RGB; convert the video first"
        )
    if stream.time_base is None:
        raise ReadError(f"{path}: its video stream has no time base")
    side_data = side_data_of(frame)
    matrix = parse_display_matrix(side_data[Type.DISPLAYMATRIX]) if Type.DISPLAYMATRIX in side_data else None
    sample_aspect = stream.sample_aspect_ratio or Fraction(1)
    return VideoInfo(
        width=frame.width,
        height=frame.height,
        pixel_format=pixel_format,
        source_format=frame.format.name,
        codec=stream.codec_context.name,
        container=container.format.name,
        time_base=stream.time_base,
        average_rate=stream.average_rate or stream.guessed_rate,
        frame_count=_frame_count(container, stream),
        duration=_duration(container, stream),
        origin=origin_of(container),
        sample_aspect=sample_aspect,
        display=display_of(frame.width, frame.height, sample_aspect, matrix),
        color=tags,
        hdr=hdr_of(frame),
        interlaced=interlaced,
        streams=tuple(_stream_info(other) for other in container.streams if other.index != stream.index),
        tags=dict(container.metadata),
        not_carried=_not_carried(stream, frame, side_data),
    )


def _not_carried(stream: av.VideoStream, frame: av.VideoFrame, side_data: Iterable[Type]) -> tuple[str, ...]:
    found = {_NOT_CARRIED[kind] for kind in side_data if kind in _NOT_CARRIED}
    # VP8 and VP9 keep transparency beside the pictures, where their decoders do not look.
    tagged = any(value == "1" for name, value in stream.metadata.items() if name.lower() == "alpha_mode")
    if tagged or (_has_alpha(frame.format) and frame.to_ndarray(format="rgba")[..., 3].min() < 255):
        found.add(TRANSPARENCY)
    if _STEREO in found and any(name.lower() == "stereo_mode" for name in stream.metadata):
        found.remove(_STEREO)  # a tag of Matroska's, which is carried over
    return tuple(sorted(found))


def _has_alpha(fmt: av.VideoFormat) -> bool:
    return fmt.has_palette or any(component.is_alpha for component in fmt.components)


def origin_of(container: InputContainer) -> Fraction:
    """What a player's clock calls zero, in seconds of the file's own clock."""
    if container.format.name not in _FREE_RUNNING:
        return Fraction(0)
    starts = [s.start_time * s.time_base for s in container.streams if s.start_time is not None and s.time_base]
    return min(starts, default=Fraction(0))


def has_packet_index(stream: Stream) -> bool:
    """The demuxer knows every packet from the headers on (MP4 and its kin)."""
    return "mp4" in stream.container.format.name and len(stream.index_entries) > 0


def _frame_count(container: InputContainer, stream: av.VideoStream) -> int | None:
    if has_packet_index(stream):
        return sum(not entry.is_discard for entry in stream.index_entries)
    seconds, rate = _duration(container, stream), stream.average_rate
    return stream.frames or (round(seconds * rate) if seconds and rate else None)


def _duration(container: InputContainer, stream: av.VideoStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration is not None else None


def _stream_info(stream: Stream) -> StreamInfo:
    context = stream.codec_context
    name = context.name if context is not None else getattr(stream, "name", None)
    return StreamInfo(
        index=stream.index,
        kind=stream.type,
        codec=name or "unknown",
        language=stream.metadata.get("language"),
        title=stream.metadata.get("title"),
        time_base=stream.time_base,
    )


def is_rebuilt_from_chapters(stream: Stream) -> bool:
    """QuickTime's chapter track: FFmpeg shows it as a stream as well, and discards its packets."""
    return stream.type == "data" and stream.discard == Discard.all


def _color_tags(stream: av.VideoStream, frame: av.VideoFrame) -> ColorTags:
    return ColorTags(
        primaries=frame.color_primaries,
        transfer=frame.color_trc,
        matrix=frame.colorspace,
        range=frame.color_range,
        chroma_location=_chroma_location(stream),
    )


def _chroma_location(stream: av.VideoStream) -> str | None:
    """PyAV has no attribute for it, but Matroska's header has, which is written here for nobody to read.

    FFmpeg's ``showinfo`` would tell it in the log, and who listens to that risks a standstill: a decoder's thread waits
    for the interpreter to say something, and who frees the decoder waits for the thread with the interpreter held.
    """
    header = io.BytesIO()
    try:
        with av.open(header, "w", format="matroska") as nowhere:
            nowhere.add_stream_from_template(stream, opaque=True)
            nowhere.start_encoding()
    except (av.error.FFmpegError, ValueError):  # a codec that Matroska does not hold
        return None
    found = _SITING.search(header.getvalue())
    return _CHROMA_SITES[found[1], found[2]] if found else None
