"""Writing: which encoder, which errors, and that no file is lost, overwritten or left half done."""

import os
import re
from dataclasses import FrozenInstanceError, replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from trtswap.errors import InputError, WriteError
from trtswap.video.reader import VideoReader
from trtswap.video.writer import VideoWriter, WriteOptions

from ...conftest import no_file_beyond
from .clips import Clip, frame_times
from .conftest import Copy

MILLISECONDS = {"pts": tuple(range(0, 480, 40)), "last_duration": 40, "time_base": Fraction(1, 1000)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return Clip(audio=("aac",)).write(folder / "source.mp4")


# What comes in -> file -> what a reader finds in it.
AUTOMATIC = {
    ("yuv420p", "mp4"): ("h264", "yuv420p"),
    ("yuv444p", "mkv"): ("h264", "yuv444p"),
    ("gray", "mp4"): ("h264", "yuv420p"),  # as FFmpeg shows H.264 without chroma
    ("yuv420p10le", "mp4"): ("hevc", "yuv420p10le"),
    ("yuv422p12le", "mov"): ("hevc", "yuv422p12le"),
    ("gbrp10le", "mkv"): ("hevc", "yuv420p10le"),  # few players show RGB
    ("yuv411p", "mp4"): ("h264", "yuv422p"),
    ("yuv420p", "webm"): ("vp9", "yuv420p"),
    ("yuv420p10le", "webm"): ("libdav1d", "yuv420p10le"),
    ("bgr0", "ts"): ("h264", "yuv420p"),
}


@pytest.mark.parametrize(("name", "suffix"), AUTOMATIC)
def test_auto_takes_the_planes_as_they_are_where_it_can(name: str, suffix: str, copy: Copy, tmp_path: Path) -> None:
    clip = Clip(codec="ffv1", options={}, pix_fmt=name, **MILLISECONDS)
    done = copy(clip.write(tmp_path / "source.mkv"), f"target.{suffix}")
    with av.open(str(done.path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == AUTOMATIC[name, suffix]
    told = any("does not take" in line for line in done.writer.warnings)
    assert told == (name == "yuv411p")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codec": "nonsense"}, "no video encoder 'nonsense', expected 'auto' or one such as libx264"),
        ({"codec": "aac"}, "no video encoder 'aac'"),
        ({"codec": "prores_ks"}, "mp4 files cannot hold prores_ks video"),
        ({"preset": "instant"}, "no preset 'instant', expected one of ultrafast"),
        ({"options": {"nonsense": "1"}}, "libx264 has no option 'nonsense'"),
        ({"options": {"tune": "nonsense"}}, "encoder libx264 does not open with .*tune=nonsense"),
    ],
)
def test_unusable_encoder_settings(options: dict[str, str], message: str, source: Path, copy: Copy) -> None:
    with pytest.raises(WriteError, match=message):
        copy(source, "target.mp4", **options)
    assert sorted(p.name for p in source.parent.parent.iterdir()) == ["in"]


@pytest.mark.parametrize("name", ["target.avi", "target", "target.xyz"])
def test_unknown_suffix(name: str, source: Path, copy: Copy) -> None:
    with pytest.raises(WriteError, match=r"expected one of \.mp4, "):
        copy(source, name)


def test_options_are_named_and_stay_as_they_are() -> None:
    with pytest.raises(TypeError, match="crff"):
        WriteOptions(crff=18)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        WriteOptions("libx264")  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        WriteOptions().crf = 20  # type: ignore[misc]
    assert WriteOptions() == WriteOptions(
        codec="auto", crf=18, preset="medium", options={}, copy_streams=True, overwrite=False
    )


def test_options_reach_the_encoder(source: Path, copy: Copy) -> None:
    done = copy(source, "target.mp4", codec="libx264", crf=30, preset="fast", options={"x264-params": "keyint=3"})
    data = done.path.read_bytes()
    assert all(setting in data for setting in (b"keyint=3 ", b"crf=30.0", b"subme=6"))


def test_target_is_the_source(source: Path, tmp_path: Path) -> None:
    before = source.read_bytes()
    (tmp_path / "link.mp4").symlink_to(source)
    os.link(source, tmp_path / "same.mp4")
    for target in (source, tmp_path / "link.mp4", tmp_path / "same.mp4", source.parent / ".." / "in" / "source.mp4"):
        with VideoReader(source) as reader, pytest.raises(WriteError, match="is the source itself"):
            VideoWriter(target, reader.info, options=WriteOptions(overwrite=True), source=source)
    assert source.read_bytes() == before
    assert _names(source.parent) == ["source.mp4"]


def test_existing_target_is_kept_unless_told(source: Path, copy: Copy, tmp_path: Path) -> None:
    target = tmp_path / "target.mp4"
    target.write_bytes(b"precious")
    with pytest.raises(WriteError, match="exists already"):
        copy(source, "target.mp4")
    assert target.read_bytes() == b"precious"
    assert frame_times(copy(source, "target.mp4", overwrite=True).path) == frame_times(source)


def test_target_that_appears_meanwhile_is_kept(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.mp4"
    with VideoReader(source) as reader:
        writer = VideoWriter(target, reader.info, source=source)
        for batch in reader:
            writer.write(batch)
        target.write_bytes(b"precious")
        with pytest.raises(WriteError, match=r"appeared while .* what was finished is ") as caught:
            writer.close()
    assert target.read_bytes() == b"precious"
    finished = Path(str(caught.value).rpartition("what was finished is ")[2])
    assert frame_times(finished) == frame_times(source)


def test_no_hard_links(source: Path, copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    done = copy(source, "target.mp4")
    assert frame_times(done.path) == frame_times(source)
    assert _names(done.path.parent) == ["in", "target.mp4"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_nothing(error: type[BaseException], source: Path, tmp_path: Path) -> None:
    def run() -> None:
        with (
            VideoReader(source, batch_size=4) as reader,
            VideoWriter(tmp_path / "target.mp4", reader.info, source=source) as writer,
        ):
            for number, batch in enumerate(reader):
                writer.write(batch)
                if number == 1:
                    raise error

    with pytest.raises(error):
        run()
    assert _names(tmp_path) == ["in"]


def test_temporary_file_is_beside_the_target(source: Path, tmp_path: Path) -> None:
    with VideoReader(source) as reader, VideoWriter(tmp_path / "target.mp4", reader.info, source=source) as writer:
        part, lock, *rest = _names(tmp_path)
        assert re.fullmatch(r"\.target\.trtswap-[0-9a-f]{16}-[0-9a-f]{12}\.part\.mp4", part)
        assert re.fullmatch(r"\.trtswap-[0-9a-f]{16}\.lock", lock)
        assert rest == ["in"]
        for batch in reader:
            writer.write(batch)
        assert not (tmp_path / "target.mp4").exists()
    assert _names(tmp_path) == ["in", "target.mp4"]


@pytest.mark.parametrize("room", [20_000, 150_000])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_full_disk(suffix: str, room: int, tmp_path: Path, copy: Copy) -> None:
    """It may fill up early or late."""
    source = Clip(size=(192, 128), audio=("aac",)).write(tmp_path / "source.mp4")
    with no_file_beyond(room), pytest.raises(WriteError, match="writing failed: File too large"):
        copy(source, f"target.{suffix}", codec="libx264", options={"qp": "0", "tune": "zerolatency"})
    assert _names(tmp_path) == ["source.mp4"]


def test_unwritable_places(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    cases = {
        tmp_path / "missing" / "target.mp4": "there is no folder",
        tmp_path / "file" / "target.mp4": "there is no folder",
        tmp_path / "folder.mp4": "is a folder",
    }
    if Path("/proc/self").exists():
        cases[Path("/proc/self/target.mp4")] = "cannot write into its folder"
    with VideoReader(source) as reader:
        for target, message in cases.items():
            with pytest.raises(WriteError, match=message):
                VideoWriter(target, reader.info, options=WriteOptions(overwrite=True), source=source)
    assert _names(tmp_path) == ["file", "folder.mp4", "in"]


def test_no_frame(source: Path, tmp_path: Path) -> None:
    with VideoReader(source) as reader:
        writer = VideoWriter(tmp_path / "target.mp4", reader.info, source=source)
    with pytest.raises(WriteError, match="no frame was written"):
        writer.close()
    assert _names(tmp_path) == ["in"]


def test_other_frames_than_announced(source: Path, tmp_path: Path) -> None:
    with VideoReader(source) as reader:
        (batch, *_) = list(reader)
        smaller = replace(batch, planes=tuple(plane[:, 2:] for plane in batch.planes))
        other_clock = replace(batch, time_base=Fraction(1, 25))
        writer = VideoWriter(tmp_path / "target.mp4", reader.info)
        with pytest.raises(InputError, match="expected yuv420p 96x64"):
            writer.write(smaller)
        with pytest.raises(InputError, match="count time in 1/25 s"):
            writer.write(other_clock)
        writer.discard()
    assert _names(tmp_path) == ["in"]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system does not tell its threads")
@pytest.mark.parametrize("codec", ["libsvtav1", "libx264"])
def test_encoders_leave_the_scheduling_of_threads_alone(codec: str, source: Path, tmp_path: Path) -> None:
    """SVT-AV1 as root makes the whole process real-time."""
    before, tasks = os.sched_getscheduler(0), set(os.listdir("/proc/self/task"))
    with (
        VideoReader(source) as reader,
        VideoWriter(tmp_path / "a.mkv", reader.info, options=WriteOptions(codec=codec, preset="ultrafast")) as writer,
    ):
        for frames in reader:
            writer.write(frames)
        kinds = {os.sched_getscheduler(int(task)) for task in set(os.listdir("/proc/self/task")) - tasks}
    assert kinds == {before}
    assert os.sched_getscheduler(0) == before
