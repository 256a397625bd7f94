"""``trtswap build-engines`` for GPUs that are not here, with NVIDIA's own compiler."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trtswap.model.pack import Pack

from ...engines.packs import write_pack
from .conftest import Run

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: its wheels are for Linux and Windows")


@pytest.fixture(autouse=True)
def engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TRTSWAP_ENGINES", str(tmp_path / "engines"))
    return tmp_path / "engines"


@pytest.fixture
def hand(tmp_path: Path) -> Pack:
    return write_pack(tmp_path / "hand")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-P", "-m", "trtswap_command", *map(str, arguments)]


def test_the_command_makes_plans_and_lists_them(hand: Pack, run: Run) -> None:
    ran = run("build-engines", hand.path, "--for", "sm86,SM120", "--precision", "fp32", "--json")
    assert ran.code == 0, ran.err
    assert {tuple(one["targets"]) for one in json.loads(ran.out)} == {("8.6", "12.0")}
    (row, *_) = json.loads(run("engines", "list", "--json").out)["engines"]
    assert (row["library"], row["for"], row["state"]) == ("rtx", "8.6, 12.0", "no TensorRT or no GPU here to run it")
    assert "8.6," in run("engines", "list").out
    ran = run("build-engines", hand.path, "--for", "ada")
    assert ran.code == 2
    assert "expected sm86, sm89, sm120" in ran.err
    ran = run("build-engines", hand.path, "--for", "sm90", "--precision", "fp32")
    assert ran.code == 2
    assert "GPUs of data centres (9.0, 10.0) are TensorRT's" in ran.err


def test_ctrl_c_ends_a_build_within_a_second_and_leaves_nothing(engines: Path) -> None:
    with subprocess.Popen(
        command("build-engines", "avatar", "--for", "sm89", "--stage", "detect", "--precision", "fp32"),
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"TRTSWAP_ENGINES": str(engines)},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith(
            "detect: building, because: not built yet; compiler: onnx-parser; up to 32 at once, in at"
        )
        assert "at most 4.8 of 8.0 GiB" in line
        time.sleep(0.7)
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        process.wait(30)
        assert time.monotonic() - started < 2.5  # a second on a machine that does nothing else
        assert process.returncode == 130
    assert [path for path in engines.iterdir() if not path.name.endswith(".lock")] == []
