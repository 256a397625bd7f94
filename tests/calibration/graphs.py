"""Small graphs in ONNX's text form, and running them."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper, shape_inference

from trtswap.calibration.ranges import extents
from trtswap.calibration.table import TensorRange

Rows = Sequence[Mapping[str, NDArray[Any]]]


def graph(text: str, **constants: NDArray[Any]) -> ModelProto:
    """A graph of opset 19 with the given initializers and inferred types."""
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 19]> {text}')
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return inferred(model)


def inferred(model: ModelProto) -> ModelProto:
    """With the types and shapes of its tensors."""
    return shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def run(model: ModelProto, rows: Rows) -> list[NDArray[Any]]:
    """The first output for each row."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [session.run(None, dict(row))[0] for row in rows]


def measured(model: ModelProto, rows: Rows) -> dict[str, TensorRange]:
    return {n: TensorRange(low, high, 0.0) for n, (low, high) in extents(model, rows, threads=1).items()}
