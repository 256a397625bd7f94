"""Nodes at which runtimes end the process or draw numbers, found without the package onnx.

Three kinds: an input without a name where any number of inputs is taken; random numbers, which would also end "same
input, same output"; and whole numbers divided by what may be 0 or -1: processors stop at both (at the latter for the
smallest number alone), and runtimes do not look. Divisors of whole numbers are therefore constants without these two.
"""

import mmap
from collections import ChainMap, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trtswap.errors import PackError
from trtswap.model.protobuf import BYTES, VARINT, Span, fields, text, varint

_VARIADIC = frozenset(("Concat", "Einsum", "Max", "Mean", "Min", "SequenceConstruct", "Sum"))
_RANDOM = frozenset(
    ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
)
_SAME_VALUES = frozenset(("Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Tile", "Transpose", "Unsqueeze"))
_FLOAT, _INT32, _INT64, _BOOL, _UNKNOWN = 1, 6, 7, 9, 0
_STANDARD = ("", "ai.onnx")
_WHOLE: Mapping[int, str] = {2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 12: "<u4", 13: "<u8"}
"""Element types that processors divide as whole numbers, and how ``raw_data`` holds them; 4 bits have no place here."""
_NOT_WHOLE = frozenset((1, 10, 11, 16, 17, 18, 19, 20))
_MOST_BYTES = 2**20
_MOST_NODES = 1_000_000

_TRUTHS = ("And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "Or", "Xor")
_POSITIONS = ("ArgMax", "ArgMin", "NonMaxSuppression", "NonZero", "Shape", "Size")
_REALS = (
    "Attention",
    "BatchNormalization",
    "DequantizeLinear",
    "LayerNormalization",
    "LinearAttention",
    "RMSNormalization",
)
OUTPUT_TYPES: Mapping[str, tuple[str | int, ...]] = {
    **dict.fromkeys(_TRUTHS, (_BOOL,)),
    **dict.fromkeys(_POSITIONS, (_INT64,)),
    **dict.fromkeys(_REALS, (_FLOAT,) * 4),
    "BitCast": ("to",),
    "Cast": ("to",),
    "CastLike": ("input 1",),
    "ConvInteger": (_INT32,),
    "Dropout": ("input 0", _BOOL),
    "DynamicQuantizeLinear": (2, _FLOAT, 2),
    "MatMulInteger": (_INT32,),
    "MaxPool": ("input 0", _INT64),
    "OneHot": ("input 2",),
    "QLinearConv": ("input 7",),
    "QLinearMatMul": ("input 7",),
    "TopK": ("input 0", _INT64),
    "Unique": ("input 0", _INT64, _INT64, _INT64),
    "Where": ("input 1",),
}
"""Of each output: the element type's number (that of float for any floating point), the input that has the same, or the
attribute that names it. What is not listed gives what its first input holds, but for those of ``UNTOLD``."""

UNTOLD = frozenset(
    (
        "BlackmanWindow", "ConcatFromSequence", "ConstantOfShape", "EyeLike", "HammingWindow", "HannWindow", "If",
        "ImageDecoder", "Loop", "MelWeightMatrix", "Optional", "OptionalGetElement", "OptionalHasElement",
        "QuantizeLinear", "RegexFullMatch", "Scan", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase",
        "SequenceInsert", "SequenceLength", "SequenceMap", "SplitToSequence", "StringSplit", "TfIdfVectorizer",
    )
)  # fmt: skip
"""Operators whose outputs' types are not worked out here; a graph may declare them (``value_info``), and runtimes hold
it to that."""


def check_nodes(file: Path) -> None:
    """Refuse a graph with nodes at which a runtime ends the process, or that draw random numbers.

    ONNX Runtime 1.32 ends at ``Max(x, "")``; the specification allows an empty name for optional inputs alone.

    Raises:
        PackError: names the operator and says what to do; or the file is no ONNX model.
    """
    try:
        with file.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
            model = _Message.read(data, (0, len(data)))
            functions = dict(_checked_function(file, data, part) for part in model.messages[_FUNCTIONS])
            sizes: dict[str, int] = {}
            if any(_nodes_within(name, functions, sizes) > _MOST_NODES for name in functions):
                raise PackError(f"{file}: its functions unfold to more than {_MOST_NODES:,} nodes.")
            _Graph(file, data).check(*model.messages[_GRAPH_OF_A_MODEL])
    except (OSError, ValueError, IndexError, RecursionError) as e:
        raise PackError(f"{file} is no ONNX model: {e}.") from e


def _checked_function(file: Path, data: Any, span: Span) -> tuple[str, list[str]]:
    """The name of a function with its domain, and the operators of its nodes."""
    function = _Message.read(data, span)
    domain = "".join(text(data, part) for part in function.messages[10][-1:])
    if domain in _STANDARD:
        raise PackError(f"{file}: a function takes the place of one of ONNX's own operators; expected another domain.")
    _Graph(file, data, _Layout(nodes=7)).check(span)
    name = "".join(text(data, part) for part in function.messages[1][-1:])
    return f"{domain}.{name}", [_Node.read(data, part).operator for part in function.messages[7]]


def _nodes_within(name: str, functions: Mapping[str, list[str]], known: dict[str, int]) -> int:
    """How many nodes a function becomes; runtimes unfold it wherever it is called."""
    if name not in known:
        known[name] = _MOST_NODES  # of one that calls itself
        nodes = functions[name]
        known[name] = len(nodes) + sum(_nodes_within(node, functions, known) for node in nodes if node in functions)
    return known[name]


@dataclass(frozen=True)
class _Layout:
    """Numbers of a message's fields: of a graph, or of a function, which declares no types."""

    nodes: int
    weights: int = -1
    declared: tuple[int, ...] = ()


_GRAPH = _Layout(nodes=1, weights=5, declared=(11, 13))
_GRAPH_OF_A_MODEL, _FUNCTIONS = 7, 25


@dataclass
class _Graph:
    """What is known of a graph's tensors, those around it included: element types, and which whole numbers are
    constants without 0 and -1."""

    file: Path
    data: Any
    layout: _Layout = _GRAPH
    known: ChainMap[str, tuple[int, bool]] = field(default_factory=ChainMap)

    def check(self, *spans: Span) -> None:
        """Read the parts of a graph, which protobuf makes one, and check its nodes and those of graphs inside."""
        found = _Message.read(self.data, *spans)
        for part in (part for number in self.layout.declared for part in found.messages[number]):
            self._declare(_Message.read(self.data, part))
        for part in found.messages[self.layout.weights]:
            tensor = _Message.read(self.data, part)
            for name in tensor.messages[8]:
                self._define(text(self.data, name), tensor.number(2), _divisor(tensor))
        for part in found.messages[self.layout.nodes]:
            self._node(_Node.read(self.data, part))

    def _declare(self, value: "_Message") -> None:
        """A ValueInfoProto, whose type may be a TypeProto.Tensor."""
        tensor = _Message.read(self.data, *_Message.read(self.data, *value.messages[2]).messages[1])
        for name in value.messages[1]:
            self._define(text(self.data, name), tensor.number(1), False)

    def _define(self, name: str, kind: int, divisor: bool) -> None:
        """What is inside of a graph hides what has the same name around it."""
        self.known[name] = (kind, divisor)

    def _type_of(self, name: str) -> int:
        return self.known.get(name, (_UNKNOWN, False))[0]

    def _is_divisor(self, name: str) -> bool:
        return self.known.get(name, (_UNKNOWN, False))[1]

    def _node(self, node: "_Node") -> None:
        if node.operator in _VARIADIC and "" in node.inputs:
            raise PackError(f"{self.file}: a node {node.operator} has an input without a name, which it does not take.")
        if node.operator in _RANDOM:
            raise PackError(
                f"{self.file}: a node {node.operator} draws random numbers; expected a graph that gives the same for "
                "the same input. Store the numbers as a constant."
            )
        if node.operator in ("Div", "Mod"):
            self._check_division(node)
        for attribute in node.attributes.values():
            graphs = [attribute.messages[6], *([part] for part in attribute.messages[11])]
            for parts in filter(None, graphs):
                _Graph(self.file, self.data, _GRAPH, self.known.new_child()).check(*parts)
        self._learn(node)

    def _check_division(self, node: "_Node") -> None:
        types = {self._type_of(name) for name in node.inputs}
        if types & _NOT_WHOLE:  # both have one type, or the runtime refuses the graph
            return
        if all(map(self._is_divisor, node.inputs[1:])):
            return
        label = " and ".join(map(repr, node.outputs))
        raise PackError(
            f"{self.file}: a node {node.operator} (gives {label}) divides whole numbers, or what may be some, by "
            "0, by -1 or by what is computed; processors stop at these. Expected a constant without 0 and -1, or "
            "floating point (types that cannot be told are declared by onnx.shape_inference.infer_shapes)."
        )

    def _learn(self, node: "_Node") -> None:
        """The types of a node's outputs, and which of them are divisors."""
        if node.operator == "Constant":
            kind, divisor = _constant(self.data, node)
            for name in node.outputs:
                self._define(name, kind, divisor)
            return
        divisor = node.operator in _SAME_VALUES and all(map(self._is_divisor, node.inputs[:1]))
        for position, name in enumerate(node.outputs):
            self._define(name, self._type(node, position) or self._type_of(name), divisor)

    def _type(self, node: "_Node", position: int) -> int:
        if "." in node.operator or node.operator in UNTOLD:
            return _UNKNOWN
        rule: str | int = "input 0"
        if node.operator in OUTPUT_TYPES:
            rules = OUTPUT_TYPES[node.operator]
            rule = rules[position] if position < len(rules) else _UNKNOWN
        if isinstance(rule, int):
            return rule
        if rule == "to":
            return node.attributes["to"].number(3) if "to" in node.attributes else _UNKNOWN
        number = int(rule.removeprefix("input "))
        return self._type_of(node.inputs[number]) if number < len(node.inputs) else _UNKNOWN


@dataclass(frozen=True)
class _Node:
    """A NodeProto; of each attribute the AttributeProto, by its name."""

    operator: str
    """With its domain and a dot before, where that is not ONNX's own."""
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, "_Message"]

    @staticmethod
    def read(data: Any, span: Span) -> "_Node":
        node = _Message.read(data, span).messages
        attributes: dict[str, _Message] = {}
        for attribute in (_Message.read(data, part) for part in node[5]):
            for name in (text(data, span) for span in attribute.messages[1][-1:]):
                attributes[name] = attributes[name].joined(attribute) if name in attributes else attribute
        operator, domain = ("".join(text(data, part) for part in node[number][-1:]) for number in (4, 7))
        inputs, outputs = ([text(data, part) for part in node[number]] for number in (1, 2))
        return _Node(operator if domain in _STANDARD else f"{domain}.{operator}", inputs, outputs, attributes)


@dataclass(frozen=True)
class _Message:
    """A message's fields by number, those of bytes and those of one number; others have no use here.

    One that is given in parts is read whole, as protobuf does: of what is there once, the last holds.
    """

    data: Any
    messages: Mapping[int, list[Span]]
    varints: Mapping[int, list[Span]]

    @staticmethod
    def read(data: Any, *spans: Span) -> "_Message":
        found = {kind: defaultdict[int, list[Span]](list) for kind in (BYTES, VARINT)}
        for start, end in spans:
            for number, kind, first, last in fields(data, start, end):
                if kind in found:
                    found[kind][number].append((first, last))
        return _Message(data, found[BYTES], found[VARINT])

    def joined(self, other: "_Message") -> "_Message":
        """This message and another part of it."""
        messages, varints = (defaultdict[int, list[Span]](list) for _ in range(2))
        for part in (self, other):
            for made, found in ((messages, part.messages), (varints, part.varints)):
                for number, spans in found.items():
                    made[number] += spans
        return _Message(self.data, messages, varints)

    def number(self, field: int) -> int:
        """A number that is there once."""
        return varint(self.data, self.varints[field][-1][0])[0] if self.varints[field] else _UNKNOWN

    def numbers(self, kind: str, *fields: int) -> npt.NDArray[Any]:
        """Numbers of repeated fields, packed or not, as the type that holds them; 0 for too many."""
        parts = [part for number in fields for part in (*self.messages[number], *self.varints[number])]
        if sum(end - first for first, end in parts) > _MOST_BYTES:
            return np.zeros(1, kind)
        values = []
        for first, end in parts:
            position = first
            while position < end:
                value, position = varint(self.data, position)
                values.append(value & 2**64 - 1)
        return np.array(values, "<u8").astype(kind)


def _constant(data: Any, node: _Node) -> tuple[int, bool]:
    """The element type of a node Constant, and whether it holds whole numbers other than 0 and -1."""
    if "value" in node.attributes:
        tensor = _Message.read(data, *node.attributes["value"].messages[5])
        return tensor.number(2), _divisor(tensor)
    for name, field_ in (("value_int", 3), ("value_ints", 8)):
        if name in node.attributes:
            return _INT64, _harmless(node.attributes[name].numbers("<i8", field_))
    return (_FLOAT if node.attributes.keys() & {"value_float", "value_floats"} else _UNKNOWN), False


def _divisor(tensor: _Message) -> bool:
    """Whether a TensorProto holds whole numbers other than 0 and -1."""
    kind = _WHOLE.get(tensor.number(2))
    if kind is None:
        return False
    spans = [span for span in tensor.messages[9][-1:] if span[1] - span[0] <= _MOST_BYTES]
    raw = b"".join(tensor.data[first:last] for first, last in spans)
    if len(spans) < len(tensor.messages[9][-1:]) or len(raw) % np.dtype(kind).itemsize:
        return False
    return _harmless(np.concatenate((np.frombuffer(raw, kind), tensor.numbers(kind, 5, 7, 11))))


def _harmless(values: npt.NDArray[Any]) -> bool:
    return bool(values.size and ((values != 0) & (values != np.array(-1).astype(values.dtype))).all())
