"""Ranges against NumPy."""

import numpy as np
import pytest

from trtswap.calibration import ranges
from trtswap.calibration.ranges import extents
from trtswap.errors import CalibrationError

from .graphs import graph

TEXT = "g (float[N,3] x) => (float[N,3] y, int64[N] best) {{ a = {0}(x) b = Mul(a, k) y = Add(b, x) best = ArgMax(y) }}"
ROWS = [{"x": np.random.default_rng(i).normal(size=(1, 3)).astype(np.float32)} for i in range(4)]


@pytest.mark.parametrize("tensors_at_once", [1, 3, 100])
def test_every_float_tensor_has_its_smallest_and_largest_value(
    tensors_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "SLICE", tensors_at_once)
    model = graph(TEXT.format("Abs").replace("ArgMax(y)", "ArgMax<axis = 1, keepdims = 0>(y)"), k=np.float32([3]))
    found = extents(model, ROWS, threads=1)
    x = np.concatenate([row["x"] for row in ROWS])
    wanted = {"x": x, "a": abs(x), "b": 3 * abs(x), "y": 3 * abs(x) + x}
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name] == pytest.approx((values.min(), values.max()), rel=1e-6)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_numbers_that_are_not_finite_are_named(value: float) -> None:
    model = graph("g (float[N,3] x) => (float[N,3] y) { middle = Mul(x, k) y = Relu(middle) }", k=np.float32([value]))
    with pytest.raises(CalibrationError, match=r"tensor middle ranges from .*expected finite numbers"):
        extents(model, [{"x": np.ones((1, 3), np.float32)}])
