"""Carry everything but the pictures from the source to the result: audio, subtitles, attachments, chapters, tags."""

import re
from collections.abc import Iterable, Iterator
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
from trtswap.video.fitting import codec_of, first_packets, refusal
from trtswap.video.probe import is_rebuilt_from_chapters, open_input, video_stream
from trtswap.video.sound import SoundTranscoder
from trtswap.video.subtitles import SubtitleTranscoder, is_text
from trtswap.video.timecode import advanced

if TYPE_CHECKING:
    from av.container.core import Chapter  # exists for type checkers only

# Written anew by the muxer, or no longer true once the pictures are encoded again.
_FILE_TAGS_NOT_KEPT = re.compile(r"major_brand|minor_version|compatible_brands|encoder", re.IGNORECASE)
_STREAM_TAGS_NOT_KEPT = re.compile(
    r"encoder|_STATISTICS_.*|BPS|DURATION|NUMBER_OF_(BYTES|FRAMES)|ALPHA_MODE", re.IGNORECASE
)
# As many packets as come before the first whose decoding time can be worked out (the reordering of H.264 and HEVC).
_AWAITED = 16
_COVERS = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
AUDIO = ("copy", "encode", "drop")
_LANGUAGE_MARK = re.compile(r"-[a-z]{3}$")
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
    transcoder: SubtitleTranscoder | SoundTranscoder | None = None
    last_dts: int | None = None
    left_out: int = 0


class StreamCopier:
    """Copies packets as they are. Streams are added at once, packets flow with ``copy_until``.

    Args:
        source: the file that the pictures come from.
        output: the result; its video stream is there already.
        container: what the result's format can hold.
        warnings: gets a line for everything that cannot be carried over.
        copy_streams: without it nothing but chapters and tags is carried over.
        audio: ``copy`` carries sound over as it is and encodes what the format does not hold, ``encode`` encodes all
            of it, ``drop`` leaves it out.
    """

    def __init__(
        self,
        source: Path,
        output: OutputContainer,
        container: Container,
        warnings: list[str],
        *,
        copy_streams: bool = True,
        audio: str = "copy",
    ) -> None:
        self._input = open_input(source)
        self._output = output
        self._container = container
        self._warnings = warnings
        self._window = TimeWindow()
        self._video = video_stream(self._input, source)
        self._copied: dict[int, _Copied] = {}
        others = [s for s in self._input.streams if s.index != self._video.index and not is_rebuilt_from_chapters(s)]
        others = [s for s in others if copy_streams and not (s.type == "audio" and audio == "drop")]
        self._first = first_packets(source, [s for s in others if s.type != "attachment"])
        for stream in others:
            self._add(stream, encode=stream.type == "audio" and audio == "encode")
        for stream in self._input.streams:
            if stream.index not in self._copied:
                stream.discard = av.stream.Discard.all
        self._packets = _dated(self._read())
        self._next: Packet[Stream] | None = None

    def begin(self, window: TimeWindow, video: av.VideoStream) -> None:
        """Set the time window, and copy what belongs into the header: tags, dispositions, chapters."""
        self._window = window
        video.metadata.update(_kept(self._video.metadata, _STREAM_TAGS_NOT_KEPT))
        self._set_timecode(window, video)
        video.disposition = self._video.disposition
        self._output.metadata.update(_kept(self._input.metadata, _FILE_TAGS_NOT_KEPT))
        self._output.set_chapters(list(_chapters(self._input, window)))
        self._next = next(self._packets, None)

    def copy_until(self, time: Fraction | None) -> None:
        """Mux the packets that are due up to ``time`` seconds in the result; None: all that are left."""
        while self._next is not None and (time is None or _time(self._next) - self._window.shift <= time):
            self._carry(self._next)
            self._next = next(self._packets, None)
        if time is None:
            for copied in self._copied.values():
                for packet in () if copied.transcoder is None else copied.transcoder.flush():
                    self._mux(packet, copied)

    def close(self) -> None:
        """Say what was left out on the way, and close the source."""
        for copied in self._copied.values():
            if copied.left_out:
                self._warnings.append(
                    f"{copied.left_out} packets of {_label(copied.source)} go back in time and were left out"
                )
            if copied.transcoder is not None and copied.transcoder.damaged:
                self._warnings.append(
                    f"{copied.transcoder.damaged} packets of {_label(copied.source)} are damaged and were left out"
                )
        self._input.close()

    def _set_timecode(self, window: TimeWindow, video: av.VideoStream) -> None:
        """The tag from which QuickTime's muxer makes a timecode track; it begins with the first frame that is taken."""
        tracks = (s.metadata["timecode"] for s in self._input.streams if s.type == "data" and "timecode" in s.metadata)
        timecode = video.metadata.get("timecode") or next(tracks, None)
        if timecode is None:
            return
        rate = self._video.average_rate or self._video.guessed_rate
        if window.start is not None and rate:
            start = Fraction(self._video.start_time or 0) * (self._video.time_base or 0)
            timecode = advanced(timecode, rate, round((window.start - start) * rate)) or timecode
        video.metadata["timecode"] = timecode

    def _add(self, stream: Stream, *, encode: bool) -> None:
        if stream.type == "data" and "timecode" in stream.metadata:
            if self._container.format not in ("mov", "mp4"):
                self._warnings.append(f"{_label(stream)} became a tag: {self._container.format} has no timecode tracks")
            return
        cover = _COVERS.get(codec_of(stream)) if stream.disposition & Disposition.attached_pic else None
        try:
            if cover is not None and self._container.format == "matroska" and stream.index in self._first:
                self._output.add_attachment(*cover, bytes(self._first[stream.index]))
                return
            reason = refusal(stream, self._container.format, self._first.get(stream.index))
            if reason is None and not encode:
                self._keep(_Copied(stream, self._output.add_stream_from_template(stream, opaque=True)))
            elif isinstance(stream, av.AudioStream):
                sound = SoundTranscoder(stream, self._output, self._container.sound)
                self._keep(_Copied(stream, sound.stream, sound))
                if reason is not None:
                    self._warnings.append(
                        f"{_label(stream)} was encoded with {self._container.sound}: {self._container.format} cannot "
                        f"hold it ({reason})"
                    )
            elif isinstance(stream, SubtitleStream) and is_text(stream) and self._container.text_subtitles:
                words = SubtitleTranscoder(stream, self._output, self._container.text_subtitles)
                self._keep(_Copied(stream, words.stream, words))
                self._warnings.append(f"{_label(stream)} was converted to {self._container.text_subtitles}")
            else:
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
        if codec_of(packet.stream) == "mov_text" and bytes(packet) == _NO_WORDS:
            return False
        if packet.stream.disposition & Disposition.attached_pic:
            return True
        pts = packet.pts if packet.pts is not None else packet.dts
        return pts is None or self._window.holds(pts * packet.time_base)

    def _carry(self, packet: "Packet[Stream]") -> None:
        copied = self._copied[packet.stream_index]
        if copied.transcoder is None:
            self._mux(packet, copied)
            return
        for converted in copied.transcoder.convert(packet):
            self._mux(converted, copied)

    def _mux(self, packet: "Packet[Stream]", copied: _Copied) -> None:
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


def _dated(packets: "Iterable[Packet[Stream]]") -> "Iterator[Packet[Stream]]":
    """The same packets; a video's first ones, whose decoding times Matroska does not have, get them from those after.

    They lie one frame apart and end at the first that is known; a stream of which none is known stays as it is.
    """
    waiting: dict[int, list[Packet[Stream]]] = {}
    for packet in packets:
        if packet.stream.type != "video":
            yield packet
            continue
        held = waiting.setdefault(packet.stream_index, [])
        held.append(packet)
        if packet.dts is None and len(held) <= _AWAITED and packet.duration:
            continue
        for earlier, later in zip(reversed(held[:-1]), reversed(held), strict=False):
            earlier.dts = None if later.dts is None else later.dts - (earlier.duration or 0)
        yield from held
        held.clear()
    for held in waiting.values():
        yield from held


def _label(stream: Stream) -> str:
    told = [stream.metadata.get("filename") or codec_of(stream), stream.metadata.get("language")]
    return f"{stream.type} stream #{stream.index} ({', '.join(one for one in told if one)})"


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
