"""Networks out of TensorFlow Lite files, read with the packages ``tflite`` and ``flatbuffers`` and run by PyTorch.

The operators are those of MediaPipe's networks for faces and hands. Sizes in such a file are fixed; here the batch is
dynamic. Weights in float16 become float32, which is what LiteRT does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from trtswap.errors import CheckpointError

SAME, RELU6 = 0, 3  # enums Padding and ActivationFunctionType of schema.fbs
DTYPES: Mapping[int, type[np.generic]] = {0: np.float32, 1: np.float16, 2: np.int32, 4: np.int64}
# What is read of each kind's options: its table, and the fields.
_OPTIONS = {
    "CONV_2D": ("Conv2DOptions", ("Padding", "StrideH", "FusedActivationFunction")),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", ("Padding", "StrideH", "FusedActivationFunction")),
    "MAX_POOL_2D": ("Pool2DOptions", ("StrideH", "FilterHeight")),
    "CONCATENATION": ("ConcatenationOptions", ("Axis",)),
}
REMEDY = 'pip install "trtswap[export]"'


@dataclass(frozen=True)
class Operator:
    """One step.

    Attributes:
        kind: as in ``schema.fbs``, such as ``CONV_2D``; an operator of MediaPipe's own by its name.
        inputs, outputs: indices of tensors.
        options: what the kind needs to be told.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class FlatGraph:
    """What stands in a file.

    Attributes:
        operators: in the order of the work.
        shapes: of every tensor, with a batch of 1; four dimensions are NHWC.
        constants: values by index of the tensor.
        inputs, outputs: indices of tensors.
    """

    operators: tuple[Operator, ...]
    shapes: tuple[tuple[int, ...], ...]
    constants: Mapping[int, NDArray[Any]]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_tflite(file: Path) -> FlatGraph:
    """Read a file of one graph.

    Raises:
        CheckpointError: it is none, or the packages that read it are not installed.
    """
    try:
        import tflite  # noqa: PLC0415 - part of the export extra
    except ImportError as e:
        raise CheckpointError(f"{file} is read with tflite and flatbuffers, which are not installed: {REMEDY}.") from e
    data = file.read_bytes()
    if data[4:8] != b"TFL3":
        raise CheckpointError(
            f"{file} is no TensorFlow Lite file: its bytes 4 to 8 are {data[4:8]!r}, expected b'TFL3'."
        )
    model: Any = tflite.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    tensors = [graph.Tensors(i) for i in range(graph.TensorsLength())]
    constants = {i: value for i, t in enumerate(tensors) if (value := _constant(model, t)) is not None}
    return FlatGraph(
        operators=tuple(_operator(model, graph.Operators(i)) for i in range(graph.OperatorsLength())),
        shapes=tuple(tuple(map(int, t.ShapeAsNumpy())) if t.ShapeLength() else () for t in tensors),
        constants=constants,
        inputs=tuple(map(int, graph.InputsAsNumpy())),
        outputs=tuple(map(int, graph.OutputsAsNumpy())),
    )


def _constant(model: Any, tensor: Any) -> NDArray[Any] | None:
    buffer = model.Buffers(tensor.Buffer())
    if not buffer.DataLength():
        return None
    shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
    value: NDArray[Any] = np.frombuffer(buffer.DataAsNumpy().tobytes(), DTYPES[tensor.Type()]).reshape(shape)
    return value


def _operator(model: Any, found: Any) -> Operator:
    import tflite  # noqa: PLC0415 - as above
    from flatbuffers import flexbuffers  # noqa: PLC0415 - as above

    code = model.OperatorCodes(found.OpcodeIndex())
    kind = tflite.opcode2name(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
    options: dict[str, Any] = {}
    if kind == "CUSTOM":
        kind = code.CustomCode().decode()
        if found.CustomOptionsLength():
            options = flexbuffers.Loads(found.CustomOptionsAsNumpy().tobytes())
    elif kind in _OPTIONS:
        table, fields = _OPTIONS[kind]
        read = getattr(tflite, table)()
        read.Init(found.BuiltinOptions().Bytes, found.BuiltinOptions().Pos)
        options = {name: getattr(read, name)() for name in fields}
    inputs, outputs = found.InputsAsNumpy(), found.OutputsAsNumpy()
    return Operator(kind, tuple(map(int, inputs)), tuple(map(int, outputs)), options)


Custom = Callable[[Mapping[str, Any], Sequence[Tensor]], Tensor]


class FlatNetwork(nn.Module):
    """A file's network.

    Tensors of four dimensions are NCHW here. Weights are parameters by the index that they have in the file, ``w12``.

    Args:
        graph: what the file says.
        custom: operators of MediaPipe's own, by name: options and inputs -> the output.

    Raises:
        CheckpointError: an operator is none of those that are known here.
    """

    def __init__(self, graph: FlatGraph, custom: Mapping[str, Custom]) -> None:
        super().__init__()
        self._graph, self._custom = graph, custom
        self._copies: dict[int, int] = {}  # float16 weights and what LiteRT makes of them
        self._steps: list[tuple[Operator, Callable[..., Tensor]]] = []
        for operator in graph.operators:
            if operator.kind == "DEQUANTIZE" and operator.inputs[0] in graph.constants:
                self._copies[operator.outputs[0]] = operator.inputs[0]
                continue
            made = self._step(operator)
            if made is None:
                raise CheckpointError(f"operator {operator.kind} of TensorFlow Lite is not known here.")
            self._steps.append((operator, made))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the file's order, for inputs in the file's order; both NCHW where they have four dimensions."""
        known = dict(zip(self._graph.inputs, inputs, strict=True))
        for operator, step in self._steps:
            known[operator.outputs[0]] = step(*(known[i] for i in operator.inputs if i in known))
        return tuple(known[i] for i in self._graph.outputs)

    def _step(self, operator: Operator) -> Callable[..., Tensor] | None:
        kind, options = operator.kind, operator.options
        if kind in self._custom:
            return lambda *given: self._custom[kind](options, given)
        makers: dict[str, Callable[[Operator], Callable[..., Tensor]]] = {
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._convolution,
            "FULLY_CONNECTED": self._linear,
            "PRELU": self._prelu,
            "MUL": self._product,
            "PAD": self._pad,
            "MAX_POOL_2D": lambda o: lambda x: F.max_pool2d(x, options["FilterHeight"], options["StrideH"]),
            "RESHAPE": self._reshape,
            "RESIZE_BILINEAR": self._resize,
            "CONCATENATION": lambda o: lambda *given: torch.cat(given, dim=options["Axis"]),
            "ADD": lambda o: torch.add,
            "LOGISTIC": lambda o: torch.sigmoid,
            "MEAN": lambda o: lambda x: x.mean((2, 3)),
            "STRIDED_SLICE": lambda o: lambda x: x,  # of everything: MediaPipe's copy of an output
        }
        return makers[kind](operator) if kind in makers else None

    def _weight(self, index: int, *axes: int) -> str:
        """A parameter's name; its axes in another order, if any are given."""
        source = self._copies.get(index, index)
        name = f"w{source}"
        if name not in self._parameters:
            value = torch.from_numpy(self._graph.constants[source].astype(np.float32))
            self.register_parameter(name, nn.Parameter(value.permute(axes) if axes else value, requires_grad=False))
        return name

    def _convolution(self, operator: Operator) -> Callable[..., Tensor]:
        deep = operator.kind == "DEPTHWISE_CONV_2D"
        image, weight, bias = operator.inputs
        axes = (3, 0, 1, 2) if deep else (0, 3, 1, 2)
        kernel, offset = self._weight(weight, *axes), self._weight(bias)
        height, width = self._graph.shapes[image][1:3]
        _, _, tall, wide = getattr(self, kernel).shape
        stride, same = operator.options["StrideH"], operator.options["Padding"] == SAME
        padding = [*_same(width, wide, stride), *_same(height, tall, stride)] if same else [0, 0, 0, 0]
        even = padding[0] == padding[1] == padding[2] == padding[3]
        relu6 = operator.options["FusedActivationFunction"] == RELU6

        def run(x: Tensor) -> Tensor:
            x = x if even else F.pad(x, padding)
            weights = getattr(self, kernel)
            groups = len(weights) if deep else 1
            y = F.conv2d(x, weights, getattr(self, offset), stride, padding[0] if even else 0, groups=groups)
            return F.relu6(y) if relu6 else y

        return run

    def _linear(self, operator: Operator) -> Callable[..., Tensor]:
        _, weight, bias = operator.inputs
        kernel, offset = self._weight(weight), self._weight(bias)
        return lambda x: F.linear(x, getattr(self, kernel), getattr(self, offset))

    def _prelu(self, operator: Operator) -> Callable[..., Tensor]:
        slopes = self._weight(operator.inputs[1])
        return lambda x: F.prelu(x, getattr(self, slopes).flatten())

    def _product(self, operator: Operator) -> Callable[..., Tensor]:
        factor = self._weight(operator.inputs[1])
        return lambda x: x * getattr(self, factor)

    def _pad(self, operator: Operator) -> Callable[..., Tensor]:
        """Channels of zeros behind the others."""
        pads = self._graph.constants[operator.inputs[1]].tolist()
        if pads[:3] != [[0, 0]] * 3 or pads[3][0]:
            raise CheckpointError(f"PAD of {pads} of TensorFlow Lite is not known here: expected channels at the end.")
        return lambda x: F.pad(x, [0, 0, 0, 0, 0, pads[3][1]])

    def _reshape(self, operator: Operator) -> Callable[..., Tensor]:
        shape = self._graph.shapes[operator.outputs[0]][1:]

        def run(x: Tensor) -> Tensor:
            flat = x.permute(0, 2, 3, 1) if x.dim() == 4 and x.shape[2:] != (1, 1) else x
            return flat.reshape(-1, *shape)

        return run

    def _resize(self, operator: Operator) -> Callable[..., Tensor]:
        """Half-pixel centres, as every network of MediaPipe's here has it."""
        size = self._graph.shapes[operator.outputs[0]][1:3]
        return lambda x: F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _same(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after one axis, TensorFlow's ``SAME``: what is odd goes behind."""
    total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2
