"""Graphs of one file, which is told without the package onnx.

ONNX lets a tensor say that its numbers lie in another file, at any path: "external data". Such weights would be outside
the graph's hash, and a graph could name any file of the user's. So a graph of a pack is one file: all that anybody has
to hash, copy or send. Protobuf allows it 2 GB, six times the largest graph that trtswap exports.
"""

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

from trtswap.errors import PackError
from trtswap.model.protobuf import BYTES, fields

_TENSOR = "TensorProto"
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
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


def _locations(data: mmap.mmap, start: int, end: int, message: str) -> Iterator[str]:
    if message == _TENSOR:
        yield from _locations_of_tensor(data, start, end)
        return
    holds = _HOLDS[message]
    for number, kind, first, last in fields(data, start, end):
        if kind == BYTES and number in holds:
            yield from _locations(data, first, last, holds[number])


def _locations_of_tensor(data: mmap.mmap, start: int, end: int) -> Iterator[str]:
    for number, kind, first, last in fields(data, start, end):
        if number == _EXTERNAL_DATA and kind == BYTES:
            pair = {n: data[a:b].decode("utf-8", "replace") for n, k, a, b in fields(data, first, last) if k == BYTES}
            if pair.get(1) == "location":
                yield pair.get(2, "")
