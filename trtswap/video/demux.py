"""Packets to decoded frames, past damage, and the check whether the file was whole."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream

from trtswap.limits import Limits, check_scans
from trtswap.video.info import Loss
from trtswap.video.probe import has_packet_index, origin_of
from trtswap.video.whole import is_cut_off

# Formats whose header tells the duration; others have it estimated from what is there.
_DECLARES_DURATION = ("matroska", "avi", "flv", "asf")
# Seconds by which the streams of a whole file may end before the declared duration.
_END_TOLERANCE = Fraction(1, 2)
_TIMED = ("video", "audio", "subtitle", "data")
# Decoders that give one picture for each packet, so that a missing one shows.
_PICTURE_PER_PACKET = frozenset({"h264", "hevc", "libdav1d", "av1", "vp9", "libvpx-vp9", "ffv1", "prores", "mjpeg"})


class _Awaited:
    """Presentation times of packets whose pictures have not come yet."""

    def __init__(self) -> None:
        self._pts: set[int] = set()
        self._begun = False

    def add(self, packet: "Packet[av.VideoStream]") -> None:
        if packet.pts is not None and not packet.is_discard:
            self._pts.add(packet.pts)

    def missed_before(self, frame: av.VideoFrame | None) -> int:
        """How many pictures that should have come before ``frame`` (None: the end) did not.

        Those before the very first are not counted: after a seek they depend on pictures that were not read.
        """
        if frame is not None and frame.pts is None:
            return 0
        passed = {pts for pts in self._pts if frame is None or frame.pts is None or pts <= frame.pts}
        self._pts -= passed
        came = frame is not None and frame.pts in passed
        missed = len(passed) - came if self._begun else 0
        self._begun = True
        return missed


class _DecodingTimes:
    """Presentation times for a file that has decoding times alone (AVI): FFmpeg's guesses are wrong where pictures are
    reordered.

    A decoder with reordering gives its first picture some packets late; so late is each, and is put back by that.
    """

    def __init__(self) -> None:
        self._first: int | None = None
        self._delay: int | None = None
        self._last: int | None = None

    def add(self, packet: "Packet[av.VideoStream]") -> None:
        if self._first is None and packet.size:
            self._first = packet.dts

    def set(self, frame: av.VideoFrame) -> None:
        if self._delay is None and frame.dts is not None and self._first is not None:
            self._delay = frame.dts - self._first
        if frame.dts is not None and self._delay is not None:
            frame.pts = frame.dts - self._delay
        else:  # those that the decoder still held at the end
            frame.pts = None if self._last is None else self._last + (frame.duration or 1)
        self._last = frame.pts


class Demuxer:
    """Decodes one video stream of an open file.

    Attributes:
        damaged_packets: packets that gave no picture; they are skipped, as the ffmpeg program does.
    """

    def __init__(self, container: InputContainer, stream: av.VideoStream, *, limits: Limits, path: Path) -> None:
        self.damaged_packets = 0
        self._limits, self._path = limits, path
        self._times = _DecodingTimes() if container.format.name == "avi" else None
        in_step = stream.codec_context.name in _PICTURE_PER_PACKET and self._times is None
        self._awaited = _Awaited() if in_step else None
        self._container = container
        self._stream = stream
        self._error: str | None = None
        self._last_dts: int | None = None
        self._reached = Fraction(0)
        self._streams: list[Stream] = [stream]
        if any(name in container.format.name for name in _DECLARES_DURATION):
            # Other streams often end after the video; only all of them together show how far the file goes.
            self._streams += [other for other in container.streams if other.type in _TIMED and other != stream]
        for other in container.streams:
            if other not in self._streams:
                other.discard = Discard.all

    def seek(self, tick: int) -> None:
        """Go to a key frame near ``tick`` (stream time base), before it if the format's index allows."""
        self.damaged_packets = 0
        self._awaited = None if self._awaited is None else _Awaited()
        self._times = None if self._times is None else _DecodingTimes()
        self._error = self._last_dts = None
        self._container.seek(tick, stream=self._stream)

    def frames(self) -> Iterator[av.VideoFrame]:
        """All frames from here to the end of the file, in presentation order, damaged ones included.

        Raises:
            LimitError: too many packets give none.
        """
        in_vain = 0
        for packet in self._packets():
            in_vain += 1
            self._limits.check("packets_without_frame", in_vain, self._path)
            for times in (self._awaited, self._times):
                if times is not None:
                    times.add(packet)
            for frame in self._decode(packet):
                in_vain = 0
                if self._times is not None:
                    self._times.set(frame)
                if self._awaited is not None:
                    self.damaged_packets += self._awaited.missed_before(frame)
                yield frame
        if self._awaited is not None:
            self.damaged_packets += self._awaited.missed_before(None)

    def loss(self, frames: int, delivered_end: Fraction) -> Loss | None:
        """What the header announced and the file did not hold; to be asked after the last frame.

        Args:
            frames: how many frames were delivered.
            delivered_end: end of the last one, seconds of the stream's clock.
        """
        expected = self._expected_end()
        if self._error is None and (expected is None or not self._is_short(expected)):
            return None
        origin = origin_of(self._container)
        return Loss(
            expected_seconds=float((expected or delivered_end) - origin),
            delivered_seconds=float(delivered_end - origin),
            delivered_frames=frames,
            reason=self._error or "the file is cut off",
        )

    def _decode(self, packet: "Packet[av.VideoStream]") -> list[av.VideoFrame]:
        if packet.size and self._stream.codec_context.name == "mjpeg":
            check_scans(memoryview(packet), self._path)
        try:
            return packet.decode()
        except av.error.EOFError:
            pass
        except av.error.FFmpegError:
            # The decoder's threads report another packet's damage here; which one, only its missing picture tells.
            self.damaged_packets += self._awaited is None
        return []

    def _packets(self) -> "Iterator[Packet[av.VideoStream]]":
        try:
            for packet in self._container.demux(self._streams):
                if packet.size:
                    self._note_position(packet)
                if packet.stream_index == self._stream.index:
                    yield packet  # type: ignore[misc]
        except av.error.FFmpegError as error:
            self._error = f"reading stopped with: {error.strerror}"
            yield self._flush_packet()

    def _flush_packet(self) -> "Packet[av.VideoStream]":
        packet: Packet[av.VideoStream] = Packet()  # type: ignore[assignment]
        packet.stream = self._stream
        return packet

    def _note_position(self, packet: "Packet[Stream]") -> None:
        if packet.is_corrupt:  # cut off by the end of the file
            return
        if packet.stream_index == self._stream.index and packet.dts is not None:
            self._last_dts = packet.dts
        if packet.pts is not None:
            self._reached = max(self._reached, (packet.pts + (packet.duration or 0)) * packet.time_base)

    def _expected_end(self) -> Fraction | None:
        if has_packet_index(self._stream):
            span = (self._stream.start_time or 0) + (self._stream.duration or 0)
            return span * (self._stream.time_base or Fraction(0))
        declares = any(name in self._container.format.name for name in _DECLARES_DURATION)
        if not declares or self._container.duration is None:
            return None
        return Fraction((self._container.start_time or 0) + self._container.duration, av.time_base)

    def _is_short(self, expected: Fraction) -> bool:
        if has_packet_index(self._stream):
            last = self._stream.index_entries[len(self._stream.index_entries) - 1].timestamp
            return self._last_dts is None or self._last_dts < last
        # Matroska counts milliseconds; other streams of a whole file may end somewhat before its duration.
        tolerance = Fraction(2, 1000) if is_cut_off(self._path, self._container.format.name) else _END_TOLERANCE
        return self._reached < expected - tolerance
