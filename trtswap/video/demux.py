"""Packets to decoded frames, past damage, and the check whether the file was whole."""

from collections.abc import Iterator
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream

from trtswap.video.info import Loss
from trtswap.video.probe import has_packet_index, origin_of

# Formats whose header tells the duration; others have it estimated from what is there.
_DECLARES_DURATION = ("matroska", "avi", "flv", "asf")
# Seconds by which the streams of a whole file may end before the declared duration.
_END_TOLERANCE = 0.5


class Demuxer:
    """Decodes one video stream of an open file.

    Attributes:
        damaged_packets: packets that the decoder refused; they are skipped, as the ffmpeg program does.
    """

    def __init__(self, container: InputContainer, stream: av.VideoStream) -> None:
        self.damaged_packets = 0
        self._container = container
        self._stream = stream
        self._error: str | None = None
        self._last_dts: int | None = None
        self._reached = Fraction(0)
        self._streams: list[Stream] = [stream]
        if any(name in container.format.name for name in _DECLARES_DURATION):
            # The audio often ends after the video; only all streams together show how far the file goes.
            self._streams += container.streams.audio
        for other in container.streams:
            if other not in self._streams:
                other.discard = Discard.all

    def seek(self, tick: int) -> None:
        """Go to a key frame near ``tick`` (stream time base), before it if the format's index allows."""
        self.damaged_packets = 0
        self._error = self._last_dts = None
        self._container.seek(tick, stream=self._stream)

    def frames(self) -> Iterator[av.VideoFrame]:
        """All frames from here to the end of the file, in presentation order, damaged ones included."""
        for packet in self._packets():
            try:
                yield from packet.decode()  # type: ignore[misc]
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self.damaged_packets += 1

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
        if packet.stream_index == self._stream.index and packet.dts is not None:
            self._last_dts = packet.dts
        if packet.pts is not None:
            self._reached = max(self._reached, (packet.pts + (packet.duration or 0)) * packet.time_base)

    def _expected_end(self) -> Fraction | None:
        if has_packet_index(self._stream):
            assert self._stream.time_base is not None
            span = (self._stream.start_time or 0) + (self._stream.duration or 0)
            return span * self._stream.time_base
        declares = any(name in self._container.format.name for name in _DECLARES_DURATION)
        if not declares or self._container.duration is None:
            return None
        return Fraction((self._container.start_time or 0) + self._container.duration, av.time_base)

    def _is_short(self, expected: Fraction) -> bool:
        if has_packet_index(self._stream):
            last = self._stream.index_entries[len(self._stream.index_entries) - 1].timestamp
            return self._last_dts is None or self._last_dts < last
        return self._reached < expected - Fraction(_END_TOLERANCE)
