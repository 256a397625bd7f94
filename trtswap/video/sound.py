"""Sound of a kind that the target cannot hold, in one that it can."""

import ctypes
from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

# Bits a second for each channel: what listening tests find hard to tell from the original.
_BITRATE = {"aac": 96_000, "libopus": 64_000}
_USUAL_RATE = 48_000
# Samples a second of what is sound; beyond, a second of the source is hours of work.
_SLOWEST, _FASTEST = 2_000, 768_000


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
        if _is_custom(decoder):
            raise ValueError("its channels are in an order of their own")
        if not _SLOWEST <= decoder.sample_rate <= _FASTEST:
            raise ValueError(f"it has {decoder.sample_rate} samples a second, expected {_SLOWEST} to {_FASTEST}")
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
        self._resampler = self._new_resampler()
        self._kind: tuple[int, str] | None = None

    def convert(self, packet: "Packet[Stream]") -> "Iterator[Packet[Stream]]":
        """What the encoder has ready after a packet of the source, in the source's time."""
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            self.damaged += 1
            return
        for frame in frames:
            if _is_custom(frame):  # type: ignore[arg-type]
                self.damaged += 1
                continue
            yield from self._encode(frame)  # type: ignore[arg-type]

    def _encode(self, frame: av.AudioFrame) -> "Iterator[Packet[Stream]]":
        if not _SLOWEST <= frame.sample_rate <= _FASTEST:
            self.damaged += 1
            return
        _count_samples(frame)
        kind = (frame.sample_rate, f"{frame.format.name} {frame.layout.name}")
        if self._kind not in (None, kind):  # broadcasts change from stereo to 5.1
            yield from self._encoded(self._resampler.resample(None))
            self._resampler = self._new_resampler()
        self._kind = kind
        try:
            parts = self._resampler.resample(frame)
        except (av.error.FFmpegError, ValueError):  # channels without places, of which no others can be made
            self.damaged += 1
            return
        yield from self._encoded(parts)

    def _encoded(self, parts: Iterable[av.AudioFrame]) -> "Iterator[Packet[Stream]]":
        for part in parts:
            yield from self.stream.encode(part)

    def _new_resampler(self) -> av.AudioResampler:
        context = self.stream.codec_context
        return av.AudioResampler(
            context.format, context.layout, context.sample_rate, frame_size=context.frame_size or None
        )

    def flush(self) -> "Iterator[Packet[Stream]]":
        """The rest."""
        yield from self._encoded(self._resampler.resample(None))
        yield from self.stream.encode(None)


def _is_custom(owner: av.AudioCodecContext | av.AudioFrame) -> bool:
    """Whether channels are in an order that their file lists (AV_CHANNEL_ORDER_CUSTOM).

    PyAV 18 copies such a list by its address, and frees it with each copy; so the copy is made to live for ever.
    """
    layout = owner.layout
    custom = "+" in layout.name or "@" in layout.name
    if custom:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))
    return custom


def _count_samples(frame: av.AudioFrame) -> None:
    """Time in samples: files that count whole packets have no number for a part of one."""
    unit = Fraction(1, frame.sample_rate)
    if frame.pts is not None and frame.time_base is not None:
        frame.pts = round(frame.pts * frame.time_base / unit)
    frame.time_base = unit


def _layout_of(channels: int) -> str:
    return {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}.get(channels, "stereo")
