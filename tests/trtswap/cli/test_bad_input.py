"""What cannot work says which file, why, and what to do; it leaves the user's files alone and no half-written ones."""

import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from trtswap.files import Target

from .conftest import Run, frames_in, small_copy
from .packs import altered, misshapen_swap_graph, slow_swap_graph, swap_spec

COMMAND = [sys.executable, "-P", "-c", "from trtswap.cli import main; main()"]


@pytest.fixture
def swap(run: Run, paste_pack: Path, pictures: Path) -> Run:
    """``run`` of a swap with a pack and a source; options given again win."""
    return lambda *arguments: run("swap", "--pack", paste_pack, "--preset", "ultrafast", *arguments)


@pytest.fixture
def face(pictures: Path) -> Path:
    return pictures / "face.png"


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestSources:
    def test_no_face(self, swap: Run, clips: Path, pictures: Path, tmp_path: Path) -> None:
        ran = swap(clips / "one.mp4", "-s", pictures / "gray.png", "-o", tmp_path / "out.mp4")
        assert ran.code == 1
        assert f"No face was found in {pictures / 'gray.png'}" in ran.said
        assert leftovers(tmp_path) == []

    def test_several_faces(self, swap: Run, clips: Path, pictures: Path, tmp_path: Path) -> None:
        ran = swap(clips / "one.mp4", "-s", pictures / "two.png", "-o", tmp_path / "out.mp4")
        assert ran.code == 1
        assert f"{pictures / 'two.png'} shows 2 faces" in ran.said
        assert "--source-face largest" in ran.said
        assert leftovers(tmp_path) == []

    def test_several_faces_and_a_choice(self, swap: Run, clips: Path, pictures: Path, tmp_path: Path) -> None:
        choice = ("-s", pictures / "two.png", "--source-face", "1", "--end", "0.1")
        assert swap(clips / "one.mp4", *choice, "-o", tmp_path / "out.mp4").code == 0

    def test_a_number_that_does_not_exist(self, swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
        ran = swap(clips / "one.mp4", "-s", face, "--source-face", "3", "-o", tmp_path / "out.mp4")
        assert ran.code == 1
        assert "number 3 does not exist" in ran.said

    @pytest.mark.parametrize("content", [None, b"", b"no picture at all"])
    def test_no_picture(self, swap: Run, clips: Path, tmp_path: Path, content: bytes | None) -> None:
        source = tmp_path / "face.png"
        if content is not None:
            source.write_bytes(content)
        ran = swap(clips / "one.mp4", "-s", source, "-o", tmp_path / "out.mp4")
        assert ran.code == 1
        assert str(source) in ran.said

    def test_nobody(self, swap: Run, clips: Path) -> None:
        ran = swap(clips / "one.mp4")
        assert ran.code == 2
        assert "-s FACE.png" in ran.said


class TestInputs:
    def test_no_face_anywhere_is_a_copy(self, swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
        ran = swap(clips / "gray.mp4", "-s", face, "-o", tmp_path / "out.mp4")
        assert ran.code == 0
        assert f"Warning: No face was found in {clips / 'gray.mp4'}" in ran.said
        assert frames_in(tmp_path / "out.mp4") == frames_in(clips / "gray.mp4")

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (None, "no such file"),
            (b"", "empty (0 bytes)"),
            (b"This is a letter, not a video.\n" * 99, "not a video"),
        ],
    )
    def test_no_video(self, swap: Run, face: Path, tmp_path: Path, content: bytes | None, why: str) -> None:
        source = tmp_path / "clip.mp4"
        if content is not None:
            source.write_bytes(content)
        before = leftovers(tmp_path)
        ran = swap(source, "-s", face)
        assert ran.code == 1
        assert str(source) in ran.said
        assert why in ran.said
        assert leftovers(tmp_path) == before

    def test_a_folder(self, swap: Run, face: Path, tmp_path: Path) -> None:
        ran = swap(tmp_path, "-s", face, "-o", tmp_path / "out.mp4")
        assert ran.code == 2
        assert "is a folder" in ran.said

    def test_sound_only(self, swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
        ran = swap(clips / "sound.m4a", "-s", face, "-o", tmp_path / "out.mp4")
        assert ran.code == 1
        assert f"{clips / 'sound.m4a'}: has no video stream (only audio)" in ran.said
        assert leftovers(tmp_path) == []

    def test_without_its_header(self, swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
        """MP4's index is at the end unless asked for, so half of such a file is nothing."""
        source = tmp_path / "half.mp4"
        whole = (clips / "one.mp4").read_bytes()
        source.write_bytes(whole[: len(whole) // 2])
        ran = swap(source, "-s", face, "-o", tmp_path / "out.mp4")
        assert ran.code == 1
        assert str(source) in ran.said
        assert leftovers(tmp_path) == ["half.mp4"]

    @pytest.mark.parametrize(("options", "code"), [((), 1), (("--keep-going",), 0)])
    def test_cut_off_in_the_middle(
        self, swap: Run, clips: Path, face: Path, tmp_path: Path, options: tuple[str, ...], code: int
    ) -> None:
        source, target = tmp_path / "cut.mp4", tmp_path / "out.mp4"
        whole = (clips / "long.mp4").read_bytes()
        source.write_bytes(whole[: len(whole) * 6 // 10])
        ran = swap(source, "-s", face, "-o", target, *options)
        assert ran.code == code
        assert f"{source}: the video ends at" in ran.said
        assert "although its header announces 1.20 s" in ran.said
        assert 5 < frames_in(target) < 30
        assert leftovers(tmp_path) == ["cut.mp4", "out.mp4"]


class TestTargets:
    def test_exists(self, swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
        target = tmp_path / "out.mp4"
        target.write_text("precious")
        ran = swap(clips / "one.mp4", "-s", face, "-o", target)
        assert ran.code == 1
        assert f"{target}: exists already" in ran.said
        assert "--overwrite" in ran.said
        assert target.read_text() == "precious"

    @pytest.mark.parametrize("name", ["out.mp4", "report.html", "trace.json"])
    def test_is_being_written(self, swap: Run, clips: Path, face: Path, tmp_path: Path, name: str) -> None:
        """Said at once, not after the work."""
        more = ("--report", tmp_path / "report.html", "--trace", tmp_path / "trace.json", "--overwrite")
        with Target(tmp_path / name, overwrite=False):
            ran = swap(clips / "one.mp4", "-s", face, "-o", tmp_path / "out.mp4", *more, "--pack", "no such pack")
        assert ran.code == 1
        assert f"{tmp_path / name}: another thread or process is writing it at this moment" in ran.said
        assert leftovers(tmp_path) == []

    def test_report_exists(self, swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
        report = tmp_path / "report.html"
        report.write_text("precious")
        ran = swap(clips / "one.mp4", "-s", face, "-o", tmp_path / "out.mp4", "--report", report)
        assert ran.code == 1
        assert f"{report}: exists already" in ran.said
        assert leftovers(tmp_path) == ["report.html"]
        assert report.read_text() == "precious"

    def test_overwritten_only_by_a_whole_video(self, swap: Run, clips: Path, tmp_path: Path, face: Path) -> None:
        target = tmp_path / "out.mp4"
        target.write_text("precious")
        ran = swap(clips / "one.mp4", "-s", face, "-o", target, "--overwrite", "--codec", "no_such_codec")
        assert ran.code == 1
        assert target.read_text() == "precious"

    @pytest.mark.parametrize("link", [None, os.symlink, os.link])
    def test_is_the_source(
        self, swap: Run, clips: Path, face: Path, tmp_path: Path, link: Callable[[Path, Path], None] | None
    ) -> None:
        source = Path(shutil.copy(clips / "one.mp4", tmp_path / "one.mp4"))
        target = source
        if link is not None:
            target = tmp_path / "link.mp4"
            link(source, target)
        ran = swap(source, "-s", face, "-o", target, "--overwrite")
        assert ran.code == 1
        assert f"{target}: is the source itself" in ran.said
        assert source.read_bytes() == (clips / "one.mp4").read_bytes()

    def test_is_a_picture_of_somebody(self, swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
        picture = Path(shutil.copy(face, tmp_path / "face.png"))
        ran = swap(clips / "one.mp4", "-s", picture, "-o", tmp_path / "out.mp4", "--report", picture, "--overwrite")
        assert ran.code == 1
        assert f"{picture}: is one of the pictures" in ran.said
        assert picture.read_bytes() == face.read_bytes()

    def test_folder_missing(self, swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
        ran = swap(clips / "one.mp4", "-s", face, "-o", tmp_path / "no" / "out.mp4")
        assert ran.code == 1
        assert f"there is no folder {tmp_path / 'no'}" in ran.said

    def test_is_a_folder(self, swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
        (tmp_path / "out.mp4").mkdir()
        ran = swap(clips / "one.mp4", "-s", face, "-o", tmp_path / "out.mp4")
        assert ran.code == 1
        assert "is a folder" in ran.said

    def test_cannot_be_written(self, swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o500)
        if os.geteuid() == 0:  # no permission stops root, but this file system takes no files
            folder = Path("/proc")
        ran = swap(clips / "one.mp4", "-s", face, "-o", folder / "out.mp4")
        assert ran.code == 1
        assert f"{folder / 'out.mp4'}: cannot write into its folder" in ran.said

    @pytest.mark.parametrize(
        ("options", "why"),
        [
            (("--codec", "no_such_codec"), "no video encoder 'no_such_codec'"),
            (("--preset", "hasty"), "no preset 'hasty'"),
            (("-e", "sharpness=9"), "no option 'sharpness'"),
        ],
    )
    def test_encoder(
        self, swap: Run, clips: Path, face: Path, tmp_path: Path, options: tuple[str, ...], why: str
    ) -> None:
        ran = swap(clips / "one.mp4", "-s", face, "-o", tmp_path / "out.mp4", *options)
        assert ran.code == 1
        assert why in ran.said
        assert leftovers(tmp_path) == []

    def test_suffix(self, swap: Run, clips: Path, face: Path, tmp_path: Path) -> None:
        ran = swap(clips / "one.mp4", "-s", face, "-o", tmp_path / "out.docx")
        assert ran.code == 1
        assert "cannot write '.docx'" in ran.said

    def test_full(self, clips: Path, face: Path, paste_pack: Path, tmp_path: Path) -> None:
        """A limit on the size of files stands for a disk that is full."""
        arguments = [
            "swap",
            clips / "one.mp4",
            "-s",
            face,
            "-o",
            tmp_path / "out.mp4",
            "--pack",
            paste_pack,
            "--crf",
            "0",
        ]
        ran = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 1
        assert f"Error: {tmp_path / 'out.mp4'}: writing failed" in ran.stderr
        assert "Traceback" not in ran.stderr
        assert leftovers(tmp_path) == []


class TestPacks:
    def test_unknown(self, run: Run, clips: Path, face: Path, tmp_path: Path) -> None:
        ran = run("swap", clips / "one.mp4", "-s", face, "-o", tmp_path / "out.mp4", "--pack", "nobody")
        assert ran.code == 1
        assert "There is no pack 'nobody'" in ran.said
        assert "trtswap export" in ran.said

    def test_wrong_hash(self, swap: Run, clips: Path, face: Path, paste_pack: Path, tmp_path: Path) -> None:
        graph = misshapen_swap_graph(*swap_spec(paste_pack))
        pack = altered(paste_pack, tmp_path / "pack", "swap", graph, true_hash=False)
        ran = swap(clips / "one.mp4", "-s", face, "-o", tmp_path / "out.mp4", "--pack", pack)
        assert ran.code == 1
        assert f"{pack / 'swap.onnx'}: graph swap has sha256" in ran.said

    def test_missing_graph(self, swap: Run, clips: Path, face: Path, paste_pack: Path, tmp_path: Path) -> None:
        pack = Path(shutil.copytree(paste_pack, tmp_path / "pack"))
        (pack / "parse.onnx").unlink()
        ran = swap(clips / "one.mp4", "-s", face, "-o", tmp_path / "out.mp4", "--pack", pack)
        assert ran.code == 1
        assert f"{pack / 'parse.onnx'} does not exist" in ran.said

    def test_wrong_shape(self, swap: Run, clips: Path, face: Path, paste_pack: Path, tmp_path: Path) -> None:
        size, latent = swap_spec(paste_pack)
        pack = altered(paste_pack, tmp_path / "pack", "swap", misshapen_swap_graph(size, latent))
        ran = swap(clips / "one.mp4", "-s", face, "-o", tmp_path / "out.mp4", "--pack", pack)
        assert ran.code == 1
        assert "swapped" in ran.said
        assert str(size // 2) in ran.said
        assert str(size) in ran.said
        assert leftovers(tmp_path) == ["pack"]


class TestSignals:
    """Real processes; within a second of the signal nothing is left of them but their exit code."""

    @classmethod
    def stop(
        cls, number: signal.Signals, folder: Path, after_seconds: float, *arguments: object
    ) -> tuple[int, float, str]:
        """The quickest of up to three stops: on two cores that others use too, one may wait for its turn."""
        outcome = cls.stop_once(number, folder, after_seconds, *arguments)
        for _ in range(2):
            if outcome[1] < 1.0:
                break
            outcome = min(outcome, cls.stop_once(number, folder, after_seconds, *arguments), key=lambda o: o[1])
        return outcome

    @staticmethod
    def stop_once(
        number: signal.Signals, folder: Path, after_seconds: float, *arguments: object
    ) -> tuple[int, float, str]:
        """Start a swap, wait until it has begun to write, send a signal later; exit code, seconds, what it said."""
        process = subprocess.Popen(
            [*COMMAND, "swap", *map(str, arguments), "-o", str(folder / "out.mp4")], stderr=subprocess.PIPE, text=True
        )
        while not leftovers(folder):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        time.sleep(after_seconds)
        assert process.poll() is None, "the work was done before the signal could come"
        assert leftovers(folder) != ["out.mp4"]
        sent = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate()
        return process.returncode, time.monotonic() - sent, said

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_inside_a_long_network(
        self, clips: Path, face: Path, paste_pack: Path, tmp_path: Path, number: signal.Signals
    ) -> None:
        pack = altered(paste_pack, tmp_path / "pack", "swap", slow_swap_graph(*swap_spec(paste_pack)))
        folder = tmp_path / "videos"
        folder.mkdir()
        code, seconds, said = self.stop(number, folder, 1.5, clips / "one.mp4", "-s", face, "--pack", pack)
        assert code == 128 + number
        assert seconds < 1.0
        assert f"Stopped by {number.name}" in said
        assert "Traceback" not in said
        assert leftovers(folder) == []

    def test_while_the_encoder_finishes(self, data: Path, face: Path, paste_pack: Path, tmp_path: Path) -> None:
        """x265 holds all frames back and takes long for them once there are no more."""
        clip = small_copy(data / "presenter.mp4", tmp_path / "clip.mp4", 24, (960, 540))
        folder = tmp_path / "videos"
        folder.mkdir()
        slow = ("--codec", "libx265", "--preset", "placebo", "--pack", paste_pack)
        code, seconds, said = self.stop(signal.SIGTERM, folder, 6, clip, "-s", face, *slow)
        assert code == 143
        assert seconds < 1.0
        assert "Traceback" not in said
        assert leftovers(folder) == []


def test_strangers_words_do_not_reach_the_terminal_as_commands(run: Run, paste_pack: Path, tmp_path: Path) -> None:
    """A pack's name, version and description may hold escapes, and marks that turn the direction of writing."""
    evil = "\x1b]0;owned\x07 \x1b[31m \x9b2J \u202e [bold red]"
    shutil.copytree(paste_pack, tmp_path / "evil")
    toml = tmp_path / "evil" / "pack.toml"
    head = tomllib.loads(toml.read_text("utf-8")) | {"name": evil, "version": evil, "description": evil}
    toml.write_text(tomli_w.dumps(head), "utf-8")
    for arguments in (("pack", "check", tmp_path / "evil"), ("doctor",)):
        ran = run(*arguments)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", ran.out + ran.err)
    ran = run("pack", "check", tmp_path / "evil")
    assert r"\x1b]0;owned\x07" in ran.out
    assert "[bold red]" in ran.out


def test_escapes_in_the_language_of_a_stream(run: Run, cases: Path, pictures: Path, tmp_path: Path) -> None:
    ran = run("swap", cases / "a04_escape_in_language.mkv", "-s", pictures / "face.png", "-o", tmp_path / "out.mp4")
    assert ran.code == 0, ran.err
    assert "\x1b" not in ran.out + ran.err
    assert "was left out" in ran.said or r"\x1b" in ran.said


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", ">&-", "| true"])
def test_nobody_listens(where: str, clips: Path, pictures: Path, paste_pack: Path, tmp_path: Path) -> None:
    command = [*COMMAND, "swap", clips / "one.mp4", "-s", pictures / "face.png", "-o", tmp_path / "out.mp4"]
    text = shlex.join(map(str, [*command, "--pack", paste_pack, "--end", "0.1"]))
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{text} {where}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == (1 if where == "| true" else 0), done.stderr  # as other programs whose reader has gone
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr
    assert leftovers(tmp_path) == ["out.mp4"]


def test_nobody_listens_to_a_document(clips: Path, paste_pack: Path) -> None:
    text = shlex.join(map(str, [*COMMAND, "detect", clips / "one.mp4", "--json", "--pack", paste_pack, "--end", "0.1"]))
    done = subprocess.run(["bash", "-c", f"{text} >&-"], capture_output=True, text=True, check=False)
    assert (done.returncode, "rror" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize("columns", ["0", "", "000"])
def test_a_terminal_of_no_width_gets_its_errors(columns: str, tmp_path: Path) -> None:
    command = [*COMMAND, "swap", tmp_path / "nothing.mp4"]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": columns}
    )
    assert done.returncode != 0
    assert "nothing.mp4" in done.stderr.replace("\n", "")


def test_names_that_an_encoding_does_not_have_are_shown_as_escapes(clips: Path, tmp_path: Path) -> None:
    code = "import trtswap_command as c; c.main()"
    command = [sys.executable, "-c", code, "swap", clips / "few.mp4", "-o", tmp_path / "☃.mp4", "--json"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, "\\u2603.mp4" in done.stdout) == (0, True), done.stderr
