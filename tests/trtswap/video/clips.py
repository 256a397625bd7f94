"""Small clips of every awkward kind, made with PyAV alone, and readings of files that do not pass through trtswap."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np

from trtswap.video.scheduling import ordinary_threads

TICKS = Fraction(1, 12_800)
HDR_MASTERING = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
HDR_LIGHT = "1000,400"
LOSSLESS = {"qp": "0", "preset": "ultrafast"}
FAST = {"preset": "ultrafast", "crf": "20"}


@dataclass
class Clip:
    """What to make; the defaults are 12 progressive frames of 96x64 at 25 fps."""

    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    size: tuple[int, int] = (96, 64)
    pts: Sequence[int] = tuple(range(0, 12 * 512, 512))
    last_duration: int = 512
    time_base: Fraction = TICKS
    rate: Fraction = Fraction(25)
    options: Mapping[str, str] = field(default_factory=lambda: dict(FAST))
    muxer: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, object] = field(default_factory=dict)
    rotation: tuple[float, bool, bool] | None = None
    audio: Sequence[str] = ()
    audio_start: Fraction = Fraction(0)
    audio_seconds: float = 0.6
    subtitles: Sequence[tuple[int, int, str]] = ()
    chapters: Sequence[tuple[int, int, str]] = ()
    title: str | None = None
    attachment: bytes | None = None

    def write(self, path: Path) -> Path:
        with ordinary_threads(), av.open(str(path), "w", container_options=dict(self.muxer)) as output:
            video = self._add_video(output)
            sounds = [self._add_audio(output, codec, number) for number, codec in enumerate(self.audio)]
            words = _add_subtitles(output, path) if self.subtitles else None
            if self.attachment:
                output.add_attachment("font.ttf", "application/x-truetype-font", self.attachment)
            if self.title:
                output.metadata["title"] = self.title
            output.set_chapters(
                [
                    {"id": i + 1, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": name}}
                    for i, (a, b, name) in enumerate(self.chapters)
                ]
            )
            packets = self._video_packets(video)
            for number, sound in enumerate(sounds):
                packets += self._audio_packets(sound, number)
            if words is not None:
                packets += [_subtitle_packet(words, *entry) for entry in self.subtitles]
            for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
                output.mux(packet)
        return path

    def _add_video(self, output: av.container.OutputContainer) -> av.VideoStream:
        stream = output.add_stream(self.codec, rate=self.rate, options=dict(self.options))
        stream.width, stream.height = self.size
        stream.pix_fmt = self.pix_fmt
        stream.codec_context.time_base = self.time_base
        for name, value in self.context.items():
            setattr(stream.codec_context, name, value)
        if self.rotation is not None:
            stream.set_display_rotation(*self.rotation)
        return stream

    def _video_packets(self, stream: av.VideoStream) -> list[av.Packet]:
        packets = []
        durations = [*np.diff(self.pts).tolist(), self.last_duration]
        for number, (pts, duration) in enumerate(zip(self.pts, durations, strict=True)):
            frame = picture(number, self.size, self.pix_fmt)
            frame.pts, frame.time_base, frame.duration = pts, self.time_base, duration
            packets += stream.encode(frame)
        packets += stream.encode(None)
        known = dict(zip(self.pts, durations, strict=True))
        for packet in packets:
            packet.duration = known[packet.pts]
        return packets

    def _add_audio(self, output: av.container.OutputContainer, codec: str, number: int) -> av.AudioStream:
        stream = output.add_stream(codec, rate=48_000)
        stream.codec_context.layout = "mono"
        stream.metadata["language"] = ("eng", "deu", "fra")[number]
        stream.metadata["title"] = f"track {number}"
        stream.disposition = av.stream.Disposition.default if number == 0 else av.stream.Disposition.comment
        return stream

    def _audio_packets(self, stream: av.AudioStream, number: int) -> list[av.Packet]:
        context = stream.codec_context
        context.open()
        step = context.frame_size or 1024
        packets = []
        for start in range(0, int(self.audio_seconds * 48_000), step):
            wave = np.sin(np.arange(start, start + step) * (0.05 + 0.02 * number)) * 0.3
            if context.format.name.startswith("s16"):
                samples = (wave * 32_000).astype(np.int16)
            else:
                samples = wave.astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples[None], format=context.format.name, layout="mono")
            frame.sample_rate, frame.time_base = 48_000, Fraction(1, 48_000)
            frame.pts = start + round(self.audio_start * 48_000)
            packets += stream.encode(frame)
        return packets + stream.encode(None)


def picture(number: int, size: tuple[int, int], pix_fmt: str) -> av.VideoFrame:
    """A frame of moving waves with some noise, different in every plane and in 20 consecutive frames."""
    frame = av.VideoFrame(*size, pix_fmt)
    bits = frame.format.components[0].bits
    for index, plane in enumerate(frame.planes):
        component = next(c for c in frame.format.components if c.plane == index)
        per_pixel = sum(c.plane == index for c in frame.format.components)
        dtype = np.uint8 if bits == 8 else np.uint16
        rows = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype().itemsize)
        height, width = component.height, component.width * per_pixel
        rows[:height, :width] = _wave(number % 20, index, height, width) * (0.86 * (1 << bits)) + (16 << (bits - 8))
    return frame


@cache
def _wave(number: int, index: int, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    wave = 0.5 + 0.25 * np.sin(x / 7 + number * 0.3 + index) + 0.15 * np.cos(y / 5 - number * 0.2)
    return wave + np.random.default_rng(number * 10 + index).uniform(0, 0.05, wave.shape)


def _add_subtitles(output: av.container.OutputContainer, path: Path) -> av.stream.Stream:
    if path.suffix == ".mkv":
        stream = output.add_mux_stream("subrip")
    else:
        stream = output.add_stream("mov_text")
        stream.codec_context.subtitle_header = ASS_HEADER
    stream.time_base = Fraction(1, 1000)
    stream.metadata["language"] = "eng"
    return stream


def _subtitle_packet(stream: av.stream.Stream, start: int, duration: int, text: str) -> av.Packet:
    words = text.encode()
    packet = av.Packet(words if stream.codec_context is None else len(words).to_bytes(2, "big") + words)
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = start
    packet.duration = duration
    return packet


ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+
PlayResX: 384
PlayResY: 288

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def frame_times(path: Path) -> list[Fraction]:
    """Presentation time of every frame, seconds, by PyAV's plain decoding."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def packets(path: Path, kind: str, number: int = 0) -> list[tuple[bytes, Fraction, Fraction]]:
    """(bytes, pts, dts) of every packet of a stream, times in seconds."""
    with av.open(str(path)) as container:
        stream = [s for s in container.streams if s.type == kind][number]
        return [(bytes(p), p.pts * p.time_base, p.dts * p.time_base) for p in container.demux(stream) if p.size]


def samples(path: Path, track: int = 0) -> np.ndarray:
    """What is heard of a stream of sound, as one channel of 48 kHz: float32 [N]."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48_000)
        frames = [part for frame in container.decode(audio=track) for part in resampler.resample(frame)]
        return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def subtitle_texts(path: Path) -> list[tuple[Fraction, str]]:
    """(time in seconds, words) of every subtitle that has words."""
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        found = []
        for packet in container.demux(stream):
            for line in packet.decode() if packet.size else ():
                if words := line.dialogue.decode():
                    found.append((packet.pts * packet.time_base, words))
        return found


def durations(path: Path) -> list[Fraction]:
    """Duration of every frame, seconds."""
    with av.open(str(path)) as container:
        return [frame.duration * frame.time_base for frame in container.decode(video=0)]


def planes(path: Path) -> list[list[np.ndarray]]:
    """The samples of every plane of every frame, bytes, without the padding of their lines."""
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            step = 1 if frame.format.components[0].bits == 8 else 2
            found.append(
                [
                    np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[: p.height, : p.width * step].copy()
                    for p in frame.planes
                ]
            )
    return found


def damaged(source: Path, target: Path, damage: Callable[[bytearray], bytes | bytearray]) -> Path:
    """A copy of a file with its bytes changed."""
    target.write_bytes(damage(bytearray(source.read_bytes())))
    return target
