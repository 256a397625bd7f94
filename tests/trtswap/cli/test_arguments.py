"""What users type becomes values."""

from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from trtswap.cli.arguments import is_picture, parse_face, parse_pair, parse_settings, parse_time


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


@pytest.mark.parametrize("text", ["", "soon", "-1", "1:60", "1:61:00", "1:2:3:4", "1e3", "nan", "inf", "1:"])
def test_no_times(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_time(text)


def test_faces() -> None:
    assert [parse_face(text) for text in ("only", "largest", "0", "12")] == ["only", "largest", 0, 12]
    for text in ("first", "-1", "1.5", ""):
        with pytest.raises(typer.BadParameter):
            parse_face(text)


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
