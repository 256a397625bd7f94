"""Turn what users type into values; what makes no sense is wrong usage (exit 2)."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from trtswap.errors import InputError
from trtswap.limits import MOST_SECONDS
from trtswap.video.containers import CONTAINERS

PICTURES = frozenset((
    ".png", ".apng", ".jpg", ".jpeg", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".avif", ".heic", ".heif", ".jp2",
    ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".mpo",
))  # fmt: skip
WRITTEN = frozenset((".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"))
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
_MOST_CHARACTERS = 30  # of a number that is meant
_CLOCK = re.compile(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d*)?|\.\d+)")


def is_picture(path: Path) -> bool:
    """A picture, by its name: any file may be opened as a video, and a few formats are both."""
    return path.suffix.lower() in PICTURES


def becomes_picture(source: Path, output: Path | None) -> bool:
    """A picture's file is made: of a picture, and of a GIF unless a video is asked for."""
    video = output is not None and output.suffix.lower() in CONTAINERS
    return is_picture(source) or (source.suffix.lower() == ".gif" and not video)


def parse_time(text: str) -> float:
    """Seconds from ``12.5``, ``1:02.5`` or ``1:02:03``."""
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time; expected seconds or hh:mm:ss, such as 12.5 or 1:02:03.")
    if len(text.strip()) > _MOST_CHARACTERS:
        raise typer.BadParameter(f"a time of {len(text)} characters; expected seconds or hh:mm:ss.")
    hours, minutes, seconds = found.groups(default="0")
    if ":" in text and float(seconds) >= 60:
        raise typer.BadParameter(f"{text!r} has {seconds} seconds after the minutes; expected less than 60.")
    time = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if time > MOST_SECONDS:
        raise typer.BadParameter(f"{text!r} is beyond every video; expected at most {MOST_SECONDS:g} seconds.")
    return time


def check_range(start: float | None, end: float | None) -> None:
    """Refuse a range of time that holds nothing."""
    if start is not None and end is not None and end <= start:
        raise typer.BadParameter(f"{end:g} s is not after --start, {start:g} s.", param_hint="--end")


def check_input(path: Path) -> None:
    """Refuse what is no file that could be read at all."""
    if _ADDRESS.match(str(path)):
        raise typer.BadParameter(f"{path} is an address; trtswap reads files. Download it first.", param_hint="INPUT")
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a folder; expected a video or picture.", param_hint="INPUT")


def target_of(source: Path, output: Path | None) -> Path:
    """Where a swap is written: ``output``, in it where it is a folder, or beside the source.

    A name that is not given has the source's suffix where that can be written, else one that players and viewers know.
    """
    if output is not None and (output.suffix or not output.is_dir()):  # a folder called out.mp4 is somebody's mistake
        if not output.suffix:
            raise typer.BadParameter(
                f"{output} is no folder that is there, and says no format; expected a folder, or a name such as "
                f"{output}.mp4.",
                param_hint="-o",
            )
        return output
    picture, suffix = becomes_picture(source, output), source.suffix
    if suffix.lower() not in (WRITTEN if picture else CONTAINERS):
        suffix = ".png" if picture else ".mp4"
    return (output or source.parent) / f"{source.stem}-swapped{suffix}"


def parse_face(text: str, option: str) -> str | int:
    """``only``, ``largest`` or a number counted from the left."""
    if text in ("only", "largest"):
        return text
    if text.isdecimal() and len(text) <= _MOST_CHARACTERS:
        return int(text)
    raise typer.BadParameter(
        f"{text!r}: expected only, largest, or a number from 0, counted from the left.", param_hint=option
    )


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
