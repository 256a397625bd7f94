"""The operator table: how functions enter it and how they are found."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

OPSETS = range(11, 20)
"""Opsets whose semantics the functions have."""

DTYPES: Mapping[int, torch.dtype] = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    4: torch.uint16,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}
"""Element types by their number in ``onnx.TensorProto.DataType``."""

Ints = Tensor | Sequence[int]
"""Integers that an attribute or a tensor on the host gives."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Operator:
    """One operator from one opset on.

    Attributes:
        run: takes the node's inputs in order (None for one left out) and its attributes by name; two parameters
            are filled in where the function has them: ``device`` to make tensors on, ``output_count`` of the node.
        since: first opset with this behaviour.
        host: positions of inputs whose values decide a shape or a position. They are CPU tensors.
        metadata: reads only the shape of its input, and answers on the host.
        only: values that an attribute may have, where the function does not do all of the specification's.
        outputs: how many outputs the function has; 0 for any number.
    """

    name: str
    run: Callable[..., Tensor | tuple[Tensor, ...]]
    since: int = 1
    host: frozenset[int] = frozenset()
    metadata: bool = False
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    outputs: int = 1

    @cached_property
    def parameters(self) -> frozenset[str]:
        """Names of the function's parameters; none for a function of torch, which takes no attributes."""
        try:
            return frozenset(inspect.signature(self.run).parameters)
        except ValueError:
            return frozenset()


_TABLE: dict[str, list[Operator]] = {}


def operator(
    *names: str,
    since: int = 1,
    host: Sequence[int] = (),
    metadata: bool = False,
    only: Mapping[str, tuple[Any, ...]] | None = None,
    outputs: int = 1,
) -> Callable[[F], F]:
    """Enter the decorated function under the names of ONNX operators; parameters as in :class:`Operator`."""

    def enter(function: F) -> F:
        for name in names:
            entry = Operator(name, function, since, frozenset(host), metadata, only or {}, outputs)
            _TABLE.setdefault(name, []).append(entry)
        return function

    return enter


def find(name: str, opset: int) -> Operator | None:
    """The operator as it is in an opset, or None where the table lacks it."""
    return max((o for o in _TABLE.get(name, ()) if o.since <= opset), key=lambda o: o.since, default=None)


def names() -> set[str]:
    """All operators in the table."""
    return set(_TABLE)


def ints(values: Ints) -> list[int]:
    """Python integers of an attribute or of a 0-d or 1-d tensor on the host."""
    return [int(v) for v in (values.flatten().tolist() if isinstance(values, Tensor) else values)]
