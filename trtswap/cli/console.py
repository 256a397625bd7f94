"""Where text goes: results to stdout, everything said on the way to stderr."""

import json
import sys
from typing import Any

from rich.console import Console

from trtswap.errors import TruncatedError


def stdout() -> Console:
    return Console(highlight=False)


def stderr() -> Console:
    return Console(stderr=True, highlight=False)


def say(console: Console, text: str, *, style: str = "") -> None:
    """Print one line as it is: brackets in a file name are no markup, and a pipe gets no hard line breaks.

    Bytes of a file name that are no UTF-8 are shown as escapes: nothing else takes them.
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    console.print(text, style=style, markup=False, soft_wrap=True)


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
