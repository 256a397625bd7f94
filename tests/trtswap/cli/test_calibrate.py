"""`trtswap calibrate` and `trtswap pack convert` as users meet them."""

import json
import shutil
from pathlib import Path

import pytest

from trtswap.files import Target
from trtswap.model.pack import Pack

from .conftest import Run


@pytest.fixture
def pack(paste_pack: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(paste_pack, tmp_path / "mine"))


def test_calibrate_then_convert(run: Run, pack: Path, clips: Path, tmp_path: Path) -> None:
    ran = run("calibrate", pack, "--video", clips / "one.mp4", "--frames", 1, "--threads", 1)
    assert ran.code == 0
    assert ran.out.startswith(str(pack / "calibration.json"))
    assert "1 face in 1 frame" in ran.said
    assert [line.split()[1] for line in ran.err.splitlines()] == ["frames", "detect", "identify", "swap", "parse"]

    ran = run("calibrate", pack, "--video", clips / "one.mp4")
    assert ran.code == 1
    assert "--overwrite" in ran.said

    ran = run("pack", "convert", pack, "--precision", "fp16", "-o", tmp_path / "half", "--threads", 1, "--json")
    assert ran.code == 0
    report = json.loads(ran.out)
    assert report["pack"] == str(tmp_path / "half")
    assert set(report["stages"]) == {"detect", "identify", "swap", "parse"}
    assert "of the multiply-adds in FP32" in ran.err
    assert Pack.load(tmp_path / "half").stages["swap"].precision == "fp16"
    assert run("pack", "check", tmp_path / "half").code == 0


def test_calibrate_as_json(run: Run, pack: Path, clips: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    ran = run("calibrate", pack, "--video", clips / "one.mp4", "--frames", 1, "-o", table, "--json", "--quiet")
    report = json.loads(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert (report["table"], report["faces"]) == (str(table), 1)
    assert report["tensors"] == sum(map(len, json.loads(table.read_text())["stages"].values()))


def test_a_table_that_is_being_written(run: Run, pack: Path, clips: Path) -> None:
    with Target(pack / "calibration.json", overwrite=False):
        ran = run("calibrate", pack, "--video", clips / "gray.mp4")
    assert ran.code == 1
    assert "calibration.json: another thread or process is writing it at this moment" in ran.said


def test_a_clip_without_faces(run: Run, pack: Path, clips: Path) -> None:
    ran = run("calibrate", pack, "--video", clips / "gray.mp4", "--frames", 1)
    assert ran.code == 1
    assert "no face was found in 3 frames of" in ran.said
    assert not (pack / "calibration.json").exists()


def test_a_clip_beyond_the_limits(run: Run, pack: Path, clips: Path) -> None:
    ran = run("calibrate", pack, "--video", clips / "gray.mp4", "--limit", "frame_pixels=100")
    assert ran.code == 1
    assert "more than the limit of 100" in ran.said
    assert not (pack / "calibration.json").exists()


def test_converting_needs_ranges(run: Run, pack: Path, tmp_path: Path) -> None:
    ran = run("pack", "convert", pack, "--precision", "fp16", "-o", tmp_path / "half")
    assert ran.code == 1
    assert "trtswap calibrate" in ran.said
    assert run("pack", "convert", pack, "--precision", "fp8").code == 2
    assert not (tmp_path / "half").exists()


def test_wrong_usage(run: Run, pack: Path, clips: Path) -> None:
    assert run("calibrate", pack).code == 2
    assert run("calibrate", pack, "--video", clips / "absent.mp4").code == 2
    assert run("calibrate", pack, "--video", clips / "one.mp4", "--frames", 0).code == 2
