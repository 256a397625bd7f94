"""Turn what users type into values; what makes no sense is wrong usage (exit 2)."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from trtswap.errors import InputError

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_CLOCK = re.compile(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d*)?|\.\d+)")


def is_picture(path: Path) -> bool:
    """A still picture, by its name."""
    return path.suffix.lower() in PICTURES


def parse_time(text: str) -> float:
    """Seconds from ``12.5``, ``1:02.5`` or ``1:02:03``."""
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time; expected seconds or hh:mm:ss, such as 12.5 or 1:02:03.")
    hours, minutes, seconds = found.groups(default="0")
    if (hours, minutes) != ("0", "0") and float(seconds) >= 60:
        raise typer.BadParameter(f"{text!r} has {seconds} seconds after the minutes; expected less than 60.")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def parse_face(text: str) -> str | int:
    """``only``, ``largest`` or a number counted from the left."""
    if text in ("only", "largest"):
        return text
    if text.isdecimal():
        return int(text)
    raise typer.BadParameter(f"{text!r}: expected only, largest, or a number from 0, counted from the left.")


def parse_pair(text: str) -> tuple[Path, Path]:
    """(reference, source) of ``REFERENCE=SOURCE``; a name may hold a ``=`` itself."""
    places = [i for i, character in enumerate(text) if character == "="]
    pairs = [(Path(text[:i]), Path(text[i + 1 :])) for i in places]
    found = next((pair for pair in pairs if all(path.is_file() for path in pair)), None)
    if found is None:
        raise typer.BadParameter(f"{text!r}: expected REFERENCE=SOURCE, two existing pictures.", param_hint="--map")
    return found


def parse_settings(texts: Sequence[str]) -> dict[str, str]:
    """Encoder options from ``key=value`` texts."""
    settings = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not (key and separator):
            raise typer.BadParameter(f"{text!r}: expected key=value.", param_hint="--encoder-option")
        settings[key] = value
    return settings


@contextmanager
def as_usage_error() -> Iterator[None]:
    """Values that the library refuses are wrong usage when they come from the command line."""
    try:
        yield
    except InputError as error:
        raise typer.BadParameter(str(error)) from error
