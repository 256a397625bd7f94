"""Text subtitles of a kind that the target cannot hold, in one that it can (SubRip in Matroska, mov_text in MP4)."""

from collections.abc import Iterator

import av
from av.codec.codec import Properties
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream

# Words that are shown at once; FFmpeg takes time with their square, and nobody reads so many.
MOST_BYTES = 2**16


class SubtitleTranscoder:
    """Re-encodes the packets of one text subtitle stream; styling goes as far as the new kind has it.

    Args:
        source: a stream for which ``is_text`` holds.
        output: the file, to which a stream is added.
        codec: FFmpeg's name of the kind it becomes.

    Attributes:
        damaged: packets that were left out: longer than any that is read, or not to be decoded.

    Raises:
        av.error.FFmpegError: the source's kind cannot be decoded.
    """

    def __init__(self, source: SubtitleStream, output: OutputContainer, codec: str) -> None:
        self.damaged = 0
        self._decoder = _context(source)
        self._decoder.open(strict=False)
        stream = output.add_stream(codec)
        if not isinstance(stream, SubtitleStream):
            raise ValueError(f"{codec} is no subtitle codec")
        self.stream = stream
        self._encoder = _context(stream)
        # All of FFmpeg's text subtitles pass through ASS; its header holds the styles.
        self._encoder.subtitle_header = self._decoder.subtitle_header
        if source.time_base is not None:
            self._encoder.time_base = source.time_base

    def convert(self, packet: "Packet[Stream]") -> "Iterator[Packet[Stream]]":
        """The same words at the same time; nothing for a packet without any."""
        if packet.size > MOST_BYTES:
            self.damaged += 1
            return
        try:
            subtitles = self._decoder.decode2(packet)
        except av.error.FFmpegError:
            self.damaged += 1
            return
        if subtitles is None or not len(subtitles):
            return
        converted = self._encoder.encode_subtitle(subtitles)
        converted.time_base = packet.time_base
        converted.pts = converted.dts = packet.pts
        converted.duration = packet.duration or 0
        yield converted

    def flush(self) -> "Iterator[Packet[Stream]]":
        """Words wait for nothing."""
        return iter(())


def is_text(stream: Stream) -> bool:
    """The subtitles are text, not pictures, and FFmpeg can decode them."""
    context = stream.codec_context
    return isinstance(context, SubtitleCodecContext) and bool(
        Properties(context.codec.properties) & Properties.TEXT_SUB
    )


def _context(stream: SubtitleStream) -> SubtitleCodecContext:
    context = stream.codec_context
    if not isinstance(context, SubtitleCodecContext):
        raise av.error.DecoderNotFoundError(0, f"no codec for subtitle stream {stream.index}")
    return context
