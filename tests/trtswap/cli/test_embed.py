"""``trtswap embed`` and ``trtswap config``: what they say and write; the graphs have tests of their own."""

import json
from pathlib import Path

import pytest

from .conftest import Run


def test_graphs_are_described(run: Run, tmp_path: Path) -> None:
    made = run("embed", "avatar", "-o", str(tmp_path / "graphs"), "--size", "320x240", "--no-restore", "--json")
    assert made.code == 0, made.err
    about = json.loads(made.out)
    assert about == json.loads((tmp_path / "graphs" / "embed.json").read_text())
    assert about["frames"]["size"] == [320, 240]
    assert set(about["graphs"]) == {"find", "identify", "swap"}
    assert "restore" not in about["stages"]
    again = run("embed", "avatar", "-o", str(tmp_path / "graphs"), "--size", "320x240")
    assert again.code == 1
    assert "exists" in again.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "big"], "expected WIDTHxHEIGHT"),
        (["--format", "nv12"], "need a matrix"),
        (["--window", "100"], "multiple of 8"),
        (["--faces", "40"], "less than or equal to 16"),
        (["--format", "yuyv"], "yuyv"),
    ],
)
def test_wrong_usage_is_said(run: Run, tmp_path: Path, options: list[str], message: str) -> None:
    made = run("embed", "avatar", "-o", str(tmp_path / "graphs"), *options)
    assert made.code == 2
    assert message in made.said
    assert not (tmp_path / "graphs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "neither is given"),
        (["-o", "graphs", "--triton", "repository"], "both are given"),
        (["--triton", "repository"], "Give window, or a size"),
    ],
)
def test_where_it_goes_is_said_once(run: Run, options: list[str], message: str) -> None:
    made = run("embed", "avatar", *options)
    assert made.code == 2
    assert message in made.said


def test_a_missing_pack_is_said(run: Run, tmp_path: Path) -> None:
    assert run("embed", "nothing", "-o", str(tmp_path / "graphs")).code == 1


@pytest.mark.parametrize(("option", "name"), [("--cmake-dir", "trtswapConfig.cmake"), ("--include", "trtswap.hpp")])
def test_the_parts_for_cpp_are_there(run: Run, option: str, name: str) -> None:
    assert (Path(run("config", option).out.strip()) / name).is_file()
    assert run("config").code == 2
    assert run("config", "--cflags").out.startswith("-std=c++17 -I")
    assert (Path(run("config", "--sources").out.strip()) / "CMakeLists.txt").is_file()
