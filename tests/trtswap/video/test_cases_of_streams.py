"""Streams beside the pictures that once were lost, or cost the whole file."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from trtswap.errors import InputError, WriteError
from trtswap.video.timecode import advanced

from .clips import Clip, frame_times, samples, subtitle_texts
from .conftest import Copy


@pytest.mark.parametrize(("start", "expected"), [(None, "01:02:03:04"), (0.2, "01:02:03:09")])
@pytest.mark.parametrize("suffix", ["mov", "mp4", "mkv"])
def test_a_timecode_begins_with_the_first_frame(
    start: float | None, expected: str, suffix: str, cases: Path, copy: Copy
) -> None:
    done = copy(cases / "tmcd.mov", f"done.{suffix}", start=start)
    with av.open(str(done.path)) as container:
        tags = {name.lower(): value for name, value in container.streams.video[0].metadata.items()}
        assert tags["timecode"] == expected
        tracks = [stream for stream in container.streams if stream.type == "data"]
        assert len(tracks) == (suffix != "mkv")
    assert [line for line in done.writer.warnings if "became a tag" in line] == done.writer.warnings
    assert len(done.writer.warnings) == (suffix == "mkv")


def test_drop_frame_timecodes_skip_numbers_and_no_frames() -> None:
    rate, timecode = Fraction(30_000, 1001), "00:00:00;00"
    for frame in range(1, 40_000):
        timecode = advanced(timecode, rate, 1)
        assert timecode == advanced("00:00:00;00", rate, frame)
        assert not (timecode[6:] in ("00;00", "00;01") and int(timecode[3:5]) % 10)
    assert advanced("00:00:59;29", rate, 1) == "00:01:00;02"  # SMPTE ST 12-1's own example
    assert advanced("00:09:59;29", rate, 1) == "00:10:00;00"
    assert advanced("00:00:59;59", 2 * rate, 1) == "00:01:00;04"
    assert advanced("23:59:59:24", Fraction(25), 1) == "00:00:00:00"
    assert advanced("no timecode", rate, 1) is None


def test_quicktimes_own_tags_are_kept(cases: Path, copy: Copy) -> None:
    with av.open(str(cases / "keys.mov")) as source:
        wanted = {name: value for name, value in source.metadata.items() if name.startswith("com.apple.quicktime.")}
    assert len(wanted) == 3
    with av.open(str(copy(cases / "keys.mov", "done.mov").path)) as container:
        assert wanted.items() <= container.metadata.items()


def test_a_second_video_is_carried_over(cases: Path, copy: Copy) -> None:
    done = copy(cases / "two_video.mkv", "done.mkv")
    assert done.writer.warnings == []
    found = []
    for path in (cases / "two_video.mkv", done.path):
        with av.open(str(path)) as container:
            stream = container.streams.video[1]
            found.append([(bytes(packet), packet.pts) for packet in container.demux(stream) if packet.size])
    assert found[0] == found[1]
    assert len(found[0]) == 50


def test_a_cover_of_matroska_stays_an_attachment(copy: Copy, tmp_path: Path) -> None:
    from .test_table import KINDS, _jpeg, _made

    source = _made(tmp_path / "source.mkv", KINDS["mkv"])
    assert source is not None
    with av.open(str(copy(source, "done.mkv").path)) as container:
        covers = [s for s in container.streams.video if s.disposition & Disposition.attached_pic]
        assert [stream.metadata["filename"] for stream in covers] == ["cover.jpg"]
        assert [bytes(packet) for packet in container.demux(covers[0]) if packet.size] == [_jpeg()]


@pytest.mark.parametrize("start", [None, 0.2])
def test_sound_that_is_encoded_stays_where_it_was(start: float | None, copy: Copy, tmp_path: Path) -> None:
    source = Clip(audio=("flac",), audio_seconds=0.48).write(tmp_path / "source.mkv")
    done = copy(source, "done.mp4", start=start, audio="encode")
    was, now = samples(source)[round((start or 0) * 48_000) :], samples(done.path)
    length = min(len(was), len(now)) - 4000
    lags = range(-200, 201)
    likeness = [np.dot(was[1000:length], now[1000 + lag : length + lag]) for lag in lags]
    assert abs(lags[int(np.argmax(likeness))]) < 100  # 2 ms
    with av.open(str(done.path)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"


def test_sound_is_dropped_or_encoded_on_request(copy: Copy, tmp_path: Path) -> None:
    source = Clip(audio=("aac", "aac")).write(tmp_path / "source.mp4")
    with av.open(str(copy(source, "none.mp4", audio="drop").path)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    done = copy(source, "again.webm", audio="encode")
    with av.open(str(done.path)) as container:
        assert [stream.codec_context.name for stream in container.streams.audio] == ["opus", "opus"]
    with pytest.raises(InputError, match="audio is 'mute', expected one of copy, encode, drop"):
        copy(source, "done.mp4", audio="mute")


def _alpha_planes(path: Path) -> list[np.ndarray]:
    """By the decoder that looks at it; FFmpeg's own does not."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = av.CodecContext.create("libvpx-vp9", "r")
        frames = [f for packet in container.demux(stream) if packet.size for f in decoder.decode(packet)]
        assert {frame.format.name for frame in frames} == {"yuva420p"}
        return [np.frombuffer(f.planes[3], np.uint8).reshape(f.height, -1)[:, : f.width].copy() for f in frames]


@pytest.mark.parametrize("suffix", ["webm", "mkv"])
def test_transparency_of_vp9_is_carried_over_to_the_bit(suffix: str, cases: Path, copy: Copy) -> None:
    done = copy(cases / "alpha.webm", f"done.{suffix}", codec="libvpx-vp9")
    assert done.writer.warnings == []
    was, now = _alpha_planes(cases / "alpha.webm"), _alpha_planes(done.path)
    assert len(was) == len(now) == 12
    assert all(np.array_equal(a, b) for a, b in zip(was, now, strict=True))
    assert 0 < was[0].mean() < 255
    with av.open(str(done.path)) as container:
        tags = {name.lower(): value for name, value in container.streams.video[0].metadata.items()}
        assert tags["alpha_mode"] == "1"


@pytest.mark.parametrize(("name", "start"), [("done.mp4", None), ("done.webm", 0.1)])
def test_transparency_that_is_lost_is_said(name: str, start: float | None, cases: Path, copy: Copy) -> None:
    done = copy(cases / "alpha.webm", name, start=start)
    (warning,) = done.writer.warnings
    assert warning.startswith("lost in encoding: transparency: the result is opaque")
    with av.open(str(done.path)) as container:
        assert not any(name.lower() == "alpha_mode" for name in container.streams.video[0].metadata)


def test_a_gif_becomes_what_players_show(cases: Path, copy: Copy) -> None:
    done = copy(cases / "anim.gif", "done.mp4")
    with av.open(str(done.path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert any("encoded as yuv420p, not RGB" in line for line in done.writer.warnings)
    with av.open(str(copy(cases / "anim.gif", "rgb.mp4", pixel_format="gbrp").path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "gbrp"
    with pytest.raises(WriteError, match=r"libx264 or libx265 does not take nv99, expected one of .*yuv420p"):
        copy(cases / "anim.gif", "no.mp4", pixel_format="nv99")
    assert frame_times(done.path) == frame_times(cases / "anim.gif")


def test_odd_sizes_are_padded_by_their_edge(copy: Copy, tmp_path: Path) -> None:
    source = Clip(codec="ffv1", options={}, size=(95, 63)).write(tmp_path / "source.mkv")
    done = copy(source, "done.mp4", crf=0)
    with av.open(str(source)) as a, av.open(str(done.path)) as b:
        for was, now in zip(a.decode(video=0), b.decode(video=0), strict=True):
            wanted = np.pad(was.to_ndarray(format="gray"), ((0, 1), (0, 1)), mode="edge")
            assert (now.width, now.height) == (96, 64)
            assert np.array_equal(now.to_ndarray(format="gray"), wanted)


def _mp3(rate: int, layout: str) -> list[bytes]:
    context = av.CodecContext.create("libmp3lame", "w")
    context.sample_rate, context.layout, context.format, context.time_base = rate, layout, "s32p", Fraction(1, rate)
    channels = {"mono": 1, "stereo": 2}[layout]
    wave = np.sin(np.arange(rate // 4) * 440 * 2 * np.pi / rate).astype(np.float32) * 0.3
    packets = []
    for start in range(0, len(wave) - 1152, 1152):
        samples = np.stack([wave[start : start + 1152]] * channels)
        frame = av.AudioFrame.from_ndarray((samples * 2**31).astype(np.int32), format="s32p", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), start
        packets += context.encode(frame)
    return [bytes(packet) for packet in (*packets, *context.encode(None))]


def test_sound_that_changes_in_mid_stream_is_encoded_as_one(copy: Copy, tmp_path: Path) -> None:
    """Broadcasts change from stereo to 5.1; here from 48 kHz stereo to 44.1 kHz mono."""
    from .test_table import Kind, _made

    source = _made(tmp_path / "a.mkv", Kind(codec=("mpeg4", {}), sound=("libmp3lame",)))
    with av.open(str(source)) as a, av.open(str(tmp_path / "b.mkv"), "w") as b:
        video, sound = (b.add_stream_from_template(stream) for stream in a.streams)
        packets = []
        for packet in a.demux(video=0):
            if packet.size:
                packet.stream, packet.dts = video, packet.pts
                packets.append(packet)
        for number, data in enumerate((*_mp3(48_000, "stereo"), *_mp3(44_100, "mono"))):
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.pts, packet.dts = sound, Fraction(1, 1000), number * 24, number * 24
            packets.append(packet)
        for packet in sorted(packets, key=lambda packet: packet.pts):
            b.mux(packet)
    done = copy(tmp_path / "b.mkv", "done.webm")
    assert [line for line in done.writer.warnings if "damaged" in line] == []
    heard = samples(done.path)
    assert len(heard) > 0.4 * 48_000
    assert np.abs(heard[-8000:-2000]).max() > 0.15


def test_sound_that_is_none_is_left_out(copy: Copy, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mov"), "w") as output:
        video, sound = output.add_stream("libx264", rate=25), output.add_stream("pcm_s16le", rate=7)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        sound.codec_context.layout = "mono"
        frame = av.VideoFrame(96, 64, "yuv420p")
        for packet in (*video.encode(frame), *video.encode(None)):
            output.mux(packet)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 7), np.int16), format="s16", layout="mono")
        samples.sample_rate, samples.time_base, samples.pts = 7, Fraction(1, 7), 0
        for packet in (*sound.encode(samples), *sound.encode(None)):
            output.mux(packet)
    done = copy(tmp_path / "a.mov", "done.mp4", audio="encode")
    assert any("left out: it has 7 samples a second, expected 2000 to 768000" in line for line in done.writer.warnings)


def test_a_subtitle_without_end_is_left_out(copy: Copy, tmp_path: Path) -> None:
    """FFmpeg's conversion of 3 MB takes minutes, in which nothing stops it."""
    source = Clip(subtitles=((0, 100, "a" * 3_000_000), (200, 100, "two"))).write(tmp_path / "a.mkv")
    done = copy(source, "done.mp4")
    assert any("1 packets of subtitle stream #1" in line and "left out" in line for line in done.writer.warnings)
    assert [words for _, words in subtitle_texts(done.path)] == ["two"]
