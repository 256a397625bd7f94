"""``trtswap swap``: what it writes, what it says, and that its options reach the library."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from trtswap.backends import choose
from trtswap.cli.runtime import Running
from trtswap.errors import TrtswapError
from trtswap.options import RuntimeOptions, SwapOptions
from trtswap.swapper import Swapper

from .conftest import Run, frames_in


@pytest.fixture
def swap(run: Run, paste_pack: Path) -> Run:
    return lambda *arguments: run("swap", "--pack", paste_pack, "--preset", "ultrafast", *arguments)


@pytest.fixture
def face(pictures: Path) -> Path:
    return pictures / "face.png"


def planes(path: Path) -> np.ndarray:
    """All frames as RGB, by another way than trtswap's reader: float32 [B, H, W, 3]."""
    with av.open(str(path)) as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]).astype(np.float32)


def test_beside_the_input_if_not_told_where(swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
    source = Path(shutil.copy(clips / "one.mp4", tmp_path / "my [holiday].mp4"))
    ran = swap(source, "-s", face)
    target = tmp_path / "my [holiday]-swapped.mp4"
    assert ran.code == 0
    assert frames_in(target) == 10
    assert ran.out.startswith(f"{target}: 10 frames in ")
    assert "10 faces swapped in 10 frames, 0 warnings" in ran.out
    assert ran.err.startswith(f"Pack paste 1, fp32, {choose(frames=10).reason}")


def test_only_the_face_changes(swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    assert swap(clips / "one.mp4", "-s", face, "-o", target, "--codec", "ffv1").code == 0
    difference = np.abs(planes(target) - planes(clips / "one.mp4")).max(axis=(0, 3))
    rows, columns = np.nonzero(difference > 20)
    assert len(rows) > 200
    # The speaker's face, seen in the picture: about (285, 55) to (350, 140).
    assert columns.min() > 285 - 40
    assert columns.max() < 350 + 40
    assert rows.min() > 55 - 40
    assert rows.max() < 140 + 40
    assert difference[200:].max() == 0


def test_json_and_nothing_else(swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
    ran = swap(clips / "one.mp4", "-s", face, "-o", tmp_path / "out.mp4", "--json", "--start", "0.08", "--end", "0.28")
    facts = json.loads(ran.out)
    assert facts["output"] == str(tmp_path / "out.mp4")
    assert (facts["frames"], facts["faces"], facts["frames_with_faces"]) == (5, 5, 5)
    assert frames_in(tmp_path / "out.mp4") == 5
    assert facts["backend"] == choose(frames=10).backend
    assert facts["device"] == "cpu"
    assert facts["precision"] == "fp32"
    assert facts["warnings"] == []
    assert facts["loss"] is None
    assert all(0 <= seconds <= facts["seconds"] for seconds in facts["stage_seconds"].values())


def test_quiet(swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
    ran = swap(clips / "one.mp4", "-s", face, "-o", tmp_path / "out.mp4", "--quiet", "--end", "0.1")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_encoder_options(swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
    def size(name: str, *options: str) -> int:
        target = tmp_path / name
        assert swap(clips / "one.mp4", "-s", face, "-o", target, "--end", "0.2", *options).code == 0
        with av.open(str(target)) as video:
            assert video.streams.video[0].codec_context.name == ("hevc" if "libx265" in options else "h264")
        return target.stat().st_size

    assert size("coarse.mp4", "--crf", "45") < size("fine.mp4", "--crf", "10")
    assert size("fixed.mp4", "-e", "qp=51", "-e", "g=1") < size("fine2.mp4", "-e", "qp=10", "-e", "g=1")
    assert size("hevc.mp4", "--codec", "libx265") > 0


class TestWho:
    """The pack's "identity" is the picture itself, so a picture of a frame is like the face in that frame."""

    @pytest.fixture
    def speaker(self, data: Path, tmp_path: Path) -> Path:
        with av.open(str(data / "presenter.mp4")) as video:
            next(video.decode(video=0)).to_image().save(tmp_path / "speaker.png")
        return tmp_path / "speaker.png"

    def faces(self, ran: Any) -> int:
        assert ran.code == 0, ran.err
        return int(json.loads(ran.out)["faces"])

    def test_reference(self, swap: Run, clips: Path, face: Path, speaker: Path, tmp_path: Path) -> None:
        common = (
            clips / "one.mp4",
            "-s",
            face,
            "-o",
            tmp_path / "out.mp4",
            "--json",
            "--overwrite",
            "--similarity",
            "0.8",
        )
        assert self.faces(swap(*common, "--reference", speaker)) == 10
        assert self.faces(swap(*common, "--reference", face)) == 0

    def test_map(self, swap: Run, clips: Path, face: Path, speaker: Path, tmp_path: Path) -> None:
        pairs = ("--map", f"{face}={speaker}", "--map", f"{speaker}={face}")
        ran = swap(
            clips / "one.mp4", *pairs, "-o", tmp_path / "out.mp4", "--json", "--similarity", "0.8", "--end", "0.2"
        )
        assert self.faces(ran) == 5

    def test_several_sources_are_averaged(
        self, swap: Run, clips: Path, face: Path, speaker: Path, tmp_path: Path
    ) -> None:
        for name, sources in (("one.mkv", (face,)), ("two.mkv", (face, speaker))):
            given = [text for source in sources for text in ("-s", source)]
            assert swap(clips / "one.mp4", *given, "-o", tmp_path / name, "--codec", "ffv1", "--end", "0.1").code == 0
        assert np.abs(planes(tmp_path / "one.mkv") - planes(tmp_path / "two.mkv")).max() > 20

    def test_a_pack_that_cannot_tell_people_apart_takes_no_references(
        self, swap: Run, clips: Path, face: Path, speaker: Path, tmp_path: Path
    ) -> None:
        for who in (("--map", f"{speaker}={face}"), ("-s", face, "--reference", speaker)):
            ran = swap(clips / "one.mp4", *who, "-o", tmp_path / "out.mp4")
            assert ran.code == 1
            assert "pack paste cannot tell people apart" in ran.said
            assert not (tmp_path / "out.mp4").exists()

    def test_contradictions(self, run: Run, clips: Path, face: Path) -> None:
        assert run("swap", clips / "one.mp4", "-s", face, "--map", f"{face}={face}").code == 2
        assert run("swap", clips / "one.mp4", "--reference", face).code == 2


class Asked(TrtswapError):
    """Ends a run where the pack would be loaded, with what was asked for."""

    def __init__(self, running: Running, options: SwapOptions):
        super().__init__("asked")
        self.running = running
        self.options = options


@pytest.fixture
def asked(run: Run, clips: Path, face: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asked]:
    seen: list[Asked] = []

    def open_(running: Running, options: SwapOptions) -> Swapper:
        seen.append(Asked(running, options))
        raise seen[-1]

    monkeypatch.setattr(Running, "open", open_)

    def ask(*options: str) -> Asked:
        assert run("swap", clips / "one.mp4", "-s", face, "-o", tmp_path / "out.mp4", *options).code == 1
        return seen.pop()

    return ask


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        (("--faces", "largest"), "faces", "largest"),
        (("--detect-threshold", "0.7"), "detect_threshold", 0.7),
        (("--max-faces", "3"), "max_faces", 3),
        (("--min-face", "64"), "min_face", 64.0),
        (("--similarity", "0.4"), "similarity", 0.4),
        (("--smooth", "0"), "smooth", 0),
        (("--fill", "9"), "fill", 9),
        (("--no-mouth",), "mouth", False),
        (("--no-restore",), "restore", False),
        (("--restore-weight", "0.5"), "restore_weight", 0.5),
        (("--feather", "0.1"), "feather", 0.1),
        (("--batch", "2"), "batch", 2),
        (("--face-batch", "1"), "face_batch", 1),
        (("--threads", "3"), "threads", 3),
    ],
)
def test_options_reach_the_library(
    asked: Callable[..., Asked], given: tuple[str, ...], name: str, value: object
) -> None:
    default = vars(SwapOptions()) | vars(RuntimeOptions())
    seen = asked(*given)
    options = vars(seen.options) | vars(seen.running.options) | {"frames": None}
    assert options == default | {name: value}
    assert default[name] != value


def test_what_runs(asked: Callable[..., Asked]) -> None:
    given = asked("--pack", "p", "--backend", "torch", "--device", "cpu", "--workers", "3").running
    ten_frames = RuntimeOptions(frames=10)
    assert given == Running("p", "torch", "cpu", ten_frames, workers=3)
    assert asked().running == Running("mesh", "auto", "auto", ten_frames, workers=None)
    assert asked("--start", "0.1", "--end", "0.3").running.options.frames == 5


class TestPictures:
    @pytest.mark.parametrize("name", ["out.png", "out.jpg", "out.webp"])
    def test_swapped(self, run: Run, paste_pack: Path, face: Path, data: Path, tmp_path: Path, name: str) -> None:
        with av.open(str(data / "presenter.mp4")) as video:
            next(video.decode(video=0)).to_image().resize((960, 540)).save(tmp_path / "in.png")
        ran = run("swap", tmp_path / "in.png", "-s", face, "-o", tmp_path / name, "--pack", paste_pack)
        assert ran.code == 0
        assert ran.out == f"{tmp_path / name}: 1 face swapped\n"
        before, after = (np.asarray(Image.open(tmp_path / n).convert("RGB")).astype(int) for n in ("in.png", name))
        difference = np.abs(after - before).max(axis=2)
        assert difference[90:200, 430:520].max() > 60
        assert difference[300:].max() <= (0 if name.endswith("png") else 40)

    def test_beside_the_input_and_never_over_it(self, run: Run, paste_pack: Path, face: Path, tmp_path: Path) -> None:
        picture = Path(shutil.copy(face, tmp_path / "me.png"))
        command = ("swap", picture, "-s", face, "--pack", paste_pack)
        assert run(*command).code == 0
        assert (tmp_path / "me-swapped.png").is_file()
        assert run(*command).code == 1
        assert run(*command, "--overwrite").code == 0
        assert run(*command, "-o", picture, "--overwrite").code == 1
        assert picture.read_bytes() == face.read_bytes()

    def test_a_name_that_is_not_utf_8(self, run: Run, paste_pack: Path, face: Path, tmp_path: Path) -> None:
        target = tmp_path / os.fsdecode(b"caf\xe9.png")
        ran = run("swap", face, "-s", face, "-o", target, "--pack", paste_pack)
        assert ran.code == 0
        assert r"caf\udce9.png: 1 face swapped" in ran.said
        assert [path.name for path in tmp_path.iterdir()] == [target.name]

    def test_a_picture_that_the_format_cannot_hold(
        self, run: Run, paste_pack: Path, face: Path, tmp_path: Path
    ) -> None:
        Image.new("RGB", (16_400, 32)).save(tmp_path / "wide.png")
        ran = run("swap", tmp_path / "wide.png", "-s", face, "-o", tmp_path / "out.webp", "--pack", paste_pack)
        assert ran.code == 1
        assert "out.webp: writing failed: encoding error" in ran.said
        assert [path.name for path in tmp_path.iterdir()] == ["wide.png"]

    def test_without_a_face(self, run: Run, paste_pack: Path, face: Path, pictures: Path, tmp_path: Path) -> None:
        ran = run("swap", pictures / "gray.png", "-s", face, "-o", tmp_path / "out.png", "--pack", paste_pack, "--json")
        assert ran.code == 0
        assert json.loads(ran.out)["faces"] == 0
        assert "No face was found" in ran.err
        assert np.array_equal(Image.open(tmp_path / "out.png"), Image.open(pictures / "gray.png"))

    def test_the_colour_profile_stays(
        self, run: Run, paste_pack: Path, face: Path, pictures: Path, tmp_path: Path
    ) -> None:
        Image.open(pictures / "gray.png").save(tmp_path / "in.png", icc_profile=b"a profile")
        run("swap", tmp_path / "in.png", "-s", face, "-o", tmp_path / "out.png", "--pack", paste_pack)
        assert Image.open(tmp_path / "out.png").info["icc_profile"] == b"a profile"

    def test_options_of_videos_are_refused(self, run: Run, face: Path) -> None:
        ran = run("swap", face, "-s", face, "--crf", "20", "-e", "a=b", "--no-copy-streams")
        assert ran.code == 2
        assert "--crf, --encoder-option, --no-copy-streams: has no meaning for a picture" in ran.said

    def test_other_file_types(self, run: Run, face: Path, tmp_path: Path) -> None:
        ran = run("swap", face, "-s", face, "-o", tmp_path / "out.mp4")
        assert ran.code == 1
        assert "cannot write a picture as .mp4" in ran.said


def test_a_video_is_done_whatever_becomes_of_its_report(
    swap: Run, clips: Path, face: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trtswap.errors import WriteError

    def full(*_: object) -> None:
        raise WriteError("r.html: No space left on device")

    monkeypatch.setattr("trtswap.cli.video.write_report", full)
    outputs = ("-o", tmp_path / "out.mp4", "--report", tmp_path / "r.html")
    ran = swap(clips / "one.mp4", "-s", face, *outputs, "--end", "0.2")
    assert ran.code == 1
    assert f"{tmp_path / 'out.mp4'} is done, but not what was to be told of it: r.html: No space left" in " ".join(
        ran.err.split()
    )
    assert (tmp_path / "out.mp4").is_file()
    assert not (tmp_path / "r.html").exists()


def test_a_file_that_looks_like_options_is_pointed_at(
    swap: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "-dash.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    ran = swap("-dash.png")
    assert ran.code == 2
    assert "-dash.png is a file here: to name it, write ./-dash.png." in ran.err


def test_report(swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    ran = swap(clips / "one.mp4", "-s", face, "-o", tmp_path / "out.mp4", "--report", report, "--end", "0.2", "--json",
               "--trace", tmp_path / "trace.json")  # fmt: skip
    facts = json.loads(ran.out)
    page = report.read_text("utf-8")
    assert facts["report"] == str(report)
    assert report.stat().st_size < 3e6
    assert page.count('alt="Face at') == 2 * 5
    assert all(f'<th scope="row">{stage}</th>' in page for stage in facts["stage_seconds"])
    events = [e for e in json.loads((tmp_path / "trace.json").read_text())["traceEvents"] if e["ph"] == "X"]
    assert {event["name"] for event in events} == set(facts["stage_seconds"])
    assert all(event["dur"] >= 0 for event in events)
    assert "trtswap swap --pack" in page
    assert "Who worked when" in page
    assert f"Pack paste 1, {choose(frames=10).backend} on the CPU" in page


def test_the_packs_sample_is_shown_and_named_without_a_source(
    run: Run, clips: Path, paste_pack: Path, face: Path, tmp_path: Path
) -> None:
    pack = Path(shutil.copytree(paste_pack, tmp_path / "pack"))
    (pack / "samples").mkdir()
    shutil.copy(face, pack / "samples" / "source_1.png")
    target = tmp_path / "out.mp4"
    ran = run("swap", clips / "one.mp4", "--pack", pack, "-o", target, "--end", "0.2", "--preset", "ultrafast")
    assert ran.code == 0
    assert "the pack's sample source_1.png" in ran.said
    assert target.is_file()
