"""FP16 arithmetic in FP32 kernels, against NumPy's and PyTorch's own half precision."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from trtswap.backends import open_engine
from trtswap.calibration.rounding import rounding_graph

from .graphs import graph, run

RNG = np.random.default_rng(0)
BLOCK = """g (float[N,8,9,9] x) => (float[N,8,9,9] y) {
    h = Cast<to = 10>(x) a = Conv<pads = [1, 1, 1, 1]>(h, w, b) r = LeakyRelu<alpha = 0.2>(a)
    s = Mul(r, k) t = Add(s, h) e = Tanh(t) y = Cast<to = 1>(e) }"""


def block(gain: float) -> onnx.ModelProto:
    weights = RNG.normal(size=(8, 8, 3, 3)) * gain
    return graph(BLOCK, w=np.float16(weights), b=np.float16(RNG.normal(size=8)), k=np.float16([0.3]))


def test_each_result_is_rounded() -> None:
    text = "g (float[N] x) => (float[N] y) { h = Cast<to = 10>(x) p = Mul(h, k) q = Mul(p, l) y = Cast<to = 1>(q) }"
    model = graph(text, k=np.float16([1000]), l=np.float16([0.001]))
    x = np.float32([0.1234567, 3.3, 65.0, 66.0, 1e-7])
    with np.errstate(over="ignore"):
        wanted = (x.astype(np.float16) * np.float16(1000)) * np.float16(0.001)
    (found,) = run(rounding_graph(model), [{"x": x}])
    np.testing.assert_array_equal(found, wanted.astype(np.float32))
    assert np.isinf(found[3])
    # What this file is for: ONNX Runtime left to itself does not overflow. Should that change, it is needed no more.
    assert np.isfinite(run(model, [{"x": x}])[0]).all()


@pytest.mark.parametrize("gain", [0.2, 3.0])
def test_a_block_is_what_pytorch_makes_of_it(gain: float, tmp_path: Path) -> None:
    model = block(gain)
    onnx.save(model, tmp_path / "block.onnx")
    x = RNG.normal(size=(2, 8, 9, 9)).astype(np.float32)
    (found,) = run(rounding_graph(model), [{"x": x}])
    with open_engine(tmp_path / "block.onnx", backend="torch", device="cpu") as engine:
        wanted = engine(x=torch.from_numpy(x))["y"].numpy()
    np.testing.assert_allclose(found, wanted, atol=2e-3)  # a sum of 72 products may round otherwise, in its last bit
    assert np.array_equal(found, found.astype(np.float16).astype(np.float32))


def test_a_graph_without_fp16_stays() -> None:
    model = graph("g (float[N,3] x) => (float[N,3] y) { y = Mul(x, k) }", k=np.float32([1.00001]))
    x = RNG.normal(size=(2, 3)).astype(np.float32)
    np.testing.assert_array_equal(run(rounding_graph(model), [{"x": x}])[0], run(model, [{"x": x}])[0])
