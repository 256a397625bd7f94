"""Where text goes: results to stdout, everything said on the way to stderr."""

import json
import os
import re
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from trtswap.errors import TruncatedError

# C0 without line feed and tab, DEL, C1, and marks that turn the direction of writing (Unicode, UAX #9).
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


_PIPED = 240  # characters


def stdout() -> Console:
    """A file or another program gets tables as wide as they are: what is cut off there is lost."""
    width = _width()
    if width is None and "COLUMNS" not in os.environ and not sys.stdout.isatty():
        width = _PIPED
    return Console(highlight=False, width=width)


def stderr() -> Console:
    return Console(stderr=True, highlight=False, width=_width())


def _width() -> int | None:
    """The terminal's own, but for a $COLUMNS of 0, in which Rich would write nothing."""
    return 80 if os.environ.get("COLUMNS", "").strip("0 ") == "" and "COLUMNS" in os.environ else None


def say(console: Console, text: str, *, style: str = "") -> None:
    """Print one line as it is: brackets in a file name are no markup, and a pipe gets no hard line breaks."""
    console.print(plain(text), style=style, markup=False, soft_wrap=True)


def plain(text: str) -> str:
    """What a terminal shows and does not obey: names and tags are strangers' words.

    Control characters, but for the ends of lines, are shown as escapes, and so are bytes of a file name that are no
    UTF-8, which nothing else takes.
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def cells(*values: object) -> list[Text]:
    """A row of a table, each cell as it is."""
    return [Text(plain(str(value))) for value in values]


def warn(console: Console, text: str) -> None:
    say(console, f"Warning: {text}", style="yellow")


def report_loss(console: Console, text: str, *, keep_going: bool) -> None:
    """Tell that a video is cut off.

    Raises:
        TruncatedError: unless this is to be no error.
    """
    if not keep_going:
        raise TruncatedError(f"{text}. With --keep-going this is no error.")
    warn(console, text)


def print_json(document: Any) -> None:
    """One JSON document on stdout, with nothing in it that strict parsers refuse."""
    json.dump(document, sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def count(number: int, noun: str) -> str:
    """``1 face``, ``2 faces``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
