"""Every container that is read, with everything that it holds, into every container that is written.

Each stream of the source is in the result, or a warning names it, and that warning is there before the first frame.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from trtswap.video.containers import CONTAINERS
from trtswap.video.reader import VideoReader
from trtswap.video.writer import VideoWriter, WriteOptions

from .clips import picture, samples

TARGETS = ("mp4", "mov", "mkv", "webm", "ts")
SECONDS = Fraction(12, 25)
AVC = ("libx264", {"preset": "ultrafast", "bf": "2"})
MPEG4 = ("mpeg4", {})
TEXT = ("one", "two")


@dataclass(frozen=True)
class Kind:
    """What is put into one source: kinds of sound by FFmpeg's encoders, of subtitles, and everything else."""

    codec: tuple[str, dict[str, str]] = AVC
    sound: tuple[str, ...] = ()
    words: str | None = None
    cover: bool = False
    attachment: bool = False
    timecode: bool = False
    second: bool = False


KINDS = {
    "mp4": Kind(sound=("aac", "libmp3lame", "ac3", "flac", "libopus", "alac"), words="mov_text", cover=True),
    "mov": Kind(sound=("aac", "pcm_s16le", "pcm_s24be", "alac", "ac3"), words="mov_text", timecode=True, second=True),
    "mkv": Kind(
        sound=("aac", "vorbis", "flac", "libopus", "pcm_s16le", "mp2", "eac3"),
        words="subrip", cover=True, attachment=True, second=True,
    ),
    "webm": Kind(codec=("libvpx-vp9", {"cpu-used": "8"}), sound=("libopus", "vorbis"), words="webvtt"),
    "ts": Kind(sound=("aac", "mp2", "ac3", "libopus", "libmp3lame"), second=True),
    "avi": Kind(codec=AVC, sound=("libmp3lame", "pcm_s16le", "ac3", "wmav2")),
    "old.avi": Kind(codec=MPEG4, sound=("mp2",)),
    "wmv": Kind(codec=("wmv2", {}), sound=("wmav2",)),
    "flv": Kind(codec=("flv1", {}), sound=("libmp3lame",)),
    "mpg": Kind(codec=("mpeg2video", {}), sound=("mp2", "ac3")),
    "gif": Kind(codec=("gif", {})),
}  # fmt: skip


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A source of each kind, made once; those whose encoders FFmpeg was built without are left out."""
    folder = tmp_path_factory.mktemp("table")
    return {name: made for name, kind in KINDS.items() if (made := _made(folder / f"source.{name}", kind)) is not None}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", KINDS)
def test_every_stream_is_there_or_named(name: str, target: str, sources: dict[str, Path], tmp_path: Path) -> None:
    if name not in sources:
        pytest.skip(f"FFmpeg here has no encoders for {name}")
    source, done = sources[name], tmp_path / f"done.{target}"
    with (
        VideoReader(source) as reader,
        VideoWriter(done, reader.info, options=WriteOptions(preset="ultrafast"), source=source) as writer,
    ):
        before = list(writer.warnings)
        frames = 0
        for batch in reader:
            writer.write(batch)
            frames += len(batch)
    assert (reader.loss, reader.damaged_packets, reader.corrupt_frames, frames) == (None, 0, 0, 12)
    later = writer.warnings[len(before) :]
    assert [line for line in later if "times below zero" not in line] == []
    assert not [line for line in reader.warnings if "damaged" in line]
    _check_streams(source, done, before)
    _check_sound(source, done)


def _check_streams(source: Path, done: Path, warnings: list[str]) -> None:
    with av.open(str(source)) as a, av.open(str(done)) as b:
        kinds = [_kind(stream) for stream in b.streams]
        for stream in a.streams:
            named = [line for line in warnings if re.search(rf"stream #{stream.index} \(", line)]
            gone = [line for line in named if "left out" in line]
            if gone:
                assert len(named) == 1
                continue
            if stream.index != a.streams.video[0].index and not named:
                assert _kind(stream) in kinds, f"{_kind(stream)} is missing, and no warning names it"
            if _kind(stream) in kinds:
                kinds.remove(_kind(stream))
        assert set(kinds) <= {"data"}, f"{kinds} came from nowhere"


def _kind(stream: av.stream.Stream) -> str:
    """A cover is an attachment in Matroska, a stream elsewhere."""
    covers = stream.type == "video" and stream.disposition & Disposition.attached_pic
    return "cover" if covers else str(stream.type)


def _check_sound(source: Path, done: Path) -> None:
    """What is heard has the loudness and length that it had."""
    with av.open(str(source)) as a, av.open(str(done)) as b:
        count = len(b.streams.audio)
        assert count == len(a.streams.audio)
    for track in range(count):
        was, now = samples(source, track), samples(done, track)
        assert abs(len(was) - len(now)) < 3000
        assert np.sqrt((now**2).mean()) == pytest.approx(np.sqrt((was**2).mean()), rel=0.15)


def test_containers_are_those_that_are_written() -> None:
    """Others are refused by name: test_writer's test_unknown_suffix."""
    assert {f".{target}" for target in TARGETS} <= CONTAINERS.keys()


def _made(path: Path, kind: Kind) -> Path | None:
    try:
        with av.open(str(path), "w") as output:
            packets = list(_packets(output, kind))
            for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
                output.mux(packet)
    except (av.error.EncoderNotFoundError, av.codec.codec.UnknownCodecError):
        return None
    return path


def _packets(output: av.container.OutputContainer, kind: Kind) -> Iterator[av.Packet]:
    videos = [_video(output, *kind.codec) for _ in range(1 + kind.second)]
    if kind.timecode:
        videos[0].metadata["timecode"] = "01:00:00:00"
    sounds = [_sound(output, codec) for codec in kind.sound]
    words = None if kind.words is None else _words(output, kind.words)
    cover = _cover(output) if kind.cover and "matroska" not in output.format.name else None
    if kind.cover and cover is None:
        output.add_attachment("cover.jpg", "image/jpeg", _jpeg())
    if kind.attachment:
        output.add_attachment("font.ttf", "application/x-truetype-font", b"font")
    output.start_encoding()
    for stream in videos:
        yield from _pictures(stream)
    for stream in sounds:
        yield from _waves(stream)
    if words is not None:
        yield from words
    if cover is not None:
        yield cover


def _video(output: av.container.OutputContainer, codec: str, options: dict[str, str]) -> av.VideoStream:
    stream = output.add_stream(codec, rate=25, options=dict(options))
    stream.width, stream.height = 96, 64
    stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
    if codec == "gif":
        stream.codec_context.time_base = Fraction(1, 100)
    return stream


def _pictures(stream: av.VideoStream) -> Iterator[av.Packet]:
    context = stream.codec_context
    for number in range(12):
        frame = picture(number, (96, 64), "yuv420p").reformat(format=context.pix_fmt)
        frame.pts, frame.time_base = round(number / (25 * context.time_base)), context.time_base
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _sound(output: av.container.OutputContainer, codec: str) -> av.AudioStream:
    stream = output.add_stream(codec, rate=48_000, options={"strict": "-2"})
    stream.codec_context.layout = "stereo"
    if codec.startswith("wma"):
        stream.codec_context.bit_rate = 128_000
    return stream


def _waves(stream: av.AudioStream) -> Iterator[av.Packet]:
    context = stream.codec_context
    resampler = av.AudioResampler(context.format, "stereo", 48_000, frame_size=context.frame_size or 1024)
    wave = np.sin(np.arange(int(SECONDS * 48_000)) * 0.05).astype(np.float32) * 0.3
    frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
    frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), 0
    for part in (*resampler.resample(frame), *resampler.resample(None)):
        yield from stream.encode(part)
    yield from stream.encode(None)


def _words(output: av.container.OutputContainer, codec: str) -> list[av.Packet]:
    stream = output.add_mux_stream(codec) if codec != "mov_text" else output.add_stream(codec)
    if codec == "mov_text":
        from .clips import ASS_HEADER

        stream.codec_context.subtitle_header = ASS_HEADER
    stream.time_base = Fraction(1, 1000)
    packets = []
    for number, text in enumerate(TEXT):
        data = text.encode() if codec != "mov_text" else len(text).to_bytes(2, "big") + text.encode()
        packet = av.Packet(data)
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = 100 + 200 * number
        packet.duration = 150
        packets.append(packet)
    return packets


def _cover(output: av.container.OutputContainer) -> av.Packet:
    with av.open(BytesIO(_jpeg()), format="jpeg_pipe") as image:
        packet = next(packet for packet in image.demux(video=0) if packet.size)
        stream = output.add_stream_from_template(image.streams.video[0])
        stream.disposition = Disposition.attached_pic
        made = av.Packet(bytes(packet))
    made.stream, made.time_base, made.pts, made.dts = stream, Fraction(1, 90_000), 0, 0
    return made


def _jpeg() -> bytes:
    from PIL import Image

    data = BytesIO()
    Image.new("RGB", (32, 32), "red").save(data, "JPEG")
    return data.getvalue()
