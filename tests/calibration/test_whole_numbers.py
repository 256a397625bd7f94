"""Which nodes compute with whole numbers that FP16 holds exactly."""

import onnx
import pytest
from onnx import shape_inference

from trtswap.calibration.prepared import prepared
from trtswap.calibration.whole_numbers import small_whole_numbers
from trtswap.model.pack import Pack
from trtswap.packs import find_pack

HEAD = '<ir_version: 9, opset_import: ["" : 19]>'


def exact(nodes: str, *constants: tuple[str, list[int], list[float]]) -> set[str]:
    model = onnx.parser.parse_model(f"{HEAD} g (float[N,4] x, float[4,4] m) => (float[N,4] y) {{ {nodes} }}")
    for name, dims, values in constants:
        model.graph.initializer.append(onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, dims, values))
    return small_whole_numbers(shape_inference.infer_shapes(model))


KEPT = "b = Greater(x, z) a = Cast<to = 1>(b) c = Greater(m, z) o = Cast<to = 1>(c)"
ZERO = ("z", [1], [0.0])


def test_what_is_made_of_zeros_and_ones() -> None:
    assert exact(f"{KEPT} p = MatMul(a, o) s = Sub(a, p) y = Relu(s)", ZERO) == {"a", "o", "p", "s", "y"}


def test_other_numbers_are_none() -> None:
    assert exact("y = Relu(x)") == set()
    assert exact(f"{KEPT} p = Mul(a, h) y = Add(p, o)", ZERO, ("h", [1], [0.5])) == {"a", "o"}
    assert exact(f"{KEPT} p = MatMul(a, m) y = Relu(p)", ZERO) == {"a", "o"}


@pytest.mark.parametrize(("factor", "fits"), [(512.0, True), (513.0, False)])
def test_only_as_long_as_half_precision_holds_them(factor: float, fits: bool) -> None:
    found = exact(f"{KEPT} t = Mul(a, f) y = MatMul(t, o)", ZERO, ("f", [1], [factor]))
    assert ("y" in found) == fits  # four terms: 2048 is the last


def test_the_suppression_of_a_detector_is_exact_in_half_precision() -> None:
    """Its 127 products were all that kept the detector of an FP16 pack from GPUs of Turing."""
    model = prepared(Pack.load(find_pack("avatar")).stages["detect"])
    products = {node.output[0] for node in model.graph.node if node.op_type == "MatMul"}
    assert len(products) == 127
    assert products <= small_whole_numbers(model)
