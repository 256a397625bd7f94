"""Sound of a kind that the target cannot hold, in one that it can."""

from collections.abc import Iterator
from fractions import Fraction

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

# Bits a second for each channel: what listening tests find hard to tell from the original.
_BITRATE = {"aac": 96_000, "libopus": 64_000}
_USUAL_RATE = 48_000


class SoundTranscoder:
    """Decodes and encodes again the packets of one stream of sound.

    Args:
        source: a stream of an open file.
        output: the file, to which a stream is added.
        codec: FFmpeg's name of the encoder, ``aac`` or ``libopus``.

    Attributes:
        damaged: packets that could not be decoded.

    Raises:
        av.error.FFmpegError, ValueError: there is no decoder, or the encoder does not take such sound.
    """

    def __init__(self, source: av.AudioStream, output: OutputContainer, codec: str) -> None:
        if source.codec_context is None:
            raise ValueError("FFmpeg has no decoder for it")
        self.damaged = 0
        decoder = source.codec_context
        encoder = av.Codec(codec, "w")
        rates = encoder.audio_rates
        rate = decoder.sample_rate if not rates or decoder.sample_rate in rates else _USUAL_RATE
        stream = output.add_stream(codec, rate=rate)
        if not isinstance(stream, av.AudioStream):
            raise ValueError(f"{codec} is no encoder of sound")
        self.stream = stream
        context = stream.codec_context
        # A name such as "stereo", since channels without places cannot be encoded.
        context.layout = decoder.layout if "channels" not in decoder.layout.name else _layout_of(decoder.channels)
        context.bit_rate = _BITRATE[codec] * context.channels
        context.open()
        self._resampler = av.AudioResampler(
            format=context.format, layout=context.layout, rate=rate, frame_size=context.frame_size or None
        )

    def convert(self, packet: "Packet[Stream]") -> "Iterator[Packet[Stream]]":
        """What the encoder has ready after a packet of the source, in the source's time."""
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            self.damaged += 1
            return
        for frame in frames:
            _count_samples(frame)  # type: ignore[arg-type]
            for part in self._resampler.resample(frame):  # type: ignore[arg-type]
                yield from self.stream.encode(part)

    def flush(self) -> "Iterator[Packet[Stream]]":
        """The rest."""
        for part in self._resampler.resample(None):
            yield from self.stream.encode(part)
        yield from self.stream.encode(None)


def _count_samples(frame: av.AudioFrame) -> None:
    """Time in samples: files that count whole packets have no number for a part of one."""
    unit = Fraction(1, frame.sample_rate)
    if frame.pts is not None and frame.time_base is not None:
        frame.pts = round(frame.pts * frame.time_base / unit)
    frame.time_base = unit


def _layout_of(channels: int) -> str:
    return {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}.get(channels, "stereo")
