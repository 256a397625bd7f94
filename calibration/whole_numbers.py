"""Nodes that compute with small whole numbers: FP16 holds those exactly, so they need no FP32.

A detector's suppression counts which boxes are suppressed with products of matrices of 0 and 1. As FP32 they would be
most of its products, and TensorRT for RTX has none for GPUs of Turing.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from trtswap.export.arithmetic import element_types

LARGEST = 2048.0
"""FP16 holds every whole number up to this."""

Interval = tuple[float, float]

_SAME = frozenset(
    (
        "Slice",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Gather",
        "GatherElements",
        "Reshape",
        "Flatten",
        "Expand",
        "Identity",
        "Concat",
        "ReduceMin",
        "ReduceMax",
        "Min",
        "Max",
    )
)


def small_whole_numbers(model: ModelProto) -> set[str]:
    """First outputs of the nodes whose float operands and results are whole numbers from -2048 to 2048, always.

    Args:
        model: with the shapes of its tensors.
    """
    types, shapes = element_types(model), _shapes(model)
    intervals: dict[str, Interval] = {}
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and (found := _of_constant(tensor)) is not None:
            intervals[tensor.name] = found
    exact = set[str]()
    for node in model.graph.node:
        result = _interval(node, intervals, types, shapes)
        if result is not None and max(map(abs, result)) <= LARGEST:
            intervals[node.output[0]] = result
            exact.add(node.output[0])
    return exact


def _of_constant(tensor: TensorProto) -> Interval | None:
    values = numpy_helper.to_array(tensor)
    if not values.size or not np.array_equal(values, np.rint(values)):
        return None
    return float(values.min()), float(values.max())


def _shapes(model: ModelProto) -> Mapping[str, list[int]]:
    """Lengths of each tensor's dimensions, 0 where they are not fixed."""
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    return {v.name: [dim.dim_value for dim in v.type.tensor_type.shape.dim] for v in values}


def _interval(
    node: NodeProto, known: Mapping[str, Interval], types: Mapping[str, int], shapes: Mapping[str, list[int]]
) -> Interval | None:
    """In which whole numbers a node's result lies; None where nothing says so."""
    kind = node.op_type
    if kind == "Cast" and types.get(node.input[0]) == TensorProto.BOOL:
        return (0.0, 1.0) if types.get(node.output[0]) == TensorProto.FLOAT else None
    floats = [name for name in node.input if types.get(name) == TensorProto.FLOAT]
    if not floats or any(name not in known for name in floats):
        return None
    given = [known[name] for name in floats]
    if kind in _SAME:
        return min(low for low, _ in given), max(high for _, high in given)
    if kind == "MatMul":
        a, b = (shapes.get(name, []) for name in node.input)
        if not (terms := (a[-1] if a else 0) or (b[-2] if len(b) > 1 else 0)):
            return None
        low, high = _product(given)
        return low * terms, high * terms
    return _ARITHMETIC[kind](given) if kind in _ARITHMETIC else None


def _product(given: Sequence[Interval]) -> Interval:
    corners = [x * y for x in given[0] for y in given[-1]]
    return min(corners), max(corners)


_ARITHMETIC: Mapping[str, Callable[[Sequence[Interval]], Interval]] = {
    "Add": lambda g: (g[0][0] + g[-1][0], g[0][1] + g[-1][1]),
    "Sub": lambda g: (g[0][0] - g[-1][1], g[0][1] - g[-1][0]),
    "Mul": _product,
    "Relu": lambda g: (max(0.0, g[0][0]), max(0.0, g[0][1])),
}
