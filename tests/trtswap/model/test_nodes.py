"""Nodes at which runtimes end the process, found without the package onnx."""

import time
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import helper, numpy_helper

from trtswap.backends import open_engine
from trtswap.errors import BackendError, PackError
from trtswap.model import nodes
from trtswap.model.nodes import check_nodes
from trtswap.packs import SHIPPED

SCHEMAS = {schema.name: schema for schema in onnx.defs.get_all_schemas() if schema.domain == ""}

REALS = {f"tensor({kind})" for kind in ("float", "double", "float16", "bfloat16")}


def check(body: str, tmp_path: Path, *, also: str = "") -> None:
    opsets = '"" : 19, "com.microsoft" : 1, "own" : 1'
    text = f"<ir_version: 9, opset_import: [{opsets}]> g (float[N] x, int64[N] i) => (y) {{ {body} }}"
    onnx.save(onnx.parser.parse_model(text + also), tmp_path / "g.onnx")
    check_nodes(tmp_path / "g.onnx")


@pytest.mark.parametrize("operator", ["Max", "Concat", "Sum"])
def test_an_input_without_a_name_ends_no_process(operator: str, tmp_path: Path) -> None:
    """ONNX Runtime 1.32 ends at it, ONNX's own checker lets it pass; also inside of a branch."""
    axis = "<axis = 0>" if operator == "Concat" else ""
    text = f"""<ir_version: 9, opset_import: ["" : 19]> g (float[N] x, bool c) => (float[M] y) {{
        y = If (c) <then_branch = t () => (float[M] a) {{ a = {operator} {axis} (x, x) }},
                    else_branch = e () => (float[M] b) {{ b = Identity (x) }}> }}"""
    inner = onnx.parser.parse_model(text)
    inner.graph.node[0].attribute[0].g.node[0].input.append("")
    text = f'<ir_version: 9, opset_import: ["" : 19]> g (float[N] x) => (float[M] y) {{ y = {operator} {axis} (x, x) }}'
    plain = onnx.parser.parse_model(text)
    onnx.save(plain, tmp_path / "fine.onnx")
    check_nodes(tmp_path / "fine.onnx")
    plain.graph.node[0].input.append("")
    for model in (plain, inner):
        onnx.save(model, tmp_path / "bad.onnx")
        with pytest.raises(BackendError, match=f"a node {operator} has an input without a name"):
            open_engine(tmp_path / "bad.onnx", backend="onnxruntime", device="cpu")


@pytest.mark.parametrize("operator", sorted(SCHEMAS))
def test_types_are_those_of_the_operators_schemas(operator: str) -> None:
    schema = SCHEMAS[operator]
    if operator in (nodes.UNTOLD | {"Constant", "Cast", "BitCast", "Bernoulli", "Multinomial"}) or operator.startswith(
        "Random"
    ):
        return
    rules = nodes.OUTPUT_TYPES.get(operator, ("input 0",) * len(schema.outputs))
    assert len(rules) >= len(schema.outputs)
    for output, rule in zip(schema.outputs, rules, strict=False):
        if isinstance(rule, int):
            assert all(onnx.TensorProto.DataType.Name(rule).lower() in kind or rule == 1 for kind in output.types)
            assert rule != 1 or set(output.types) <= REALS
        else:
            assert schema.inputs[int(rule.removeprefix("input "))].type_str == output.type_str


@pytest.mark.parametrize(
    "body",
    [
        "y = Div(i, i)",
        "y = Mod(i, i)",
        "o = Constant<value_int = -1>() y = Div(i, o)",
        "o = Constant<value_ints = [2, 0]>() y = Mod(i, o)",
        "o = Constant<value = int64[2] {2, -1}>() y = Div(i, o)",
        "o = Constant<value = uint8 {0}>() k = Cast<to = 2>(i) y = Div(k, o)",
        "s = Shape(x) o = Constant<value_int = 2>() h = Div(s, o) y = Div(s, h)",
        "s = Shape(x) h = Gather(s, i) y = Div(h, h)",
        "v, k = TopK(x, i) y = Div(k, k)",
        "o = Constant<value_int = -1>() p = Unsqueeze(o, o) y = Div(i, p)",
        "k = Cast<to = 6>(x) y = Div(k, k)",
        "k = com.microsoft.Unknown(x) y = Div(k, k)",
        "q = QuantizeLinear(x, x) y = Div(q, q)",
        "c = Equal(x, x) w = Where(c, i, i) y = Div(w, w)",
        "c = Equal(x, x) y = If(c) <then_branch = t () => (a) { a = Div(i, i) }, "
        "else_branch = e () => (b) { b = Identity(i) }>",
        "o = Constant<value_int = 2>() c = Equal(x, x) y = If(c) <then_branch = t () => (a) "
        "{ o = Constant<value_int = 0>() a = Div(i, o) }, else_branch = e () => (b) { b = Identity(i) }>",
    ],
)
def test_whole_numbers_are_divided_by_harmless_constants_alone(body: str, tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"a node (Div|Mod) \(gives '.*'\) divides whole numbers"):
        check(body, tmp_path)


@pytest.mark.parametrize(
    "body",
    [
        "y = Div(x, x)",
        "z = Constant<value_float = 0.0>() y = Div(x, z)",
        "o = Constant<value_int = 2>() y = Div(i, o)",
        "o = Constant<value = int32[2] {2, -2}>() k = Cast<to = 6>(i) y = Mod(k, o)",
        "s = Shape(x) o = Constant<value_ints = [32]>() p = Squeeze(o) y = Div(s, p)",
        "k = Cast<to = 1>(i) e = Exp(k) r = ReduceSum(e) y = Div(e, r)",
        "q, z = TopK(x, i) y = Div(q, x)",
        "c = Equal(x, x) w = Where(c, x, x) y = Div(w, w)",
    ],
)
def test_other_divisions_pass(body: str, tmp_path: Path) -> None:
    check(body, tmp_path)


def test_a_function_declares_no_types(tmp_path: Path) -> None:
    own = '<domain: "own", opset_import: ["" : 19]> f (a) => (b) {{ b = Div(a, {0}) }}'
    with pytest.raises(PackError, match="divides"):
        check("y = own.f(i)", tmp_path, also=own.format("a"))
    constant = own.replace("b = ", "two = Constant<value_int = 2>() b = ")
    check("y = own.f(i)", tmp_path, also=constant.format("two"))


@pytest.mark.parametrize("kind", ["int8", "uint16", "int32", "int64", "uint64"])
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("value", [3, 0, -1])
def test_weights_are_read_however_they_are_written(kind: str, raw: bool, value: int, tmp_path: Path) -> None:
    values = np.array([5, value]).astype(kind)
    weight = numpy_helper.from_array(values, "w")
    if not raw:
        weight = helper.make_tensor("w", weight.data_type, [2], values.tolist())
    cast = helper.make_node("Cast", ["x"], ["k"], to=weight.data_type)
    graph = helper.make_graph([cast, helper.make_node("Div", ["k", "w"], ["y"])], "g", [], [], [weight])
    onnx.save(helper.make_model(graph), tmp_path / "g.onnx")
    if value == 3:
        check_nodes(tmp_path / "g.onnx")
        return
    with pytest.raises(PackError, match="divides"):
        check_nodes(tmp_path / "g.onnx")


@pytest.mark.parametrize("body", ["y = RandomUniformLike(x)", "y = Bernoulli(x)"])
def test_graphs_draw_no_random_numbers(body: str, tmp_path: Path) -> None:
    """ONNX Runtime 1.32 ends at a RandomUniformLike whose lower end is above its upper one."""
    with pytest.raises(PackError, match="draws random numbers"):
        check(body, tmp_path)


def test_fields_that_nobody_knows_hide_nothing(tmp_path: Path) -> None:
    """Protobuf passes over groups, and over fields of another kind than declared."""
    text = '<ir_version: 9, opset_import: ["" : 19]> g (int64[N] x) => (int64[N] y) { y = Div(x, x) }'
    model = onnx.parser.parse_model(text)
    group = b"\xa3\x06\xa3\x06\x08\x01\xa4\x06\xa4\x06"  # one in another
    kind = b"\x0a\x01\x01"  # the type's number as bytes, which would say float
    for unknown in (group, kind):
        model.graph.input[0].type.tensor_type.MergeFromString(unknown)
        onnx.save(model, tmp_path / "g.onnx")
        assert onnx.load(tmp_path / "g.onnx").graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.INT64
        with pytest.raises(PackError, match="divides whole numbers"):
            check_nodes(tmp_path / "g.onnx")
    (tmp_path / "g.onnx").write_bytes(b"\xa3\x06" + model.SerializeToString())
    with pytest.raises(PackError, match="no ONNX model"):
        check_nodes(tmp_path / "g.onnx")


@pytest.mark.parametrize("values", [(2, 0), (0, 2)])
def test_an_attribute_that_is_there_twice_hides_nothing(values: tuple[int, int], tmp_path: Path) -> None:
    """Which of the two counts is the runtime's to say."""
    constant = helper.make_node("Constant", [], ["o"])
    constant.attribute.extend(helper.make_attribute("value_int", value) for value in values)
    cast = helper.make_node("Cast", ["x"], ["i"], to=onnx.TensorProto.INT64)
    graph = helper.make_graph([constant, cast, helper.make_node("Div", ["i", "o"], ["y"])], "g", [], [])
    onnx.save(helper.make_model(graph), tmp_path / "g.onnx")
    with pytest.raises(PackError, match="divides whole numbers"):
        check_nodes(tmp_path / "g.onnx")


@pytest.mark.parametrize("operator", ["Identity", "Constant"])
def test_names_of_operators_count_with_their_domain(operator: str, tmp_path: Path) -> None:
    body = f"s = Constant<value_int = 7>() o = own.{operator}<value_int = 7>(s) y = Div(i, o)"
    with pytest.raises(PackError, match="divides whole numbers"):
        check(body, tmp_path)
    also = f'<domain: "", opset_import: ["" : 19]> {operator} (a) => (b) {{ b = Sub(a, a) }}'
    with pytest.raises(PackError, match="takes the place of one of ONNX's own operators"):
        check("y = Relu(x)", tmp_path, also=also)


def test_many_graphs_inside_of_one_cost_little(tmp_path: Path) -> None:
    names = [helper.make_tensor_value_info(f"n{i}", onnx.TensorProto.FLOAT, [1]) for i in range(20_000)]
    node = helper.make_node("If", ["n0"], ["y"])
    node.attribute.append(onnx.AttributeProto(name="many", graphs=[onnx.GraphProto() for _ in range(50_000)]))
    onnx.save(helper.make_model(helper.make_graph([node], "g", names, [])), tmp_path / "g.onnx")
    began = time.process_time()
    check_nodes(tmp_path / "g.onnx")
    assert time.process_time() - began < 10


@pytest.mark.parametrize("last", ["b = Relu(a)", "b = own.f0(a)"])
def test_functions_that_unfold_without_end(last: str, tmp_path: Path) -> None:
    """Each of 30 calls the next twice; ONNX Runtime would unfold 2^30 nodes."""
    header = '<domain: "own", opset_import: ["" : 19, "own" : 1]>'
    also = "".join(f"{header} f{n} (a) => (b) {{ c = own.f{n + 1}(a) b = own.f{n + 1}(c) }}" for n in range(30))
    with pytest.raises(PackError, match="its functions unfold to more than 1,000,000 nodes"):
        check("y = own.f0(x)", tmp_path, also=f"{also} {header} f30 (a) => (b) {{ {last} }}")


def test_shipped_graphs_pass() -> None:
    for path in SHIPPED.glob("*/*.onnx"):
        check_nodes(path)
