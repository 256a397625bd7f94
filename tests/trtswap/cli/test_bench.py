"""``trtswap bench``: measures both ways, and writes what the schema of results asks for."""

import json
from pathlib import Path

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
