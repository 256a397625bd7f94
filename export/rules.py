"""What TensorRT's ONNX parser takes, as a table, and a check of a graph against it.

TensorRT itself is needed to build an engine, not to know that it would refuse a graph, or, worse, read it in another
way than ONNX Runtime does. The table is that of ``docs/operators.md`` of onnx-tensorrt 10.1: what it takes, TensorRT
10.13 and 11 take too. Rules beyond it say in their comment where they come from. Some are trtswap's own: a graph of a
pack has no control flow and no shape that depends on data, because neither can be captured into a CUDA graph. The tests
hold what they can against the parser and builder of TensorRT for RTX.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from trtswap.errors import ExportError

Types = frozenset[int]
OPSETS = range(9, 20)
"""The parser reads 9 to 20 (TensorRT 10) or more; from 20 on it takes GridSample's "linear" for "nearest"
(NVIDIA/TensorRT#4646)."""

FLOATS: Types = frozenset((TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16))
NUMBERS: Types = FLOATS | {TensorProto.INT32, TensorProto.INT64}
BOOLS: Types = frozenset((TensorProto.BOOL,))
ANY: Types = NUMBERS | BOOLS
LEVELS: Types = frozenset((TensorProto.INT8, TensorProto.FLOAT8E4M3FN))
TENSORS: Types = ANY | LEVELS | {TensorProto.UINT8}
"""Types that a tensor of a graph may have. DOUBLE would silently be read as FLOAT."""

TOP_K = 3840
"""TopK takes fewer than this many."""

_FLOAT_OPERATORS = """
    Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv ConvTranspose Cos Cosh CumSum
    Einsum Elu Erf Exp Floor Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool GridSample GroupNormalization HardSigmoid
    HardSwish Hardmax InstanceNormalization IsInf LRN LayerNormalization LeakyRelu Log LogSoftmax LpNormalization LpPool
    MatMul MaxPool MeanVarianceNormalization Mish PRelu Pow QuantizeLinear Reciprocal Resize Round Selu Sigmoid Sin Sinh
    Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu
"""
_NUMBER_OPERATORS = """
    Abs Add ArgMax ArgMin DepthToSpace Div Equal Gelu Greater GreaterOrEqual IsNaN Less LessOrEqual Max Mean Min Mod Mul
    Neg Pad Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu ScatterElements ScatterND Shrink Sign SpaceToDepth Sub Sum TopK
"""
_ANY_OPERATORS = """
    Concat Constant ConstantOfShape Expand Flatten Gather GatherElements GatherND Identity OneHot Reshape Shape Size
    Slice Split Squeeze Tile Transpose Trilu Unsqueeze Where
"""
_OWN_TYPES: dict[str, Types] = {
    "And": BOOLS, "Or": BOOLS, "Not": BOOLS, "Xor": BOOLS,
    "Cast": ANY | {TensorProto.UINT8}, "DequantizeLinear": LEVELS,
}  # fmt: skip
OPERATORS: Mapping[str, Types] = MappingProxyType(
    dict.fromkeys(_FLOAT_OPERATORS.split(), FLOATS)
    | dict.fromkeys(_NUMBER_OPERATORS.split(), NUMBERS)
    | dict.fromkeys(_ANY_OPERATORS.split(), ANY)
    | _OWN_TYPES
)
"""Operators that the parser knows, and the types that their data may have."""

UNCAPTURABLE: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("If", "Loop", "Scan"), "is control flow, which cannot be captured into a CUDA graph")
    | dict.fromkeys(("NonZero", "NonMaxSuppression", "Compress", "Unique"), "has an output whose shape depends on data")
    | dict.fromkeys(
        ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        "draws random numbers, and TensorRT ignores its seed: make them a constant or an input",
    )
)
"""Operators that the parser takes and a pack does not, and why."""

_DATA = {"Where": 1}
"""Position of the input that has the data, where it is not the first."""

_SHAPES: Mapping[str, tuple[int, ...]] = {
    "Reshape": (1,), "Expand": (1,), "Slice": (1, 2, 4), "Pad": (1,), "Tile": (1,), "ConstantOfShape": (0,),
    "Range": (0, 1, 2), "Split": (1,), "Resize": (3,),
}  # fmt: skip
"""Inputs that decide a shape: computed from shapes and constants, never from data."""

_CONSTANTS: Mapping[str, tuple[int, ...]] = {
    "BatchNormalization": (1, 2, 3, 4), "InstanceNormalization": (1, 2),
    "Squeeze": (1,), "Unsqueeze": (1,), "Slice": (3,), "Pad": (3,), "CumSum": (1,), "OneHot": (1,), "TopK": (1,),
    "Resize": (2,), "QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2),
} | {name: (1,) for name in OPERATORS if name.startswith("Reduce")}  # fmt: skip
"""Inputs that must be initializers. A convolution's weights need not be: GFPGAN's ONNX files compute them."""

_ATTRIBUTES: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "Resize": {
        "mode": ("nearest", "linear"),
        "coordinate_transformation_mode": (
            "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners",
        ),
        "nearest_mode": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
        "keep_aspect_ratio_policy": ("stretch",),
        "antialias": (0,),
        "exclude_outside": (0,),
    },
    # "linear" and "cubic", the names from opset 20 on, would be taken for "nearest".
    "GridSample": {"mode": ("bilinear", "nearest", "bicubic"), "padding_mode": ("zeros", "border", "reflection")},
    "TopK": {"sorted": (1,)},
    "ScatterND": {"reduction": ("none",)},
    "ScatterElements": {"reduction": ("none",)},  # others need a plugin
    "Pad": {"mode": ("constant", "reflect", "edge", "wrap")},
    "LpPool": {"p": (2, 1)},
}  # fmt: skip
"""Attributes whose value the parser does not take at will."""

_RANKS: Mapping[str, tuple[int, ...]] = {
    "GridSample": (4,), "AveragePool": (4, 5), "MaxPool": (4, 5), "Conv": (3, 4, 5), "ConvTranspose": (3, 4, 5),
    "InstanceNormalization": (3, 4, 5),
}  # fmt: skip


@dataclass(frozen=True)
class _Graph:
    """What the rules look things up in.

    Attributes:
        types: element type of each tensor whose type is known.
        ranks: number of dimensions, likewise.
        constants: initializers and Constant nodes by name.
        static: tensors that depend on shapes and constants alone.
        inputs, outputs: names of the graph's own.
        readers: the nodes that take a tensor.
    """

    types: Mapping[str, int]
    ranks: Mapping[str, int]
    constants: Mapping[str, NDArray[Any]]
    static: frozenset[str]
    inputs: frozenset[str]
    outputs: frozenset[str]
    readers: Mapping[str, list[NodeProto]] = field(default_factory=dict)


def check_rules(model: ModelProto, name: str) -> None:
    """Hold a graph against what TensorRT's parser takes.

    Args:
        model: a valid ONNX model; types and shapes are inferred afresh.
        name: of the graph, for the message.

    Raises:
        ExportError: all that breaks a rule, each with the node's name and the reason.
    """
    wrong = list(violations(model))
    if wrong:
        raise ExportError(f"graph {name} would not become a TensorRT engine: {'; '.join(wrong)}.")


def violations(model: ModelProto) -> Iterator[str]:
    """Each rule that a graph breaks, in words, with the node's name."""
    for entry in model.opset_import:
        if entry.domain not in ("", "ai.onnx"):
            yield f"it needs operators of {entry.domain}, expected ONNX's own alone"
        elif entry.version not in OPSETS:
            yield f"it is of opset {entry.version}, expected {OPSETS[0]} to {OPSETS[-1]}"
    graph = _read(model)
    for node in model.graph.node:
        for check in _CHECKS:
            for problem in check(node, graph):
                yield f"{node.op_type} {node.name or node.output[0]} {problem}"
    yield from _outputs(graph)


def _read(model: ModelProto) -> _Graph:
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    values = [*inferred.value_info, *inferred.input, *inferred.output]
    types = {v.name: v.type.tensor_type.elem_type for v in values}
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in values if v.type.tensor_type.HasField("shape")}
    constants = {t.name: numpy_helper.to_array(t) for t in inferred.initializer}
    types |= {t.name: t.data_type for t in inferred.initializer}
    ranks |= {t.name: len(t.dims) for t in inferred.initializer}
    constants |= {n.output[0]: _constant(n) for n in inferred.node if n.op_type == "Constant"}
    static = set(constants)
    readers: dict[str, list[NodeProto]] = {}
    for node in inferred.node:
        if node.op_type in ("Shape", "Size") or (node.input and static.issuperset(filter(None, node.input))):
            static.update(node.output)
        for tensor in node.input:
            readers.setdefault(tensor, []).append(node)
    return _Graph(
        types,
        ranks,
        constants,
        frozenset(static),
        frozenset(v.name for v in inferred.input),
        frozenset(v.name for v in inferred.output),
        readers,
    )


def _constant(node: NodeProto) -> NDArray[Any]:
    value = helper.get_attribute_value(node.attribute[0])
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def _type_name(number: int) -> str:
    return str(TensorProto.DataType.Name(number))


def _operator(node: NodeProto, graph: _Graph) -> Iterator[str]:
    if node.op_type in UNCAPTURABLE:
        yield UNCAPTURABLE[node.op_type]
    elif node.op_type not in OPERATORS:
        yield "is an operator that the parser does not have"
    elif any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute):
        yield "holds a graph of its own"


def _types(node: NodeProto, graph: _Graph) -> Iterator[str]:
    allowed, position = OPERATORS.get(node.op_type), _DATA.get(node.op_type, 0)
    if allowed is None:
        return
    data = node.input[position] if len(node.input) > position else node.output[0]
    found = graph.types.get(data)
    if node.op_type in ("Shape", "Size"):  # of whatever is an input, too
        return
    if found is not None and found not in allowed:
        yield f"works on {_type_name(found)}, expected one of {', '.join(sorted(map(_type_name, allowed)))}"
    for tensor in node.output:
        if (kind := graph.types.get(tensor, TensorProto.FLOAT)) not in TENSORS:
            yield f"gives {_type_name(kind)}, which is no type of TensorRT's tensors"
    if node.op_type == "Celu" and found != TensorProto.FLOAT:
        yield f"works on {_type_name(found or 0)}, expected FLOAT"  # TensorRT for RTX 1.7: a rank assertion
    if node.op_type == "InstanceNormalization" and len({graph.types.get(t) for t in node.input}) > 1:
        yield "has input, scale and bias of different types"  # checkInstanceNormalization, onnx-tensorrt 11.0


def _bytes_at_the_border(node: NodeProto, graph: _Graph) -> Iterator[str]:
    """UINT8 is a type of a graph's inputs and outputs alone; inside it is cast."""
    for tensor in node.output:
        if graph.types.get(tensor) == TensorProto.UINT8 and (tensor not in graph.outputs or tensor in graph.readers):
            yield f"gives {tensor} as UINT8 inside the graph; only inputs and outputs may be that"
    for tensor in node.input:
        of_network = tensor in graph.inputs and node.op_type == "Cast"
        if graph.types.get(tensor) == TensorProto.UINT8 and not of_network:
            yield f"takes {tensor} as UINT8, expected a Cast of an input first"


def _attributes(node: NodeProto, graph: _Graph) -> Iterator[str]:
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    for name, allowed in _ATTRIBUTES.get(node.op_type, {}).items():
        value = given.get(name, allowed[0])
        value = value.decode() if isinstance(value, bytes) else value
        if value not in allowed:
            yield f"has {name} {value!r}, expected one of {', '.join(map(repr, allowed))}"
    if node.op_type == "Mod" and not given.get("fmod", 0) and graph.types.get(node.input[0]) in FLOATS:
        yield "has fmod 0 and works on floating-point numbers, expected fmod 1"  # TensorRT for RTX 1.7
    if "Pool" in node.op_type and any(d != 1 for d in given.get("dilations", ())):
        yield f"has dilations {given['dilations']}, expected ones"
    if node.op_type == "MaxPool" and len(node.output) > 1 and node.output[1]:
        yield "has an output of indices, which the parser does not give"
    if node.op_type == "LayerNormalization" and len([o for o in node.output if o]) > 1:
        yield "has more than its first output, which the parser does not give"


def _constants(node: NodeProto, graph: _Graph) -> Iterator[str]:
    for position in _CONSTANTS.get(node.op_type, ()):
        tensor = node.input[position] if position < len(node.input) else ""
        if tensor and tensor not in graph.constants and not _is_quantised_weight(tensor, graph):
            yield f"takes {tensor}, which is not a constant"
    for position in _SHAPES.get(node.op_type, ()):
        tensor = node.input[position] if position < len(node.input) else ""
        if tensor and tensor not in graph.static:
            yield f"takes its shape from {tensor}, which depends on data"


def _is_quantised_weight(tensor: str, graph: _Graph) -> bool:
    """Made of constants alone, such as a DequantizeLinear of constant levels; not what is computed from shapes."""
    return tensor in graph.static and graph.types.get(tensor) in FLOATS


def _ranks(node: NodeProto, graph: _Graph) -> Iterator[str]:
    allowed = _RANKS.get(node.op_type)
    rank = graph.ranks.get(node.input[0]) if node.input else None
    if allowed and rank is not None and rank not in allowed:
        yield f"works on {rank} dimensions, expected {' or '.join(map(str, allowed))}"
    if node.op_type == "MatMul":
        ranks = [graph.ranks.get(tensor, 0) for tensor in node.input]
        if 1 in ranks and max(ranks) > 2:  # TensorRT for RTX 1.7
            yield f"multiplies {ranks[0]} dimensions by {ranks[1]}, expected a vector times a matrix at most"


def _values(node: NodeProto, graph: _Graph) -> Iterator[str]:
    if node.op_type == "TopK" and node.input[1] in graph.constants:
        count = int(graph.constants[node.input[1]].item())
        if count >= TOP_K:
            yield f"takes the best {count}, expected fewer than {TOP_K}"
    if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2:
        zero = graph.constants.get(node.input[2])
        if zero is not None and np.any(zero.astype(np.float32)):
            yield "has a zero point that is not 0"
    if node.op_type == "Resize" and node.input[2:3] and node.input[2] in graph.constants:
        scales = graph.constants[node.input[2]]
        if scales.size > 3 and np.count_nonzero(scales != 1) > 3:
            yield "enlarges more than three dimensions"


def _outputs(graph: _Graph) -> Iterator[str]:
    for name in sorted(graph.outputs | graph.inputs):
        if (kind := graph.types.get(name, TensorProto.FLOAT)) not in TENSORS - LEVELS:
            yield f"input or output {name} is {_type_name(kind)}, expected {', '.join(sorted(map(_type_name, ANY)))}"


_CHECKS: tuple[Callable[[NodeProto, _Graph], Iterator[str]], ...] = (
    _operator,
    _types,
    _bytes_at_the_border,
    _attributes,
    _constants,
    _ranks,
    _values,
)
