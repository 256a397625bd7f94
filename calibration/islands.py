"""Which nodes of a graph stay in FP32 when the rest becomes FP16, and by which powers of two the rest is scaled.

Two kinds of reasons keep a node in FP32. *Structural* ones hold whatever the numbers: sums over many elements, roots,
reciprocals and the squares that go into them (instance-norm statistics, demodulation, L2 norm), exponentials, and all
of a detector behind its convolutions (decoding, scores, top-K), but for small whole numbers, which FP16 holds exactly
(suppression: :mod:`trtswap.calibration.whole_numbers`). *Measured* ones come from the calibration
table: a tensor that is, with headroom, too large for FP16, or so small that FP16 has few bits left for it.

Convolutions and matrix products with constant weights and biases never stay in FP32 for their range: they are most of
the arithmetic. Where a range does not fit, input and weights are multiplied by powers of two, which costs no bit, and
the result is multiplied back in FP32.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, floor, log2

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from trtswap.calibration.table import TensorRange
from trtswap.calibration.whole_numbers import small_whole_numbers
from trtswap.errors import CalibrationError
from trtswap.export.arithmetic import element_types
from trtswap.model.stages import STAGES

LARGEST = 65504.0  # of FP16
SMALLEST_NORMAL = 2.0**-14  # of FP16
HEADROOM = 8.0
"""By how much another clip may exceed the largest value that was measured."""
SMALL = 2.0**-12
"""FP16 has steps of 2^-24 near zero: a tensor whose largest value is below this has fewer than 12 bits."""
EXPONENTS = 126
"""Powers of two from 2 ** -126 to 2 ** 126 are ordinary numbers of FP32, and so are their reciprocals."""
WEIGHTS = (2.0**-8, 2.0**12)
"""Within which the largest weight of a convolution is left as it is."""

LINEAR = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
_SUMS = frozenset(
    ("ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd", "ReduceLogSum", "CumSum",
     "ReduceLogSumExp", "GlobalAveragePool", "GlobalLpPool")
)  # fmt: skip
_NORMS = frozenset(
    ("InstanceNormalization", "GroupNormalization", "LayerNormalization", "LpNormalization", "BatchNormalization",
     "MeanVarianceNormalization")
)  # fmt: skip
_ROOTS = frozenset(("Sqrt", "Reciprocal"))
_CURVES = frozenset(("Pow", "Exp", "Log", "Softmax", "LogSoftmax"))
_MADE = frozenset(("Range", "ConstantOfShape", "EyeLike"))
_SHAPED = frozenset(("Unsqueeze", "Squeeze", "Reshape", "Flatten", "Expand", "Transpose", "Identity"))
# Between a root and the sum under it, and between a sum and what is summed.
_UNDER_ROOT = _SHAPED | {"Add", "Sub", "Mul", "Div", "Max", "Min", "Clip", "Abs", "MatMul", "Pow"}
_UNDER_SUM = _SHAPED | {"Mul", "Pow", "Abs", "Sub"}
_AFTER_ROOT = _SHAPED | {"Clip", "Max", "Min", "Mul", "Div"}


@dataclass(frozen=True)
class Scale:
    """Exponents of two that a convolution's or product's operands are multiplied by.

    Attributes:
        input: of the input.
        weight: of the weights. The result is multiplied by 2 ** -(input + weight), its bias is scaled along.
    """

    input: int = 0
    weight: int = 0

    @property
    def output(self) -> int:
        return self.input + self.weight


@dataclass(frozen=True)
class Islands:
    """What is special about the nodes of a graph; each is called by its first output.

    Attributes:
        full: nodes that stay in FP32, and why.
        scales: linear nodes that need scaling.
    """

    full: Mapping[str, str]
    scales: Mapping[str, Scale]


def find_islands(model: ModelProto, ranges: Mapping[str, TensorRange], stage: str) -> Islands:
    """Decide what stays in FP32.

    Args:
        model: a prepared graph.
        ranges: of its tensors.
        stage: what the graph is for.

    Raises:
        CalibrationError: the table lacks a tensor of the graph.
    """
    graph = FloatGraph(model, ranges)
    full = ruled(graph, stage)
    scales: dict[str, Scale] = {}
    for node in graph.nodes:
        name = node.output[0]
        if graph.is_linear(node) and name not in full:
            scale = _scale(node, graph)
            if scale.output and len(node.input) > 2 and node.input[2] not in {"", *graph.constants}:
                full[name] = f"{node.input[2]} is added, which is computed and cannot be scaled along"
            elif scale != Scale():
                scales[name] = scale
        elif name not in full and (why := _does_not_fit(node, graph)):
            full[name] = why
    return Islands(full, scales)


class FloatGraph:
    """A graph to look things up in; its nodes are those that touch FP32 tensors."""

    def __init__(self, model: ModelProto, ranges: Mapping[str, TensorRange]) -> None:
        self.name = model.graph.name
        self.types = element_types(model)
        self.ranges = ranges
        self.constants = {t.name: t for t in model.graph.initializer}
        self.exact = small_whole_numbers(model)
        self.nodes = [n for n in model.graph.node if any(self.is_float(t) for t in (*n.input, *n.output))]
        self.producers = {t: n for n in model.graph.node for t in n.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for tensor in node.input:
                self.readers.setdefault(tensor, []).append(node)

    def is_float(self, tensor: str) -> bool:
        return self.types.get(tensor) == TensorProto.FLOAT

    def is_linear(self, node: NodeProto) -> bool:
        """Multiplies an input by constant weights."""
        return node.op_type in LINEAR and node.input[1] in self.constants and node.input[0] not in self.constants

    def bound(self, tensor: str) -> float:
        """Largest absolute value of a tensor, as measured."""
        if tensor in self.constants:
            return _absmax(self.constants[tensor])
        if tensor not in self.ranges:
            raise CalibrationError(
                f"the calibration table has no tensor {tensor} of graph {self.name}. Measure it again with "
                "`trtswap calibrate`."
            )
        return self.ranges[tensor].bound


def _absmax(tensor: TensorProto) -> float:
    values = np.abs(numpy_helper.to_array(tensor))
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else 0.0


def ruled(graph: FloatGraph, stage: str) -> dict[str, str]:
    """Nodes that stay in FP32 whatever is measured, and why; each is called by its first output.

    Args:
        graph: to look at; its ranges are not asked for.
        stage: what the graph is for.
    """
    return {name: why for name, why in _structural(graph, stage) if name not in graph.exact}


def _structural(graph: FloatGraph, stage: str) -> Iterator[tuple[str, str]]:
    for node in graph.nodes:
        kind, name = node.op_type, node.output[0]
        if kind in _NORMS:
            yield name, "statistics"
        elif kind in _SUMS:
            yield name, "a sum over many elements"
            yield from _behind(node, _UNDER_SUM, graph, "goes into a sum")
        elif kind in _ROOTS:
            yield name, "a root or reciprocal"
            yield from _behind(node, _UNDER_ROOT, graph, "goes into a root or reciprocal")
            yield from _ahead(node, graph)
        elif kind in _CURVES:
            yield name, "a power or exponential"
        elif kind in _MADE or (kind == "Cast" and not graph.is_float(node.input[0])):
            yield name, "counts or positions"
        elif kind == "Div" and node.input[1] not in graph.constants:
            yield name, "divides by what is computed"
        elif kind == "MatMul" and not graph.is_linear(node):
            yield name, "a product of two computed matrices"
    if STAGES[stage].float32_behind:
        yield from _after_convolutions(graph)


def _behind(node: NodeProto, through: frozenset[str], graph: FloatGraph, why: str) -> Iterator[tuple[str, str]]:
    """What a node is computed from, back to the first operators that are none of ``through``.

    A sum on the way is where the many elements are: before it only squares and differences from a mean count, and what
    a mean is subtracted from is a feature map of the network.
    """
    waiting, seen = [(t, through) for t in node.input], set[str]()
    while waiting:
        tensor, allowed = waiting.pop()
        producer = graph.producers.get(tensor)
        if producer is None or tensor in seen or not graph.is_float(tensor):
            continue
        seen.add(tensor)
        if producer.op_type in _SUMS:
            waiting += [(t, _UNDER_SUM) for t in producer.input]
        elif producer.op_type in allowed and not (producer.op_type == "MatMul" and allowed is _UNDER_SUM):
            yield producer.output[0], why
            if producer.op_type != "Sub":
                under = _UNDER_SUM if producer.op_type == "MatMul" else allowed
                waiting += [(t, under) for t in producer.input]


def _ahead(node: NodeProto, graph: FloatGraph) -> Iterator[tuple[str, str]]:
    """What a root or reciprocal is applied to: up to the first product or quotient."""
    waiting = [node]
    while waiting:
        for reader in graph.readers.get(waiting.pop().output[0], ()):
            if reader.op_type in _AFTER_ROOT:
                yield reader.output[0], "multiplied or divided by a root or reciprocal"
                waiting += [reader] if reader.op_type not in ("Mul", "Div") else []


def _after_convolutions(graph: FloatGraph) -> Iterator[tuple[str, str]]:
    """Everything from which no convolution follows."""
    before, waiting = set[str](), [n for n in graph.nodes if n.op_type in ("Conv", "ConvTranspose")]
    while waiting:
        node = waiting.pop()
        if node.output[0] not in before:
            before.add(node.output[0])
            waiting += [graph.producers[t] for t in node.input if t in graph.producers]
    for node in graph.nodes:
        if node.output[0] not in before:
            yield node.output[0], "decoding and suppression"


def _does_not_fit(node: NodeProto, graph: FloatGraph) -> str | None:
    """Why the range of one of a node's tensors keeps it in FP32."""
    for tensor in (*node.input, *node.output):
        if not graph.is_float(tensor):
            continue
        constant, bound = tensor in graph.constants, graph.bound(tensor)
        smallest = SMALLEST_NORMAL if constant else SMALL
        if bound * (1 if constant else HEADROOM) > LARGEST:
            return f"{tensor} reaches {bound:.3g}"
        if 0 < bound < smallest:
            return f"{tensor} stays below {bound:.3g}"
    return None


def _scale(node: NodeProto, graph: FloatGraph) -> Scale:
    """Powers of two that bring input, weights and result into FP16's range."""
    x, y = graph.bound(node.input[0]), graph.bound(node.output[0])
    w = graph.bound(node.input[1])
    bias = graph.bound(node.input[2]) if len(node.input) > 2 and node.input[2] in graph.constants else 0.0
    of_input = of_weight = 0
    if x * HEADROOM > LARGEST or 0 < x < SMALL:
        of_input = min(EXPONENTS, floor(log2(LARGEST / 4 / HEADROOM / x)))
    if w and not WEIGHTS[0] <= w <= WEIGHTS[1]:
        of_weight = min(EXPONENTS - max(0, of_input), -ceil(log2(w)))
    reach = max(y * HEADROOM, bias) * 2.0 ** (of_input + of_weight)
    if reach > LARGEST:
        shift = floor(log2(LARGEST / reach))
        weight = max(shift, min(0, ceil(log2(WEIGHTS[0] / w)) - of_weight)) if w else shift
        of_weight += weight
        of_input += shift - weight
    elif 0 < reach < SMALL * HEADROOM:
        shift = min(floor(log2(1.0 / reach)), EXPONENTS - of_input - of_weight)
        weight = min(shift, _room(w, of_weight))
        of_weight += weight
        of_input += min(shift - weight, _room(x * HEADROOM, of_input))
    return Scale(of_input, of_weight)


def _room(bound: float, exponent: int) -> int:
    """By how many powers of two what is below ``bound * 2 ** exponent`` can grow and stay within FP16.

    A result that is still small then is a difference of large numbers, and so much smaller than they are that FP32
    would not have a bit of it right.
    """
    return max(0, floor(log2(LARGEST / bound)) - exponent) if bound else EXPONENTS
