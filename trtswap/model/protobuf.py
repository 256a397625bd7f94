"""Protobuf's fields, read where they lie: an ONNX file can be looked through without the package onnx.

A message is a series of fields, each a number that says which field it is and of which kind, and its contents; a
message inside a message is a field of bytes. Field numbers: onnx.proto of ONNX 1.16 and later.
"""

from collections.abc import Iterator
from typing import Any

VARINT, FIXED64, BYTES, GROUP, GROUP_END, FIXED32 = range(6)

Span = tuple[int, int]
"""Where a message begins and ends."""


def fields(data: Any, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number and kind of each field of a message, and where its contents begin and end.

    Args:
        data: bytes, or a mapped file.
        position, end: of the message in it.

    Raises:
        ValueError, IndexError: the message is damaged.
    """
    while position < end:
        number, kind, first, position = _field(data, position)
        if kind == GROUP:  # nothing of ONNX is one, but a reader passes over them
            position = _after_group(data, position, end)
        if position > end or kind == GROUP_END:
            raise ValueError(f"the field at byte {first} is damaged")
        yield number, kind, first, position


def _field(data: Any, position: int) -> tuple[int, int, int, int]:
    """Number and kind of a field, where its contents begin, and where they end; a group's end is not looked for."""
    tag, position = varint(data, position)
    number, kind, first = tag >> 3, tag & 7, position
    if not number or tag >= 2**32:
        raise ValueError(f"the field at byte {first} is damaged")
    if kind == VARINT:
        _, position = varint(data, position)
    elif kind == BYTES:
        length, first = varint(data, position)
        position = first + length
    elif kind in (FIXED32, FIXED64):
        position += 4 if kind == FIXED32 else 8
    elif kind not in (GROUP, GROUP_END):
        raise ValueError(f"byte {first} is of a kind that protobuf does not have")
    return number, kind, first, position


def _after_group(data: Any, position: int, end: int) -> int:
    depth = 1
    while depth and position < end:
        _, kind, _, position = _field(data, position)
        depth += (kind == GROUP) - (kind == GROUP_END)
    if depth:
        raise ValueError(f"the group before byte {position} has no end")
    return position


def varint(data: Any, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, position
        if shift > 63:
            raise ValueError(f"the number before byte {position} has no end")


def text(data: Any, span: Span) -> str:
    """A field of bytes as text; what is none is replaced."""
    return str(data[span[0] : span[1]], "utf-8", "replace")
