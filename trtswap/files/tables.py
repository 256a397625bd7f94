"""Tables from strangers: TOML and JSON that nobody vouches for, read within bounds."""

import json
import math
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

# TOML is read by Python itself, a megabyte in some seconds; a pack's own has some kilobytes.
MOST_TOML, MOST_JSON = 1 << 20, 16 << 20
MOST_DEPTH = 32
MOST_INTEGER = 2**63


class TableError(ValueError):
    """A file is no table that is read here; the message says why, without its path."""


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file, of which every number can be computed with.

    Raises:
        TableError: it cannot be read, is larger than ``MOST_TOML``, no TOML, nested deeper than ``MOST_DEPTH``, or has
            numbers that are not finite or need more than 64 bits.
    """
    return _read(path, MOST_TOML, tomllib.loads)


def read_json(path: Path) -> dict[str, Any]:
    """As :func:`read_toml`, of a file with one JSON object of at most ``MOST_JSON`` bytes."""
    return _read(path, MOST_JSON, partial(json.loads, parse_constant=_refuse))


def _read(path: Path, most_bytes: int, parse: Callable[[str], Any]) -> dict[str, Any]:
    text = _text(path, most_bytes)
    try:
        data = parse(text)
    except RecursionError as e:
        raise TableError("it is nested too deeply") from e
    except ValueError as e:  # also of numbers with more digits than Python takes
        raise TableError(str(e)) from e
    if not isinstance(data, dict):
        raise TableError("it holds no object")
    _check(data, MOST_DEPTH)
    return data


def _text(path: Path, most_bytes: int) -> str:
    try:
        if not path.is_file():
            raise TableError("there is no such file")
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except (OSError, ValueError) as e:
        raise TableError(str(getattr(e, "strerror", None) or e)) from e
    if len(data) > most_bytes:
        raise TableError(f"it is larger than {most_bytes >> 20} MiB")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise TableError(f"it is no UTF-8: {e.reason} at byte {e.start}") from e


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _check(value: Any, depth: int) -> None:
    if isinstance(value, dict | list):
        if not depth:
            raise TableError(f"it is nested more than {MOST_DEPTH} deep")
        for item in value.values() if isinstance(value, dict) else value:
            _check(item, depth - 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise TableError(f"it has the number {value}")
    elif isinstance(value, int) and not -MOST_INTEGER <= value < MOST_INTEGER:
        raise TableError("it has an integer of more than 64 bits")
