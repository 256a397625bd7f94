"""What public functions are given is held to its type where it enters."""

from types import UnionType
from typing import Any

from trtswap.errors import InputError


def expect(name: str, value: Any, kinds: type | UnionType, words: str) -> None:
    """Refuse a value of another type.

    Args:
        name: of the argument.
        value: what was given.
        kinds: what it may be.
        words: these, for the message: "a path".

    Raises:
        InputError: it is none of them.
    """
    if not isinstance(value, kinds):
        raise InputError(f"{name} is a {type(value).__name__}, expected {words}.")


def expect_text(name: str, value: Any, words: str) -> None:
    """Refuse what is no string that can be written as UTF-8; as :func:`expect`."""
    expect(name, value, str, words)
    try:
        value.encode()
    except UnicodeEncodeError as e:
        raise InputError(f"{name} is {value!r}, which is no text; expected {words}.") from e


def expect_all(name: str, values: Any, kinds: type | UnionType, words: str) -> None:
    """Refuse what is no list or tuple, and a value in it of another type; as :func:`expect`."""
    expect(name, values, list | tuple, f"a list, {words} each")
    for number, value in enumerate(values):
        expect(f"{name}[{number}]", value, kinds, words)
