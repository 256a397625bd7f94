"""Tiny graphs that every backend must run alike."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

HEADER = '<ir_version: 9, opset_import: ["" : 19]>'

GRAPHS = {
    # Two inputs, three outputs of different types, four dynamic dimensions.
    "mix": """
        mix (float[N,3,H,W] faces, float[N,D] latents)
            => (float[N,3,H,W] mixed, float[N] score, uint8[N,H,W] labels)
        {
            axes = Constant <value_ints = [1]> ()
            factor = ReduceMean <keepdims = 1> (latents, axes)
            space = Constant <value_ints = [2, 3]> ()
            wide = Unsqueeze (factor, space)
            mixed = Mul (faces, wide)
            score = ReduceMax <keepdims = 0> (latents, axes)
            best = ArgMax <axis = 1, keepdims = 0> (faces)
            labels = Cast <to = 2> (best)
        }""",
    # The smallest valid swap graph; the second input is not used.
    "identity": """
        identity (float[N,3,8,8] faces, float[N,4] latents) => (float[N,3,8,8] swapped)
        { swapped = Identity (faces) }""",
    # Shapes are computed in the graph, and no name says how long the output is.
    "rows": """
        rows (float[N,3,H,W] images) => (float[N,P] flat, float[Q] ramp)
        {
            shape = Shape (images)
            zero = Constant <value_ints = [0]> ()
            batch = Gather (shape, zero)
            rest = Constant <value_ints = [-1]> ()
            wanted = Concat <axis = 0> (batch, rest)
            flat = Reshape (images, wanted)
            three = Constant <value_int = 3> ()
            width = Gather (shape, three)
            start = Constant <value_int = 0> ()
            step = Constant <value_int = 1> ()
            whole = Range (start, width, step)
            floats = Cast <to = 1> (whole)
            scale = Cast <to = 1> (width)
            ramp = Div (floats, scale)
        }""",
    # Convolutions with adaptive instance normalisation, as swap networks have them; weights from `weights`.
    "adain": """
        adain (float[N,3,16,16] faces, float[N,6] latents) => (float[N,3,16,16] swapped)
        {
            around = Constant <value_ints = [0, 0, 1, 1, 0, 0, 1, 1]> ()
            padded = Pad <mode = "reflect"> (faces, around)
            features = Conv <strides = [2, 2]> (padded, w1, b1)
            plain = InstanceNormalization <epsilon = 0.00001> (features, ones, zeros)
            style = Gemm <transB = 1> (latents, w2, b2)
            space = Constant <value_ints = [2, 3]> ()
            wide = Unsqueeze (style, space)
            gain, shift = Split <axis = 1, num_outputs = 2> (wide)
            gained = Mul (plain, gain)
            styled = Add (gained, shift)
            active = PRelu (styled, slope)
            scales = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> ()
            large = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (active, , scales)
            picture = Conv <pads = [1, 1, 1, 1]> (large, w3, b3)
            swapped = Sigmoid (picture)
        }""",
}

WEIGHTS = {
    "w1": (8, 3, 3, 3), "b1": (8,), "w2": (16, 6), "b2": (16,), "slope": (8, 1, 1), "w3": (3, 8, 3, 3), "b3": (3,),
}  # fmt: skip


def build(name: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(HEADER + GRAPHS[name])
    if name == "adain":
        random = np.random.default_rng(3)
        arrays = {key: random.standard_normal(shape).astype(np.float32) / 3 for key, shape in WEIGHTS.items()}
        arrays |= {"ones": np.ones(8, np.float32), "zeros": np.zeros(8, np.float32)}
        model.graph.initializer.extend(numpy_helper.from_array(a, key) for key, a in arrays.items())
    onnx.checker.check_model(model)
    return model


@pytest.fixture
def graph(tmp_path: Path) -> Callable[[str], Path]:
    """Writes one of ``GRAPHS`` to a file."""

    def write(name: str) -> Path:
        path = tmp_path / f"{name}.onnx"
        onnx.save(build(name), path)
        return path

    return write
