"""Explicit 8-bit quantisation."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto, numpy_helper

from trtswap.calibration.quantise import LEVELS, per_channel, quantised_graph
from trtswap.export.rules import violations

from .graphs import graph, measured, run

RNG = np.random.default_rng(0)
X = [{"x": RNG.normal(size=(1, 8, 12, 12)).astype(np.float32)} for _ in range(3)]
TEXT = """g (float[N,8,12,12] x) => (float[N,8,12,12] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w, b) r = LeakyRelu<alpha = 0.2>(a) s = Conv<pads = [1, 1, 1, 1]>(r, w, b)
    t = Add(s, x) y = Relu(t) }"""


@pytest.fixture
def model() -> ModelProto:
    return graph(TEXT, w=np.float32(RNG.normal(size=(8, 8, 3, 3)) / 8), b=np.float32(RNG.normal(size=8) / 8))


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_have_a_scale_for_each_channel_and_differ_by_half_a_step(axis: int) -> None:
    weights = np.float32(RNG.normal(size=(5, 6, 3, 3)) * 10.0 ** RNG.integers(-4, 4, (5, 6, 1, 1)))
    weights[2, 2] = 0
    weights[:, 3] = 0
    weights[4] = 0
    levels, scales = per_channel(weights, axis)
    wide = np.moveaxis(weights, axis, 0)
    assert levels.dtype == np.int8
    assert np.abs(levels.astype(int)).max() == LEVELS
    for channel, found, scale in zip(wide, np.moveaxis(levels, axis, 0), scales, strict=True):
        assert np.abs(channel - found * scale).max() <= scale / 2 * 1.001
        assert np.abs(found.astype(int)).max() == (LEVELS if channel.any() else 0)


def test_what_comes_out_is_what_fake_quantisation_in_pytorch_gives(model: ModelProto) -> None:
    ranges = measured(model, X)
    made = quantised_graph(model, ranges, "swap")
    weights, bias = (torch.from_numpy(numpy_helper.to_array(t).copy()) for t in model.graph.initializer)
    scales = weights.abs().amax((1, 2, 3)) / LEVELS
    weights = torch.fake_quantize_per_channel_affine(weights, scales, torch.zeros(8, dtype=torch.int32), 0, -127, 127)

    def rounded(x: torch.Tensor, name: str) -> torch.Tensor:
        return torch.fake_quantize_per_tensor_affine(x, ranges[name].absmax / LEVELS, 0, -128, 127)

    for row, found in zip(X, run(made, X), strict=True):
        x = torch.from_numpy(row["x"])
        a = rounded(torch.conv2d(rounded(x, "x"), weights, bias, padding=1), "a")
        r = rounded(torch.nn.functional.leaky_relu(a, 0.2), "r")
        s = rounded(torch.conv2d(r, weights, bias, padding=1), "s")
        wanted = torch.relu(s + x).numpy()
        level, apart = ranges["s"].absmax / LEVELS, np.abs(found - wanted)
        if "vnni" not in Path("/proc/cpuinfo").read_text():
            # ONNX Runtime then adds products of 8 bits in pairs of 16, which saturate: such packs are for CPUs with it.
            assert np.median(apart) <= level
            continue
        # The bias is quantised too where kernels fuse; a level may tip over, and then the next convolution's.
        assert apart.max() < 3 * level
        assert apart.mean() < 0.2 * level


def test_onnxruntime_runs_it_on_integers(model: ModelProto, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    made = quantised_graph(model, measured(model, X), "swap")
    onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = [n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == 2
    assert "Conv" not in kinds
    assert "QLinearLeakyRelu" in kinds


def test_zero_points_are_zero_and_the_parser_takes_the_graph(model: ModelProto) -> None:
    made = quantised_graph(model, measured(model, X), "swap")
    assert list(violations(made)) == []
    zeros = {n.input[2] for n in made.graph.node if "QuantizeLinear" in n.op_type or "DequantizeLinear" in n.op_type}
    values = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    assert zeros
    assert all(values[name].dtype == np.int8 and not values[name].any() for name in zeros)


def test_detectors_identities_and_labels_stay_as_they_are(model: ModelProto) -> None:
    for stage in ("detect", "identify", "parse"):
        assert quantised_graph(model, measured(model, X), stage) == model
