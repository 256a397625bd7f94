"""What an ONNX file must not hold, found out without the package onnx: weights elsewhere, and nodes that crash.

ONNX lets a tensor say that its numbers lie in another file, at any path: "external data". Such weights would be outside
the graph's hash, and a graph could name any file of the user's. So a graph of a pack is one file: all that anybody has
to hash, copy or send. Protobuf allows it 2 GB, six times the largest graph that trtswap exports.

An ONNX file is a protobuf message: a series of fields, each a number that says which field it is and of which kind, and
its contents; a message inside a message is a field of bytes. Field numbers: onnx.proto of ONNX 1.16 and later.
"""

import mmap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from trtswap.errors import PackError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TENSOR = "TensorProto"
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_INPUT, _OPERATOR = 1, 4
_VARIADIC = frozenset(("Concat", "Einsum", "Max", "Mean", "Min", "SequenceConstruct", "Sum"))
_HOLDS: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: _TENSOR, 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: _TENSOR, 6: "GraphProto", 10: _TENSOR, 11: "GraphProto", 22: "SparseTensorProto", 23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: _TENSOR, 2: _TENSOR},
}  # fmt: skip
"""Which fields of which messages lead to tensors, and what they hold."""


def check_self_contained(file: Path) -> None:
    """Refuse a graph whose weights lie, in part or all, in other files.

    Raises:
        PackError: names the other files and says how to make it one; or the file is no ONNX model.
    """
    if others := outside_files(file):
        raise PackError(
            f"{file} keeps weights in other files ({', '.join(map(repr, others))}), which its hash does not cover. "
            "Expected one file. Make it one: python -c \"import onnx; onnx.save(onnx.load('in.onnx'), 'out.onnx')\"."
        )


def outside_files(file: Path) -> list[str]:
    """The other files that a graph's tensors name, as it names them, sorted.

    Raises:
        PackError: the file cannot be read, or is no ONNX model.
    """
    try:
        with file.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return sorted(set(_locations(data, 0, len(data), "ModelProto")))
    except (OSError, ValueError, IndexError, RecursionError) as e:
        raise PackError(f"{file} is no ONNX model: {e}.") from e


def check_nodes(file: Path) -> None:
    """Refuse a graph with a node at which ONNX Runtime ends the process: one of any number of inputs, of which one has
    no name (seen with 1.32 at ``Max(x, "")``; the specification allows an empty name for optional inputs alone).

    What is no ONNX model at all is passed over: whoever reads it next says so.

    Raises:
        PackError: names the operator.
    """
    with (
        suppress(OSError, ValueError, IndexError, RecursionError),
        file.open("rb") as f,
        mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        for operator, inputs in _nodes(data, 0, len(data), "ModelProto"):
            if operator in _VARIADIC and "" in inputs:
                raise PackError(f"{file}: a node {operator} has an input without a name, which it does not take.")


def _nodes(data: mmap.mmap, start: int, end: int, message: str) -> Iterator[tuple[str, list[str]]]:
    """Operator and names of the inputs of every node, those of inner graphs and functions, too."""
    holds, operator, inputs = _HOLDS[message], "", []
    for number, kind, first, last in _fields(data, start, end):
        if kind != _BYTES:
            continue
        if message == "NodeProto" and number in (_INPUT, _OPERATOR):
            text = data[first:last].decode("utf-8", "replace")
            if number == _OPERATOR:
                operator = text
            else:
                inputs.append(text)
        elif number in holds and holds[number] not in (_TENSOR, "SparseTensorProto"):
            yield from _nodes(data, first, last, holds[number])
    if message == "NodeProto":
        yield operator, inputs


def _locations(data: mmap.mmap, start: int, end: int, message: str) -> Iterator[str]:
    if message == _TENSOR:
        yield from _locations_of_tensor(data, start, end)
        return
    holds = _HOLDS[message]
    for number, kind, first, last in _fields(data, start, end):
        if kind == _BYTES and number in holds:
            yield from _locations(data, first, last, holds[number])


def _locations_of_tensor(data: mmap.mmap, start: int, end: int) -> Iterator[str]:
    for number, kind, first, last in _fields(data, start, end):
        if number == _EXTERNAL_DATA and kind == _BYTES:
            pair = {n: data[a:b].decode("utf-8", "replace") for n, k, a, b in _fields(data, first, last) if k == _BYTES}
            if pair.get(1) == "location":
                yield pair.get(2, "")


def _fields(data: Any, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number and kind of each field of a message, and where its contents begin and end."""
    while position < end:
        tag, position = _varint(data, position)
        number, kind = tag >> 3, tag & 7
        first = position
        if kind == _VARINT:
            _, position = _varint(data, position)
        elif kind == _BYTES:
            length, first = _varint(data, position)
            position = first + length
        elif kind in (_FIXED32, _FIXED64):
            position += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"byte {first} is of a kind that protobuf does not have")
        if not number or position > end:
            raise ValueError(f"the field at byte {first} is damaged")
        yield number, kind, first, position


def _varint(data: Any, position: int) -> tuple[int, int]:
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
