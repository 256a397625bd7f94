"""``trtswap bench``: measures both ways, and writes what the schema of results asks for."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trtswap.packs import find_pack
from trtswap.report.measuring import check

from .conftest import Run


def test_bench_measures_a_video_and_made_up_frames(run: Run, clips: Path, paste_pack: Path, tmp_path: Path) -> None:
    written = tmp_path / "result.json"
    common = ("--pack", paste_pack, "--repeats", "1", "--json")
    ran = run("bench", clips / "one.mp4", *common, "--write", written, "--trace", tmp_path / "trace.json")
    data = json.loads(ran.out)
    check(data)
    assert data == json.loads(written.read_text())
    rows = {row["name"]: row["median"] for row in data["cases"]}
    assert rows["batch auto"] > 0
    assert {"batch auto: latency", "batch auto: detect", "batch auto: encode", "peak memory"} <= set(rows)
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    ran = run("bench", *common, "--size", "160x96", "--frames", "3", "--faces", "2", "--batch", "2", "--in-turn")
    rows = {row["name"]: row["median"] for row in json.loads(ran.out)["cases"]}
    assert rows["batch 2, 2 faces"] > 0
    assert rows["batch 2, 2 faces: paste"] > 0
    ran = run("bench", *common, "--size", "160", "--frames", "3")
    assert ran.code == 2
    assert run("bench", clips / "one.mp4", *common, "--write", written).code == 1  # it exists
    ran = run("bench", clips / "one.mp4", *common, "--limit", "frame_pixels=100")
    assert ran.code == 1
    assert "more than the limit of 100" in ran.said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.json", "trace.json"]


class _Somebody:
    """Stands in for dlib, which the tests do not install: a descriptor that is the face's colours."""

    def __call__(self, picture: np.ndarray, box: np.ndarray) -> np.ndarray:
        left, top, right, bottom = (round(float(v)) for v in box)
        return picture[max(top, 0) : bottom, max(left, 0) : right].mean((0, 1)) / 255


def test_quality_swaps_and_judges(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trtswap.cli.quality.NEEDED", ("cv2",))
    monkeypatch.setattr("trtswap.quality.cases.Judge", _Somebody)
    samples = find_pack("avatar") / "samples"
    sheet = tmp_path / "sheet.jpg"
    ran = run(
        "bench", "--quality", samples / "clip.mp4", "-s", samples / "source_1.png", "--sheet", sheet, "--json",
        "--backend", "onnxruntime", "--device", "cpu",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    data = json.loads(ran.out)
    rows = {row["name"]: row["median"] for row in data["cases"]}
    assert data["settings"]["pack"] == "mesh"
    assert rows["distance to the original"] > 0
    assert rows["mouth opens alike"] > 0.5
    assert rows["flicker"] > 0
    assert Image.open(sheet).size == (7 * 256, 512)


def test_a_report_says_how_good_a_swap_is(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trtswap.cli.quality.NEEDED", ("cv2",))
    monkeypatch.setattr("trtswap.quality.cases.Judge", _Somebody)
    samples, clip = find_pack("avatar") / "samples", tmp_path / "short.mp4"
    common = "-s", samples / "source_1.png", "--backend", "onnxruntime", "--device", "cpu", "--quiet"
    assert run("swap", samples / "clip.mp4", "-o", clip, "--end", "0.3", *common).code == 0
    ran = run("swap", clip, "-o", tmp_path / "out.mp4", "--report", tmp_path / "page.html", "--judge", *common)
    assert ran.code == 0, ran.err
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "How good it is" in page
    assert "Distance to the source" in page


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("-s", "face.png"), "give --report FILE.html, too"),
        (("-s", "face.png", "--start", "1", "--report", "page.html"), "no --map, --start or --end"),
        (("-s", "face.png", "--end", "1", "--report", "page.html"), "no --map, --start or --end"),
    ],
)
def test_what_a_judge_cannot_do_is_wrong_usage(run: Run, clips: Path, given: tuple[str, ...], said: str) -> None:
    ran = run("swap", clips / "one.mp4", "--judge", *given)
    assert ran.code == 2
    assert said in ran.said


@pytest.mark.parametrize("given", [(), ("in.mp4",), ("-s", "face.png")])
def test_quality_needs_a_clip_and_somebody(run: Run, given: tuple[str, ...]) -> None:
    ran = run("bench", "--quality", *given)
    assert ran.code == 2
    assert "--quality swaps a clip and judges it" in ran.err


def test_the_judge_is_an_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trtswap.cli.quality.NEEDED", ("cv2", "no_such_judge"))
    ran = run("bench", "--quality", "in.mp4", "-s", "face.png")
    assert ran.code == 1
    assert 'no_such_judge, not installed here: pip install "trtswap[quality]"' in ran.err
