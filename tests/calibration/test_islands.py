"""What stays in FP32, and what is scaled."""

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from trtswap.calibration.half import half_graph
from trtswap.calibration.islands import HEADROOM, LARGEST, Islands, Scale, find_islands
from trtswap.calibration.rounding import rounding_graph
from trtswap.calibration.table import TensorRange
from trtswap.errors import CalibrationError
from trtswap.export.arithmetic import element_types

from .graphs import Rows, graph, inferred, measured, run

RNG = np.random.default_rng(0)
X = [{"x": RNG.normal(size=(1, 4, 6, 6)).astype(np.float32)} for _ in range(3)]
W = RNG.normal(size=(4, 4, 3, 3)).astype(np.float32) / 6


def full(model: ModelProto, rows: Rows = X, stage: str = "swap") -> set[str]:
    return set(find_islands(model, measured(model, rows), stage).full)


def test_decomposed_instance_norm_keeps_its_statistics() -> None:
    text = """g (float[N,4,6,6] x) => (float[N,4,6,6] y) {
        c = Conv<pads = [1, 1, 1, 1]>(x, w) r = Relu(c) m = ReduceMean(r, axes) d = Sub(r, m) s = Mul(d, d)
        v = ReduceMean(s, axes) e = Add(v, eps) q = Sqrt(e) n = Div(d, q) t = Tanh(n)
        y = Conv<pads = [1, 1, 1, 1]>(t, w) }"""
    found = full(graph(text, w=W, axes=np.int64([2, 3]), eps=np.float32([1e-8])))
    assert found == {"m", "d", "s", "v", "e", "q", "n"}


def test_demodulation_stays() -> None:
    text = """g (float[N,4,6,6] x, float[N,5] z) => (float[N,4,6,6] y) {
        style = Gemm<transB = 1>(z, a) square = Mul(style, style) sum = MatMul(square, energy) eps = Add(sum, k)
        root = Sqrt(eps) inverse = Reciprocal(root) wide = Unsqueeze(inverse, axes) s = Unsqueeze(style, axes)
        m = Mul(x, s) c = Conv<pads = [1, 1, 1, 1]>(m, w) d = Mul(c, wide) y = LeakyRelu(d) }"""
    constants = {"a": RNG.normal(size=(4, 5)), "energy": np.square(W).sum((2, 3)).T, "k": [1e-8], "w": W}
    model = graph(text, **{n: np.float32(v) for n, v in constants.items()}, axes=np.int64([2, 3]))
    rows = [row | {"z": np.ones((1, 5), np.float32)} for row in X]
    assert full(model, rows) == {"square", "sum", "eps", "root", "inverse", "wide", "d"}


def test_unit_length_stays_and_a_residual_sum_before_it_does_not() -> None:
    text = """g (float[N,4,6,6] x) => (float[N,144] y) {
        c = Conv<pads = [1, 1, 1, 1]>(x, w) r = Add(c, x) f = Flatten(r) s = Mul(f, f) t = ReduceSum(s, axes)
        q = Sqrt(t) m = Clip(q, tiny) y = Div(f, m) }"""
    found = full(graph(text, w=W, axes=np.int64([1]), tiny=np.float32(1e-12)), stage="identify")
    assert found == {"f", "s", "t", "q", "m", "y"}


def test_a_detector_is_fp16_up_to_its_last_convolutions() -> None:
    text = """g (float[N,4,6,6] x) => (float[N,4,6,6] y) {
        a = Conv<pads = [1, 1, 1, 1]>(x, w) b = Relu(a) c = Conv<pads = [1, 1, 1, 1]>(b, w) d = Sigmoid(c)
        y = Mul(d, d) }"""
    assert full(graph(text, w=W), stage="detect") == {"d", "y"}
    assert full(graph(text, w=W), stage="swap") == set()


def test_ranges_decide_about_everything_else() -> None:
    text = """g (float[N,4,6,6] x) => (float[N,4,6,6] y) {
        a = Mul(x, k) b = Tanh(a) c = Mul(b, l) d = Mul(c, m) y = Relu(d) }"""
    constants = {"k": [1e5], "l": [1e-5], "m": [1e5]}
    model = graph(text, **{n: np.float32(v) for n, v in constants.items()})
    islands = find_islands(model, measured(model, X), "swap")
    assert set(islands.full) == {"a", "b", "c", "d"}
    assert islands.full["a"] == "k reaches 1e+05"
    assert "stays below" in islands.full["c"]


def test_headroom_is_left() -> None:
    model = graph("g (float[N,4] x) => (float[N,4] y) { a = Mul(x, x) y = Relu(a) }")
    for bound, fits in ((LARGEST / HEADROOM * 0.99, True), (LARGEST / HEADROOM * 1.01, False)):
        ranges = {name: TensorRange(0, 1, 0) for name in "xy"} | {"a": TensorRange(0, 1, bound)}
        assert (find_islands(model, ranges, "swap").full == {}) == fits


def test_a_table_that_lacks_a_tensor_is_refused() -> None:
    model = graph("g (float[N,4] x) => (float[N,4] y) { a = Mul(x, x) y = Relu(a) }")
    with pytest.raises(CalibrationError, match="has no tensor a of graph g"):
        find_islands(model, {"x": TensorRange(0, 1, 1), "y": TensorRange(0, 1, 1)}, "swap")


@pytest.mark.parametrize("input_gain", [1, 1e7, 1e-9])
@pytest.mark.parametrize("weight_gain", [1, 1e6, 1e-8])
@pytest.mark.parametrize("operator", ["Conv<pads = [1, 1, 1, 1]>(g, w, b)", "Gemm<transB = 1>(f, w, b)"])
def test_products_of_any_size_are_computed_in_fp16(operator: str, weight_gain: float, input_gain: float) -> None:
    """With weights and inputs that FP16 cannot hold, the result is as near as one with ordinary numbers."""
    gemm = operator.startswith("Gemm")
    shape = "144" if gemm else "4,6,6"
    head = "g = Mul(x, k)" + (" f = Flatten(g)" if gemm else "")
    text = f"g (float[N,4,6,6] x) => (float[N,{5 if gemm else shape}] y) {{ {head} c = {operator} y = Mul(c, l) }}"
    weights = RNG.normal(size=(5, 144) if gemm else W.shape) * weight_gain / 12
    bias = RNG.normal(size=len(weights)) * weight_gain * input_gain
    constants = {"k": [input_gain], "w": weights, "b": bias, "l": [1 / weight_gain / input_gain]}
    model = graph(text, **{n: np.float32(v) for n, v in constants.items()})
    islands = find_islands(model, measured(model, X), "swap")
    made = half_graph(model, islands)
    assert islands.scales.keys() == ({"c"} if (weight_gain, input_gain) != (1, 1) else set())
    assert "c" not in islands.full
    product = next(n for n in made.graph.node if n.op_type in ("Conv", "Gemm"))
    assert element_types(inferred(made))[product.input[0]] == 10
    wanted, found = run(model, X), run(rounding_graph(made), X)
    assert max(float(abs(a - b).max() / abs(a).max()) for a, b in zip(wanted, found, strict=True)) < 3e-3


def small_results(*, scale: float = 1.0) -> tuple[ModelProto, Rows]:
    """A convolution with a large weight for a channel that is always dark, so that its results are small."""
    weights = np.float32([1e3, 1e-6]).reshape(1, 2, 1, 1) * np.float32(scale)
    model = graph("g (float[N,2,6,6] x) => (float[N,1,6,6] y) { c = Conv(x, w) y = Neg(c) }", w=weights)
    pictures = RNG.uniform(0.5, 1, (3, 1, 2, 6, 6)).astype(np.float32)
    pictures[:, :, 0] = 0
    return model, [{"x": picture} for picture in pictures]


def test_a_weight_that_the_clip_does_not_use_is_not_cut() -> None:
    """Small results were scaled up by the weights alone, up to 6.5e7, of which FP16 holds 65,504."""
    model, rows = small_results()
    made = half_graph(model, find_islands(model, measured(model, rows), "swap"))
    brighter = [{"x": row["x"] + np.float32([5e-9, 0]).reshape(1, 2, 1, 1)} for row in rows]
    wanted, found = run(model, brighter), run(rounding_graph(made), brighter)
    assert max(float(abs(a / b - 1).max()) for a, b in zip(found, wanted, strict=True)) < 3e-3


@pytest.mark.parametrize("gain", [1e-4, 1e-30, 1e-38])
def test_nothing_is_scaled_beyond_what_numbers_can_hold(gain: float) -> None:
    model, rows = small_results(scale=gain)
    rows = [{"x": row["x"] * np.float32(gain)} for row in rows]
    made = half_graph(model, find_islands(model, measured(model, rows), "swap"))
    for tensor in made.graph.initializer:
        assert np.isfinite(numpy_helper.to_array(tensor)).all()
    assert all(np.isfinite(values).all() for values in run(rounding_graph(made), rows))


def test_weights_of_zero_leave_the_bias() -> None:
    text = "g (float[N,4,6,6] x) => (float[N,1,6,6] y) { c = Conv(x, w, b) y = Mul(c, k) }"
    model = graph(text, w=np.zeros((1, 4, 1, 1), np.float32), b=np.float32([1e7]), k=np.float32([1e-7]))
    made = half_graph(model, find_islands(model, measured(model, X), "swap"))
    np.testing.assert_allclose(run(rounding_graph(made), X[:1])[0], 1, rtol=1e-3)


@pytest.mark.parametrize(("gain", "stays"), [(1, False), (1e6, True)])
def test_what_is_computed_and_added_is_not_scaled_along(gain: float, stays: bool) -> None:
    text = """g (float[N,4,6,6] x) => (float[N,5] y) { f = Flatten(x) a = Gemm<transB = 1>(f, w) b = Relu(a)
        c = Gemm<transB = 1>(f, v, b) y = Mul(c, k) }"""
    w, v = (np.float32(RNG.normal(size=(5, 144)) / 12) for _ in range(2))
    model = graph(text, w=w * np.float32(gain), v=v * np.float32(gain), k=np.float32([1 / gain]))
    islands = find_islands(model, measured(model, X), "swap")
    assert ("c" in islands.full) == stays
    wanted, found = run(model, X), run(rounding_graph(half_graph(model, islands)), X)
    assert max(float(abs(a - b).max() / abs(a).max()) for a, b in zip(wanted, found, strict=True)) < 3e-3


def test_constants_that_do_not_fit_are_refused_not_cut() -> None:
    model = graph("g (float[N,2] x) => (float[N,2] y) { a = Mul(x, k) y = Relu(a) }", k=np.float32([65520, -1e9]))
    with pytest.raises(CalibrationError, match=r"k/half reaches 1e\+09, FP16 holds no more than 65504"):
        half_graph(model, Islands({}, {}))
    fits = graph("g (float[N,2] x) => (float[N,2] y) { y = Max(x, k) }", k=np.float32([65519, -np.inf]))
    (tensor,) = half_graph(fits, Islands({}, {})).graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), np.float16([65504, -np.inf]))


def test_scales_are_exact() -> None:
    """Powers of two change no bit: the levels of the weights are the same."""
    weights = np.float32(RNG.normal(size=(4, 4, 1, 1)))
    model = graph("g (float[N,4,6,6] x) => (float[N,4,6,6] y) { c = Conv(x, w) y = Relu(c) }", w=weights)
    made = half_graph(model, Islands({}, {"c": Scale(0, -7)}))
    (plain,), (scaled,) = (run(rounding_graph(m), X[:1]) for m in (half_graph(model, Islands({}, {})), made))
    np.testing.assert_array_equal(plain, scaled.astype(np.float16).astype(np.float32))
