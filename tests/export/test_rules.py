"""Graphs that TensorRT's parser would refuse, or read otherwise than ONNX means them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from trtswap.errors import ExportError
from trtswap.export.rules import OPERATORS, UNCAPTURABLE, check_rules, violations

X, Y = "float[N,4,8,8] x", "float[N,4,8,8] y"
INTS = np.int64
WEIGHTS = np.ones((4, 4, 1, 1), np.float32)


def graph(text: str, constants: Mapping[str, NDArray[Any]] | None = None, *, opset: int = 19) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]> {text}')
    for number, node in enumerate(model.graph.node):
        node.name = f"net/{node.op_type}_{number}"
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in (constants or {}).items())
    return model


def body(nodes: str, *, takes: str = X, gives: str = Y) -> str:
    return f"g ({takes}) => ({gives}) {{ {nodes} }}"


GRID = "float[N,8,8,2] grid"
BROKEN: dict[str, tuple[str, dict[str, Any], str]] = {
    "operator": (
        body("y = Bernoulli(x)"), {}, "Bernoulli net/Bernoulli_0 is an operator that the parser does not have",
    ),
    "type": (body("d = Cast<to = 11>(x) e = Relu(d) y = Cast<to = 1>(e)"), {}, "Cast_0 gives DOUBLE"),
    "operator's type": (
        body("i = Cast<to = 7>(x) s = Sigmoid(i) y = Cast<to = 1>(s)"), {}, "Sigmoid_1 works on INT64, expected one of"
    ),
    "bytes inside": (
        body("u = Cast<to = 2>(x) v = Identity(u) y = Cast<to = 1>(v)"), {}, "Cast_0 gives u as UINT8 inside the graph"
    ),
    "bytes not cast": (
        body("y = Identity(x)", takes="uint8[N,4] x", gives="uint8[N,4] y"), {}, "Identity_0 takes x as UINT8"
    ),
    "antialias": (
        body('y = Resize<mode = "linear", antialias = 1>(x, , s)'), {"s": np.float32([1, 1, 1, 1])},
        r"Resize_0 has antialias 1, expected one of 0",
    ),
    "cubic": (body('y = Resize<mode = "cubic">(x, , s)'), {"s": np.ones(4, np.float32)}, "Resize_0 has mode 'cubic'"),
    "tf_crop": (
        body('y = Resize<mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize">(x, r, s)'),
        {"s": np.ones(4, np.float32), "r": np.ones(8, np.float32)},
        "has coordinate_transformation_mode 'tf_crop_and_resize'",
    ),
    "scales from data": (
        body('m = ReduceMax<keepdims = 0>(x) a = Unsqueeze(m, z) s = Concat<axis = 0>(o, o, a, a) y = Resize(x, , s)'),
        {"z": INTS([0]), "o": np.float32([1])}, "Resize_3 takes s, which is not a constant",
    ),
    "grid's mode": (
        body('y = GridSample<mode = "linear">(x, grid)', takes=f"{X}, {GRID}"), {}, "GridSample_0 has mode 'linear'",
    ),
    "statistics": (
        body("y = InstanceNormalization(x, w, w)", takes=f"{X}, float[4] w"), {},
        "InstanceNormalization_0 takes w, which is not a constant",
    ),
    "top-K": (
        body("y, i = TopK<axis = 1>(x, k)", takes="float[N,5000] x", gives="float[N,3840] y, int64[N,3840] i"),
        {"k": INTS([3840])}, "TopK_0 takes the best 3840, expected fewer than 3840",
    ),
    "unsorted": (
        body("y, i = TopK<axis = 1, sorted = 0>(x, k)", takes="float[N,50] x", gives="float[N,3] y, int64[N,3] i"),
        {"k": INTS([3])}, "TopK_0 has sorted 0",
    ),
    "data-dependent operator": (
        body("y = NonZero(x)", gives="int64[4,M] y"), {}, "NonZero_0 has an output whose shape depends on data",
    ),
    "data-dependent shape": (
        body("m = ReduceMax<keepdims = 0>(x) i = Cast<to = 7>(m) n = Unsqueeze(i, z) y = Expand(one, n)",
             gives="float[M] y"),
        {"z": INTS([0]), "one": np.float32([1])}, "Expand_3 takes its shape from n, which depends on data",
    ),
    "control flow": (
        body("c = ReduceMax<keepdims = 0>(x) b = Cast<to = 9>(c) y = If(b) <then_branch = t () => (float[N,4,8,8] p) "
             "{ p = Identity(x) }, else_branch = e () => (float[N,4,8,8] q) { q = Identity(x) }>"),
        {}, "If_2 is control flow",
    ),
    "axes": (
        body("a = Shape(x) b = Slice(a, z, o) y = ReduceMax(x, b)"), {"z": INTS([0]), "o": INTS([1])},
        "takes b, which is not",
    ),
    "norm of two types": (
        body("h = Cast<to = 10>(x) n = InstanceNormalization(h, s, s) y = Cast<to = 1>(n)"),
        {"s": np.ones(4, np.float32)}, "InstanceNormalization_1 has input, scale and bias of different types",
    ),
    "zero point": (
        body("q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)"),
        {"s": np.float32(0.1), "z": np.int8(3)}, "QuantizeLinear_0 has a zero point that is not 0",
    ),
    "unsigned levels": (
        body("q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)"),
        {"s": np.float32(0.1), "z": np.uint8(0)}, "DequantizeLinear_1 works on UINT8",
    ),
    "indices": (
        body("y, i = MaxPool<kernel_shape = [1, 1]>(x)", gives=f"{Y}, int64[N,4,8,8] i"), {},
        "MaxPool_0 has an output of indices",
    ),
    "celu in half": (
        body("h = Cast<to = 10>(x) c = Celu(h) y = Cast<to = 1>(c)"), {}, "Celu_1 works on FLOAT16, expected FLOAT",
    ),
    "lp pool": (body("y = LpPool<kernel_shape = [1, 1], p = 3>(x)"), {}, "LpPool_0 has p 3, expected one of 2, 1"),
    "mod of floats": (body("y = Mod(x, s)"), {"s": np.float32([3])}, "Mod_0 has fmod 0 and works on floating-point"),
    "vector times matrices": (
        body("y = MatMul(v, x)", gives="float[N,4,8] y"), {"v": np.ones(8, np.float32)},
        "MatMul_0 multiplies 1 dimensions by 4, expected a vector times a matrix at most",
    ),
    "random": (body("y = RandomNormalLike(x)"), {}, "RandomNormalLike_0 draws random numbers"),
    "scatter": (
        body('y = ScatterND<reduction = "add">(x, i, u)'),
        {"i": INTS([[0]]), "u": np.ones((1, 4, 8, 8), np.float32)}, "ScatterND_0 has reduction 'add'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "constants", "message"), BROKEN.values(), ids=BROKEN)
def test_what_breaks_a_rule_is_refused_with_the_nodes_name(text: str, constants: dict[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=f"graph swap would not become a TensorRT engine: .*{message}"):
        check_rules(graph(text, constants), "swap")


FINE = {
    "bytes at the end": body("a = ArgMax<axis = 1, keepdims = 0>(x) y = Cast<to = 2>(a)", gives="uint8[N,8,8] y"),
    "bytes at the beginning": body("y = Cast<to = 1>(x)", takes="uint8[N,4,8,8] x"),
    "enlarged": body('y = Resize<mode = "linear", coordinate_transformation_mode = "align_corners">(x, , s)'),
    "sampled": body('y = GridSample<mode = "bilinear", padding_mode = "border">(x, grid)', takes=f"{X}, {GRID}"),
    "shape of a shape": body("a = Shape(x) b = Slice(a, z, o) c = Concat<axis = 0>(b, t) y = Reshape(x, c)"),
    "quantised": body(
        "q = QuantizeLinear(x, k, e) d = DequantizeLinear(q, k, e) v = DequantizeLinear(l, k, e) y = Conv(d, v)"
    ),
}  # fmt: skip
CONSTANTS = {
    "s": np.ones(4, np.float32), "z": INTS([0]), "o": INTS([1]), "t": INTS([4, 8, 8]), "k": np.float32(0.1),
    "e": np.int8(0), "l": np.ones((4, 4, 1, 1), np.int8),
}  # fmt: skip


@pytest.mark.parametrize("text", FINE.values(), ids=FINE)
def test_what_keeps_the_rules_passes(text: str) -> None:
    model = graph(text, {name: value for name, value in CONSTANTS.items() if f" {name}" in text or f"({name}" in text})
    assert list(violations(model)) == []


def test_operator_sets() -> None:
    newer = graph(body("y = Relu(x)"), opset=20)
    assert list(violations(newer)) == ["it is of opset 20, expected 9 to 19"]
    foreign = graph(body("y = Relu(x)"))
    foreign.opset_import.add(domain="com.microsoft", version=1)
    assert list(violations(foreign)) == ["it needs operators of com.microsoft, expected ONNX's own alone"]


def test_all_that_is_wrong_is_said_at_once() -> None:
    model = graph(body('a = Resize<mode = "cubic">(x, , s) y = RandomNormalLike(a)'), {"s": np.ones(4, np.float32)})
    assert len(list(violations(model))) == 2


def test_the_tables_name_operators_that_exist() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert set(OPERATORS) | set(UNCAPTURABLE) <= known
    assert not set(OPERATORS) & set(UNCAPTURABLE)
