"""Reading: batches, times, display geometry, interlacing, damage, and everything that is no video."""

import os
import random
import shutil
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from trtswap.errors import InputError, LimitError, ReadError
from trtswap.limits import Limits
from trtswap.video.reader import VideoReader
from trtswap.video.whole import is_cut_off
from trtswap.video.writer import VideoWriter, WriteOptions

from .clips import FAST, Clip, damaged, frame_times, planes
from .conftest import Copy

BROADCAST = {"pts": tuple(range(0, 43_200, 3600)), "last_duration": 3600, "time_base": Fraction(1, 90_000)}
INTERLACED = {"preset": "ultrafast", "crf": "10", "flags": "+ildct+ilme", "x264-params": "tff=1"}
HUNDRED = Clip(
    size=(192, 128),
    pts=tuple(range(0, 100 * 512, 512)),
    options={**FAST, "g": "25"},
    audio=("aac",),
    audio_seconds=4,
    muxer={"movflags": "faststart"},
)


def test_presenter(data: Path) -> None:
    path = data / "presenter.mp4"
    with VideoReader(path, batch_size=16) as reader:
        info = reader.info
        pts = []
        for batch in reader:
            assert [tuple(plane.shape[1:]) for plane in batch.planes] == [(1080, 1920), (540, 960), (540, 960)]
            assert all(plane.dtype == torch.uint8 for plane in batch.planes)
            pts += batch.pts
    assert (info.width, info.height, info.frame_count, info.average_rate) == (1920, 1080, 138, 25)
    assert info.pixel_format.matrix == "bt709"  # untagged, and 1080 lines high
    assert [(s.kind, s.codec) for s in info.streams] == [("audio", "aac")]
    assert [value * info.time_base for value in pts] == frame_times(path)
    assert reader.loss is None
    assert (reader.damaged_packets, reader.corrupt_frames, reader.warnings) == (0, 0, [])


def test_batches_do_not_share_memory(tmp_path: Path) -> None:
    path = Clip().write(tmp_path / "source.mp4")
    with VideoReader(path, batch_size=5) as reader:
        batches = list(reader)
    assert [len(batch.pts) for batch in batches] == [5, 5, 2]
    assert all(batch.durations == (512,) * len(batch.pts) for batch in batches)
    batches[0].planes[0].zero_()
    assert np.array_equal(batches[1].planes[0][0].numpy(), planes(path)[5][0])


def test_closing_ends_the_iteration(tmp_path: Path) -> None:
    reader = VideoReader(Clip().write(tmp_path / "source.mp4"), batch_size=2)
    batches = iter(reader)
    next(batches)
    reader.close()
    reader.close()
    assert list(batches) == []


TURNS = [(0, False, False), (90, False, False), (180, False, False), (270, False, False)]
TURNS += [(0, True, False), (0, False, True), (90, True, False), (90, False, True)]


@pytest.mark.parametrize("turn", TURNS)
def test_convention_display(turn: tuple[int, bool, bool], tmp_path: Path) -> None:
    """Every coded pixel lands where NumPy's turns and flips put it (PyAV: degrees counter-clockwise, then mirrored)."""
    path = Clip(rotation=turn, pts=(0, 512)).write(tmp_path / "source.mp4")
    with VideoReader(path) as reader:
        batch = next(iter(reader))
    degrees, hflip, vflip = turn
    coded = np.arange(96 * 64).reshape(64, 96)
    seen = np.rot90(coded, degrees // 90)
    seen = seen[:, ::-1] if hflip else seen
    seen = seen[::-1] if vflip else seen
    assert batch.display_size == (seen.shape[1], seen.shape[0])
    y, x = np.mgrid[:64, :96]
    points = batch.to_display.numpy() @ np.stack([x.ravel(), y.ravel(), np.ones(96 * 64)])
    column, row = np.rint(points).astype(int)
    assert np.abs(points - [column, row]).max() < 1e-4
    assert np.array_equal(seen[row, column], coded.ravel())


def test_convention_quarter_turn_and_sample_aspect(tmp_path: Path) -> None:
    """Clockwise, as phones store it: (x, y) -> (H-1-y, x); a sample aspect widens x about the left edge."""
    turned = Clip(rotation=(-90, False, False), pts=(0, 512)).write(tmp_path / "turned.mp4")
    with VideoReader(turned) as reader:
        assert reader.info.display.coded_to_display == ((0, -1, 63), (1, 0, 0))
        assert reader.info.display.rotation == 90
    wide = Clip(context={"sample_aspect_ratio": Fraction(4, 3)}, pts=(0, 512)).write(tmp_path / "wide.mp4")
    with VideoReader(wide) as reader:
        assert reader.info.display_size == (128, 64)
        (a, b, c), second = reader.info.display.coded_to_display
        assert (a, b, c) == pytest.approx((4 / 3, 0, 0.5 * 4 / 3 - 0.5))
        assert second == (0, 1, 0)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_range_is_exact(suffix: str, tmp_path: Path) -> None:
    tick = {"mp4": 512, "mkv": 40, "ts": 3600}[suffix]
    base = {"mp4": Fraction(1, 12_800), "mkv": Fraction(1, 1000), "ts": Fraction(1, 90_000)}[suffix]
    clip = Clip(
        pts=tuple(range(0, 100 * tick, tick)),
        last_duration=tick,
        time_base=base,
        options={"preset": "veryfast", "crf": "20", "g": "25", "bf": "3"},
    )
    path = clip.write(tmp_path / f"source.{suffix}")
    times, truth = frame_times(path), planes(path)
    for start, end in ((0, None), (0.5, 0.54), (0.98, 2), (1, None), (1.02, None), (3.96, None)):
        with VideoReader(path, start=start, end=end) as reader:
            got = list(reader)
            origin = reader.info.origin
        wanted = [
            number
            for number, time in enumerate(times)
            if Fraction(str(start)) <= time - origin < (Fraction(str(end)) if end else 99)
        ]
        assert [pts * batch.time_base for batch in got for pts in batch.pts] == [times[number] for number in wanted]
        assert np.array_equal(got[0].planes[0][0].numpy(), truth[wanted[0]][0])
        assert reader.loss is None


def test_range_beyond_the_end(tmp_path: Path) -> None:
    path = Clip().write(tmp_path / "source.mp4")
    with pytest.raises(ReadError, match=r"no frame of it can be decoded from 7 s on; it is 0\.48"):
        VideoReader(path, start=7)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"start": -1}, {"start": 2, "end": 1}, {"end": 0}])
def test_senseless_arguments(wrong: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected"):
        VideoReader(tmp_path / "any.mp4", **wrong)


def test_interlaced_is_deinterlaced(copy: Copy, tmp_path: Path) -> None:
    path = Clip(options=INTERLACED).write(tmp_path / "source.mp4")
    done = copy(path, "target.mp4", codec="libx264", options={"qp": "0"})
    assert done.reader.info.interlaced
    assert done.reader.warnings == ["the source is interlaced: each of its frames was deinterlaced (bwdif)"]
    assert frame_times(done.path) == frame_times(path)
    truth = _bwdif(path)
    assert len(truth) == 12
    for expected, (luma, *_) in zip(truth, planes(done.path), strict=True):
        assert np.array_equal(expected, luma)
    with av.open(str(done.path)) as container:
        assert not any(frame.interlaced_frame for frame in container.decode(video=0))


def test_interlaced_from_the_middle_on(tmp_path: Path) -> None:
    first = Clip(**BROADCAST).write(tmp_path / "first.ts")
    later = {**BROADCAST, "pts": tuple(range(43_200, 86_400, 3600))}
    second = Clip(options=INTERLACED, **later).write(tmp_path / "second.ts")
    path = tmp_path / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    with VideoReader(path, batch_size=24) as reader:
        (batch,) = list(reader)
    with av.open(str(path)) as container:
        raw = [(frame.interlaced_frame, frame.pts) for frame in container.decode(video=0)]
    assert [flag for flag, _ in raw] == [False] * 12 + [True] * 12
    assert batch.pts == tuple(pts for _, pts in raw)
    untouched = [np.array_equal(a.numpy(), b[0]) for a, b in zip(batch.planes[0], planes(path), strict=True)]
    assert untouched == [True] * 12 + [False] * 12


def test_change_of_size_in_a_stream_without_times(tmp_path: Path) -> None:
    parts = []
    for size in ((96, 64), (128, 96)):
        Clip(size=size).write(tmp_path / "part.mp4")
        with av.open(tmp_path / "part.mp4") as source, av.open(tmp_path / "part.h264", "w", format="h264") as bare:
            stream = bare.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    bare.mux(packet)
        parts.append((tmp_path / "part.h264").read_bytes())
    (tmp_path / "both.h264").write_bytes(b"".join(parts))
    with VideoReader(tmp_path / "both.h264") as reader:
        assert {tuple(batch.planes[0].shape[1:]) for batch in reader} == {(64, 96)}
        assert reader.warnings[0].startswith("the picture changes from 96x64 yuv420p to 128x96 yuv420p")


@pytest.mark.parametrize(
    ("start", "end"),
    [(1e17, None), (None, float("inf")), (float("nan"), None), ("1", None), ([], None), (True, None), (2, 1)],
)
def test_spans_that_cannot_be(tmp_path: Path, start: Any, end: Any) -> None:
    Clip().write(tmp_path / "a.mp4")
    with pytest.raises(InputError):
        VideoReader(tmp_path / "a.mp4", start=start, end=end)


@pytest.mark.parametrize("name", ["x" * 5000 + ".mp4", "a\0.mp4", "nothing.mp4/in.mp4"])
def test_names_that_no_file_system_takes(name: str, tmp_path: Path) -> None:
    with pytest.raises(ReadError):
        VideoReader(tmp_path / name)


def test_a_change_of_size_is_scaled_and_said_once(tmp_path: Path) -> None:
    first = Clip(**BROADCAST).write(tmp_path / "first.ts")
    later = {**BROADCAST, "pts": tuple(range(43_200, 86_400, 3600))}
    second = Clip(size=(128, 96), **later).write(tmp_path / "second.ts")
    path = tmp_path / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    with VideoReader(path) as reader:
        batches = list(reader)
        assert [pts for batch in batches for pts in batch.pts] == list(range(0, 86_400, 3600))
        assert {tuple(batch.planes[0].shape[1:]) for batch in batches} == {(64, 96)}
        said = [line for line in reader.warnings if "changes from" in line]
        assert said == [
            "the picture changes from 96x64 yuv420p to 128x96 yuv420p at 0.48 s: it was scaled to 96x64 yuv420p"
        ]
    with VideoReader(second) as alone:
        small = torch.cat([batch.planes[0] for batch in alone])
    wanted = torch.nn.functional.interpolate(small[:, None].float(), (64, 96), mode="area")[:, 0]
    found = torch.cat([batch.planes[0] for batch in batches])[12:].float()
    assert (found - wanted).abs().mean() < 6
    with VideoReader(path, limits=Limits(frame_pixels=96 * 64)) as held, pytest.raises(LimitError):
        list(held)


def _cut(share: float) -> "type[bytes]":
    return lambda data: data[: round(len(data) * share)]  # type: ignore[return-value]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_cut_off_file_delivers_what_is_there_and_says_so(suffix: str, tmp_path: Path) -> None:
    whole = (
        HUNDRED.write(tmp_path / f"whole.{suffix}") if suffix == "mp4" else _matroska().write(tmp_path / "whole.mkv")
    )
    path = damaged(whole, tmp_path / f"cut.{suffix}", _cut(0.6))
    with VideoReader(path) as reader:
        pts = [value * batch.time_base for batch in reader for value in batch.pts]
    assert 40 < len(pts) < 70
    assert pts == frame_times(whole)[: len(pts)]
    assert reader.loss is not None
    assert reader.loss.delivered_frames == len(pts)
    assert reader.loss.delivered_seconds == pytest.approx(len(pts) / 25, abs=0.13)
    assert reader.loss.expected_seconds == pytest.approx(4, abs=0.05)
    assert "announces 4.0" in str(reader.loss)


def test_a_range_before_the_cut_loses_nothing(tmp_path: Path) -> None:
    path = damaged(HUNDRED.write(tmp_path / "whole.mp4"), tmp_path / "cut.mp4", _cut(0.6))
    with VideoReader(path, end=1) as reader:
        assert sum(len(batch.pts) for batch in reader) == 25
    assert reader.loss is None


def test_audio_longer_than_video_is_no_loss(tmp_path: Path) -> None:
    clip = _matroska()
    clip.audio_seconds = 6
    with VideoReader(clip.write(tmp_path / "source.mkv")) as reader:
        assert sum(len(batch.pts) for batch in reader) == 100
    assert reader.loss is None


def test_hole_is_skipped_and_counted(tmp_path: Path) -> None:
    def hole(data: bytearray) -> bytearray:
        data[len(data) // 2 : len(data) // 2 + 8000] = bytes(8000)
        return data

    path = damaged(HUNDRED.write(tmp_path / "whole.mp4"), tmp_path / "hole.mp4", hole)
    with VideoReader(path) as reader:
        frames = sum(len(batch.pts) for batch in reader)
    assert reader.damaged_packets > 0
    assert frames == 100 - reader.damaged_packets
    assert reader.loss is None


def test_noise_is_counted(tmp_path: Path) -> None:
    def noise(data: bytearray) -> bytearray:
        dice = random.Random(1)
        for _ in range(60):
            data[dice.randrange(len(data) // 4, len(data) * 3 // 4)] ^= 1 << dice.randrange(8)
        return data

    path = damaged(HUNDRED.write(tmp_path / "whole.mp4"), tmp_path / "noise.mp4", noise)
    with VideoReader(path) as reader:
        assert sum(len(batch.pts) for batch in reader) == 100 - reader.damaged_packets
    assert reader.corrupt_frames > 0


def _no_video(folder: Path) -> dict[str, tuple[Path, str]]:
    sound = folder / "sound.m4a"
    with av.open(str(sound), "w") as output:
        stream = output.add_stream("aac", rate=48_000)
        stream.codec_context.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    contents = {"zero.mp4": b"", "junk.mp4": random.Random(0).randbytes(5000), "text.mp4": b"not a video\n" * 99}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    whole = Clip().write(folder / "whole.mp4")
    return {
        "zero": (folder / "zero.mp4", r"the file is empty \(0 bytes\)"),
        "junk": (folder / "junk.mp4", "not a video that FFmpeg can open"),
        "text": (folder / "text.mp4", "not a video that FFmpeg can open"),
        "missing": (folder / "missing.mp4", "no such file"),
        "folder": (folder, "is a folder"),
        "audio only": (sound, r"has no video stream \(only audio\)"),
        "cut before its index": (
            damaged(whole, folder / "cut.mp4", _cut(0.7)),
            r"its index \(moov\) is missing. It may be cut off",
        ),
    }


@pytest.mark.parametrize("kind", ["zero", "junk", "text", "missing", "folder", "audio only", "cut before its index"])
def test_no_video(kind: str, tmp_path: Path) -> None:
    path, message = _no_video(tmp_path)[kind]
    with pytest.raises(ReadError, match=message):
        VideoReader(path)


def test_memory_does_not_grow(tmp_path: Path) -> None:
    """Half a megabyte per frame: keeping 260 of them would show."""
    clip = Clip(size=(704, 480), pts=tuple(range(0, 360 * 512, 512)), options={**FAST, "g": "30"}, audio=("aac",))
    clip.audio_seconds = 14
    path = clip.write(tmp_path / "source.mp4")
    sizes = []
    with (
        VideoReader(path, batch_size=4) as reader,
        VideoWriter(
            tmp_path / "target.mp4", reader.info, options=WriteOptions(preset="ultrafast"), source=path
        ) as writer,
    ):
        for number, batch in enumerate(reader):
            writer.write(batch)
            if number in (24, 89):
                sizes.append(_resident_bytes())
    assert sizes[1] - sizes[0] < 16e6


def _resident_bytes() -> int:
    pages = Path("/proc/self/statm")
    if not pages.exists():
        pytest.skip("needs /proc")
    return int(pages.read_text().split()[1]) * 4096


def _matroska() -> Clip:
    milliseconds = {"pts": tuple(range(0, 4000, 40)), "last_duration": 40, "time_base": Fraction(1, 1000)}
    return Clip(size=(192, 128), options={**FAST, "g": "25"}, audio=("aac",), audio_seconds=4, **milliseconds)


def _bwdif(path: Path) -> list[np.ndarray]:
    """Luma of the whole clip through a filter graph written as text, as a user of FFmpeg would."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        source, sink = graph.add_buffer(template=stream), graph.add("buffersink")
        graph.link_nodes(source, graph.add("bwdif", "0:-1:0"), sink).configure()
        for frame in [*container.decode(stream), None]:
            graph.vpush(frame)
            while True:
                try:
                    found.append(graph.vpull().to_ndarray()[:64])
                except (av.error.BlockingIOError, av.error.EOFError):
                    break
    return found


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return Clip().write(tmp_path / "clip.mp4")


def test_a_tag_that_is_no_utf8_is_read_with_a_mark(tmp_path: Path, clip: Path) -> None:
    path = tmp_path / "latin1.mkv"
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        target.metadata["title"] = "Caf*"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    path.write_bytes(path.read_bytes().replace(b"Caf*", b"Caf\xe9"))
    with VideoReader(path) as reader:
        assert sum(map(len, reader)) > 0


def test_the_latin1_title_of_an_avi(cases: Path) -> None:
    with VideoReader(cases / "a06_latin1_title.avi") as reader:
        assert sum(map(len, reader)) > 0


@pytest.mark.parametrize(
    "name", ["12:30.mp4", "http:x.mp4", "concat:a.mp4", "-i.mp4", "a?b#c%20d.mp4", "two\nlines.mp4"]
)
def test_a_name_is_a_name_and_no_address(
    name: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(clip, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with VideoReader(name) as reader, VideoWriter(f"out {name}", reader.info, source=Path(name)) as writer:
        frames = 0
        for batch in reader:
            writer.write(batch)
            frames += len(batch)
    with VideoReader(f"out {name}") as written:
        assert sum(map(len, written)) == frames > 0


@pytest.mark.parametrize(
    "playlist",
    [
        "ffconcat version 1.0\nfile other.mp4\n",
        "ffconcat version 1.0\nfile '{folder}/other.mp4'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{folder}/other.mp4\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n../{name}/other.mp4\n#EXT-X-ENDLIST\n",
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".ffconcat", ".m3u8"])
def test_a_playlist_reads_no_other_file(playlist: str, suffix: str, clip: Path, tmp_path: Path) -> None:
    shutil.copy(clip, tmp_path / "other.mp4")
    path = tmp_path / f"list{suffix}"
    path.write_text(playlist.format(folder=tmp_path, name=tmp_path.name))
    with pytest.raises(ReadError, match="not a video that FFmpeg can open"):
        VideoReader(path)


def test_the_playlist_of_the_cases(cases: Path, clip: Path, tmp_path: Path) -> None:
    shutil.copy(cases / "a03_ffconcat.mp4", tmp_path / "a.mp4")
    shutil.copy(clip, tmp_path / "other_user.mp4")
    with pytest.raises(ReadError, match="not a video that FFmpeg can open"):
        VideoReader(tmp_path / "a.mp4")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(ReadError, match="is a pipe"):
        VideoReader(tmp_path / "pipe.mp4")


def test_motion_jpeg_that_paints_over_and_over_is_refused(tmp_path: Path) -> None:
    data = BytesIO()
    Image.effect_noise((64, 64), 50).save(data, "JPEG", progressive=True)
    scan = data.getvalue()[data.getvalue().index(b"\xff\xda") : -2]
    many = data.getvalue()[:-2] + scan * 100 + b"\xff\xd9"
    with av.open(str(tmp_path / "a.mkv"), "w") as output:
        stream = output.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
        output.start_encoding()
        packet = av.Packet(many)
        packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 1000), 0, 0
        output.mux(packet)
    with pytest.raises(LimitError, match="more than 100 scans"):
        VideoReader(tmp_path / "a.mkv")


def test_tags_without_end_are_refused(tmp_path: Path) -> None:
    path = Clip().write(tmp_path / "a.mkv")
    with av.open(str(path)) as source, av.open(str(tmp_path / "b.mkv"), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        output.metadata.update({f"tag{number}": "x" for number in range(5000)})
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    with pytest.raises(LimitError, match=r"has 5,\d+ tags"):
        VideoReader(tmp_path / "b.mkv")


def test_avi_has_the_times_of_its_frames(tmp_path: Path) -> None:
    """It has decoding times alone; FFmpeg's guess of the rest is wrong for B-frames."""
    options = {"preset": "veryfast", "bf": "3", "crf": "20"}
    clip = Clip(options=options, pts=tuple(range(12)), last_duration=1, time_base=Fraction(1, 25))
    made = clip.write(tmp_path / "a.mp4")
    clip.write(tmp_path / "a.avi")
    with VideoReader(made) as first, VideoReader(tmp_path / "a.avi") as second:
        wanted, found = torch.cat([b.planes[0] for b in first]), torch.cat([b.planes[0] for b in second])
        assert wanted.equal(found)
        assert (second.warnings, second.damaged_packets) == ([], 0)
    with VideoReader(tmp_path / "a.avi") as again:
        assert [pts * batch.time_base for batch in again for pts in batch.pts] == [Fraction(n, 25) for n in range(12)]


def test_frames_before_the_first_time_lie_before_it(cases: Path) -> None:
    """FFmpeg has no times for packets of Matroska whose clock is below zero."""
    with VideoReader(cases / "nopts.mkv") as reader:
        assert [pts for batch in reader for pts in batch.pts] == list(range(-200, 200, 40))


def test_a_longer_second_video_is_no_loss(cases: Path) -> None:
    with VideoReader(cases / "two_video.mkv") as reader:
        assert sum(len(batch) for batch in reader) == 10
        assert reader.loss is None


@pytest.mark.parametrize(("orientation", "size"), [(1, (64, 48)), (6, (48, 64))])
def test_frames_with_exif_are_read(orientation: int, size: tuple[int, int], tmp_path: Path) -> None:
    """Cameras' Motion JPEG has it in each frame; PyAV does not know that kind of side data."""
    exif, data = Image.Exif(), BytesIO()
    exif[0x0112] = orientation
    Image.new("RGB", (64, 48), "red").save(data, "JPEG", exif=exif)
    with av.open(str(tmp_path / "a.mkv"), "w") as output:
        stream = output.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        output.start_encoding()
        for number in range(3):
            packet = av.Packet(data.getvalue())
            packet.stream, packet.time_base, packet.pts, packet.dts = (
                stream,
                Fraction(1, 1000),
                number * 40,
                number * 40,
            )
            output.mux(packet)
    with VideoReader(tmp_path / "a.mkv") as reader:
        assert sum(len(batch) for batch in reader) == 3
        assert reader.info.display_size == size


@pytest.mark.parametrize("suffix", ["mkv", "webm", "avi"])
def test_a_short_end_that_is_cut_off_is_missed(suffix: str, tmp_path: Path) -> None:
    """Half a second is less than streams of whole files may differ by, so that the file's own length is asked."""
    milliseconds = {"time_base": Fraction(1, 1000), "pts": tuple(range(0, 2000, 40)), "last_duration": 40}
    frames = {"time_base": Fraction(1, 25), "pts": tuple(range(50)), "last_duration": 1}
    codec = {"webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}}, "avi": {"codec": "mpeg4", "options": {}}}
    clip = Clip(**codec.get(suffix, {}), **(frames if suffix == "avi" else milliseconds))
    whole = clip.write(tmp_path / f"whole.{suffix}")
    with VideoReader(whole) as reader:
        assert (sum(len(batch) for batch in reader), reader.loss) == (50, None)
    assert not is_cut_off(whole, "avi" if suffix == "avi" else "matroska,webm")
    with av.open(str(whole)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole.read_bytes()[: places[42] + 3])
    with VideoReader(cut) as reader:
        assert sum(len(batch) for batch in reader) < 45
        assert reader.loss is not None
        # AVI has no duration of its own: FFmpeg works it out from what is there.
        assert reader.loss.expected_seconds == pytest.approx(1.76 if suffix == "avi" else 2.0, abs=0.01)


def test_interlaced_frames_too_small_for_the_filter_are_read(tmp_path: Path) -> None:
    """bwdif takes 3x4 and more."""
    options = {"flags": "+ildct+ilme"}
    times = {"pts": tuple(range(6)), "last_duration": 1, "time_base": Fraction(1, 25)}
    clip = Clip(codec="mpeg2video", size=(2, 2), options=options, **times)
    with VideoReader(clip.write(tmp_path / "a.mkv")) as reader:
        assert sum(len(batch) for batch in reader) == 6
        assert not any("deinterlaced" in line for line in reader.warnings)
