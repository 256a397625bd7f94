"""What users type becomes values."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from trtswap.cli import app
from trtswap.cli.arguments import is_picture, parse_face, parse_pair, parse_settings, parse_time

from .conftest import Run


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("12.5", 12.5), (".5", 0.5), ("90", 90), ("1:02", 62), ("1:02.5", 62.5), ("01:02:03", 3723)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@given(st.integers(0, 10**7))
def test_whole_seconds_survive_the_clock(total: int) -> None:
    minutes, seconds = divmod(total, 60)
    hours, minutes = divmod(minutes, 60)
    assert parse_time(f"{hours}:{minutes:02}:{seconds:02}") == total


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "-1",
        "1:60",
        "1:61:00",
        "1:2:3:4",
        "1e3",
        "nan",
        "inf",
        "1:",
        "9" * 17,
        "9" * 400,
        "9" * 5000 + ":00:00",
    ],
)
def test_no_times(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_time(text)


def test_faces() -> None:
    assert [parse_face(text, "--source-face") for text in ("only", "largest", "0", "12")] == ["only", "largest", 0, 12]
    for text in ("first", "-1", "1.5", "", "9" * 5000):
        with pytest.raises(typer.BadParameter):
            parse_face(text, "--source-face")


def test_pairs_of_files_whose_names_have_equal_signs(tmp_path: Path) -> None:
    for name in ("a=b.png", "c.png", "a"):
        (tmp_path / name).touch()
    reference, source = tmp_path / "a=b.png", tmp_path / "c.png"
    assert parse_pair(f"{reference}={source}") == (reference, source)
    assert parse_pair(f"{source}={reference}") == (source, reference)
    for text in (f"{source}", f"{source}=", f"{source}={tmp_path / 'missing.png'}", "="):
        with pytest.raises(typer.BadParameter, match="two existing pictures"):
            parse_pair(text)


def test_settings() -> None:
    assert parse_settings(["tune=film", "x264-params=a=1:b=2", "empty="]) == {
        "tune": "film",
        "x264-params": "a=1:b=2",
        "empty": "",
    }
    for text in ("film", "=film"):
        with pytest.raises(typer.BadParameter, match="key=value"):
            parse_settings([text])


def test_pictures() -> None:
    assert all(is_picture(Path(name)) for name in ("a.png", "a.JPG", "a.jpeg", "a.webp"))
    assert not any(is_picture(Path(name)) for name in ("a.mp4", "a.gif", "png"))


def test_suffixes_are_those_of_the_containers() -> None:
    from trtswap.cli.arguments import target_of
    from trtswap.video.containers import CONTAINERS

    written = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts", ".mts", ".m2ts"}
    assert set(CONTAINERS) == written
    assert {target_of(Path(f"in{suffix}"), None).suffix for suffix in CONTAINERS} == written


def test_where_a_swap_is_written(tmp_path: Path) -> None:
    from trtswap.cli.arguments import target_of

    for source, output, expected in (
        ("a/in.mkv", None, "a/in-swapped.mkv"),
        ("a/in.avi", None, "a/in-swapped.mp4"),
        ("in.gif", None, "in-swapped.gif"),
        ("in.heic", None, "in-swapped.png"),
        ("in", None, "in-swapped.mp4"),
        ("in.PNG", None, "in-swapped.PNG"),
        ("in.mp4", "x.mov", "x.mov"),
        ("in.mp4", tmp_path, tmp_path / "in-swapped.mp4"),
    ):
        assert target_of(Path(source), None if output is None else Path(output)) == Path(expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("swap", "."), ". is a folder; expected a video or picture"),
        (("swap", "/"), "/ is a folder"),
        (("detect", "."), ". is a folder"),
        (("swap", "https://example.org/a.mp4"), "is an address; trtswap reads files"),
        (("swap", "rtsp:/camera"), "is an address"),
        (("swap", "a.mp4", "--start", "5", "--end", "3"), "3 s is not after --start, 5 s"),
        (("detect", "a.mp4", "--start", "5", "--end", "5"), "5 s is not after --start, 5 s"),
        (("swap", "a.mp4", "--start", "0:75"), "has 75 seconds after the minutes"),
        (("swap", "a.mp4", "--crf", "99"), "less than or equal to 63"),
        (("swap", "a.mp4", "--limit", "pixels"), "expected NAME=NUMBER"),
        (("swap", "a.mp4", "--reference", __file__), "by whom has to be said with -s FACE.png"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(arguments: tuple[str, ...], words: str, run: Run) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert words in ran.said


def test_help_shows_brackets_as_they_are(run: Run) -> None:
    """As markup they would be taken for styles, and vanish: defaults, layouts, names of tables."""
    commands, seen = get_command(app), 0
    for names, command in walk(commands):
        told = run(*names, "--help").out.replace("│", " ")
        told = " ".join(told.split())
        texts = [command.help or "", *(getattr(parameter, "help", None) or "" for parameter in command.params)]
        for bracket in re.findall(r"\[[^]]*\]", " ".join(" ".join(texts).split())):
            assert bracket.replace("`", "") in told, names
            seen += 1
        assert "default: True" not in told, names
    assert seen > 15


def walk(command: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, and how it is called."""
    if not hasattr(command, "commands"):
        yield names, command
        return
    for name, inner in command.commands.items():
        yield from walk(inner, (*names, name))
