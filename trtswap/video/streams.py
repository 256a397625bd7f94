"""Carry everything but the pictures from the source to the result: audio, subtitles, attachments, chapters, tags."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream

from trtswap.video.containers import Container
from trtswap.video.probe import is_rebuilt_from_chapters, open_input, video_stream
from trtswap.video.subtitles import SubtitleTranscoder, is_text

if TYPE_CHECKING:
    from av.container.core import Chapter  # exists for type checkers only

# Written anew by the muxer, or no longer true once the pictures are encoded again.
_FILE_TAGS_NOT_KEPT = re.compile(r"major_brand|minor_version|compatible_brands|encoder", re.IGNORECASE)
_STREAM_TAGS_NOT_KEPT = re.compile(r"encoder|_STATISTICS_.*|BPS|DURATION|NUMBER_OF_(BYTES|FRAMES)", re.IGNORECASE)
_LANGUAGE_MARK = re.compile(r"-[a-z]{3}$")
# Codecs that MPEG-TS has a stream type for (ISO/IEC 13818-1 table 2-34, ETSI EN 300 468); FFmpeg's names.
_IN_MPEGTS = frozenset((
    "mpeg1video", "mpeg2video", "mpeg4", "h264", "hevc", "vvc", "cavs", "avs2", "avs3", "dirac", "vc1", "jpeg2000",
    "mp1", "mp2", "mp3", "aac", "aac_latm", "ac3", "eac3", "dts", "dca", "truehd", "opus", "s302m", "pcm_bluray",
    "dvb_subtitle", "dvbsub", "dvb_teletext", "hdmv_pgs_subtitle", "pgssub", "arib_caption", "klv", "timed_id3",
    "scte_35",
))  # fmt: skip
# What MP4 has in the gaps between subtitles; its muxer fills them by itself.
_NO_WORDS = b"\0\0"


@dataclass(frozen=True)
class TimeWindow:
    """Which part of the source is taken, and where it lies in the result; all in seconds of the source's clock.

    Attributes:
        shift: what is subtracted from every timestamp.
        start, end: packets that begin outside [start, end) are left out; None: no such bound.
    """

    shift: Fraction = Fraction(0)
    start: Fraction | None = None
    end: Fraction | None = None

    def holds(self, time: Fraction) -> bool:
        return (self.start is None or time >= self.start) and (self.end is None or time < self.end)


@dataclass
class _Copied:
    source: Stream
    target: Stream
    transcoder: SubtitleTranscoder | None = None
    last_dts: int | None = None
    left_out: int = 0


class StreamCopier:
    """Copies packets as they are. Streams are added at once, packets flow with ``copy_until``.

    Args:
        source: the file that the pictures come from.
        output: the result; its video stream is there already.
        container: what the result's format can hold.
        warnings: gets a line for everything that cannot be carried over.
    """

    def __init__(
        self,
        source: Path,
        output: OutputContainer,
        container: Container,
        warnings: list[str],
        *,
        copy_streams: bool = True,
    ) -> None:
        self._input = open_input(source)
        self._output = output
        self._container = container
        self._warnings = warnings
        self._window = TimeWindow()
        self._video = video_stream(self._input, source)
        self._copied: dict[int, _Copied] = {}
        others = [s for s in self._input.streams if s.index != self._video.index and not is_rebuilt_from_chapters(s)]
        for stream in others if copy_streams else ():
            self._add(stream)
        for stream in self._input.streams:
            if stream.index not in self._copied:
                stream.discard = av.stream.Discard.all
        self._packets = self._read()
        self._next: Packet[Stream] | None = None

    def begin(self, window: TimeWindow, video: av.VideoStream) -> None:
        """Set the time window, and copy what belongs into the header: tags, dispositions, chapters."""
        self._window = window
        video.metadata.update(_kept(self._video.metadata, _STREAM_TAGS_NOT_KEPT))
        video.disposition = self._video.disposition
        self._output.metadata.update(_kept(self._input.metadata, _FILE_TAGS_NOT_KEPT))
        self._output.set_chapters(list(_chapters(self._input, window)))
        self._next = next(self._packets, None)

    def copy_until(self, time: Fraction | None) -> None:
        """Mux the packets that are due up to ``time`` seconds in the result; None: all that are left."""
        while self._next is not None and (time is None or _time(self._next) - self._window.shift <= time):
            self._mux(self._next)
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Say what was left out on the way, and close the source."""
        for copied in self._copied.values():
            if copied.left_out:
                self._warnings.append(
                    f"{copied.left_out} packets of {_label(copied.source)} go back in time and were left out"
                )
        self._input.close()

    def _add(self, stream: Stream) -> None:
        reason = _refusal(stream, self._container.format)
        try:
            if reason is None:
                target = self._output.add_stream_from_template(stream, opaque=True)
                self._keep(_Copied(stream, target))
            elif isinstance(stream, SubtitleStream) and is_text(stream) and self._container.text_subtitles:
                transcoder = SubtitleTranscoder(stream, self._output, self._container.text_subtitles)
                self._keep(_Copied(stream, transcoder.stream, transcoder))
                self._warnings.append(f"{_label(stream)} was converted to {self._container.text_subtitles}")
            elif not _is_timecode(stream, self._video):
                self._warnings.append(
                    f"{_label(stream)} was left out: {self._container.format} cannot hold it ({reason})"
                )
        except (av.error.FFmpegError, ValueError) as error:
            self._warnings.append(f"{_label(stream)} was left out: {error}")

    def _keep(self, copied: _Copied) -> None:
        tags = _kept(copied.source.metadata, _STREAM_TAGS_NOT_KEPT)
        if "name" in tags:  # how a title comes out of MP4; it goes in as a title
            tags.setdefault("title", tags.pop("name"))
        copied.target.metadata.update(tags)
        copied.target.disposition = copied.source.disposition
        self._copied[copied.source.index] = copied

    def _read(self) -> "Iterator[Packet[Stream]]":
        """Packets of the copied streams within the window, in the source's order."""
        streams = [copied.source for copied in self._copied.values() if copied.source.type != "attachment"]
        if not streams:
            return
        try:
            for packet in self._input.demux(streams):
                if packet.size and self._wanted(packet):
                    yield packet
        except av.error.FFmpegError as error:
            self._warnings.append(f"copying audio and other streams stopped early: {error.strerror}")

    def _wanted(self, packet: "Packet[Stream]") -> bool:
        if _codec(packet.stream) == "mov_text" and bytes(packet) == _NO_WORDS:
            return False
        if packet.stream.disposition & Disposition.attached_pic:
            return True
        pts = packet.pts if packet.pts is not None else packet.dts
        return pts is None or self._window.holds(pts * packet.time_base)

    def _mux(self, packet: "Packet[Stream]") -> None:
        copied = self._copied[packet.stream_index]
        if copied.transcoder is not None:
            converted = copied.transcoder.convert(packet)
            if converted is None:
                return
            packet = converted
        packet.stream = copied.target
        shift = round(self._window.shift / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = packet.pts if packet.dts is None else packet.dts - shift
        if self._follows(packet, copied):
            self._output.mux_one(packet)
        else:
            copied.left_out += 1

    def _follows(self, packet: "Packet[Stream]", copied: _Copied) -> bool:
        """Whether the muxer takes the packet's time after the last one's, in its own unit."""
        if packet.dts is None or copied.target.time_base is None:
            return True
        dts = _nearest(packet.dts * packet.time_base / copied.target.time_base)
        distinct = self._container.distinct_times and packet.stream.type not in ("subtitle", "data")
        smallest = dts if copied.last_dts is None else copied.last_dts + distinct
        if dts < smallest:
            return False
        copied.last_dts = dts
        return True


def _time(packet: "Packet[Stream]") -> Fraction:
    tick = packet.dts if packet.dts is not None else packet.pts
    return Fraction(0) if tick is None else tick * packet.time_base


def _nearest(number: Fraction) -> int:
    """FFmpeg's rounding: halves away from zero."""
    return floor(number + Fraction(1, 2)) if number >= 0 else -floor(Fraction(1, 2) - number)


def _refusal(stream: Stream, muxer: str) -> str | None:
    """Why a format does not hold a stream; None if it does. The muxer is asked, with an empty file."""
    if muxer == "webm" and stream.type == "attachment":
        return "WebM has no attachments"  # the muxer takes them and writes nothing
    if muxer == "mpegts" and _codec(stream) not in _IN_MPEGTS:
        return "MPEG-TS has no number for it"  # the muxer takes anything, and players nothing of that
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


def _is_timecode(stream: Stream, video: Stream) -> bool:
    """A QuickTime timecode track, which the muxer makes again from the video's ``timecode`` tag."""
    return stream.type == "data" and "timecode" in stream.metadata and "timecode" in video.metadata


def _label(stream: Stream) -> str:
    language = stream.metadata.get("language")
    return f"{stream.type} stream #{stream.index} ({_codec(stream)}{', ' + language if language else ''})"


def _codec(stream: Stream) -> str:
    return stream.codec_context.name if stream.codec_context is not None else "unknown"


def _kept(tags: dict[str, str], dropped: re.Pattern[str]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if not dropped.fullmatch(_LANGUAGE_MARK.sub("", name))}


def _chapters(source: InputContainer, window: TimeWindow) -> "Iterator[Chapter]":
    for chapter in source.chapters():
        base = chapter["time_base"] or Fraction(1, 1000)
        start, end = chapter["start"] * base, chapter["end"] * base
        if (window.start is not None and end <= window.start) or (window.end is not None and start >= window.end):
            continue
        start = max(start, window.start if window.start is not None else start) - window.shift
        end = min(end, window.end if window.end is not None else end) - window.shift
        yield {**chapter, "start": round(start / base), "end": round(end / base), "time_base": base}
