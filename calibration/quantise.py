"""An FP32 graph as a graph with explicit 8-bit quantisation: pairs of QuantizeLinear and DequantizeLinear.

Symmetric, so every zero point is 0, which TensorRT wants; weights have one scale per output channel, other tensors one
scale each, from the largest absolute value on the faces of the clip. ONNX Runtime and TensorRT fuse the pairs into
integer kernels. For ONNX Runtime a convolution and the activation behind it become integer kernels only when both their
inputs and their outputs are quantised: with pairs at the inputs alone the convolutions of a narrow network ran in FP32
and 1.6 times slower than without any, with pairs on both sides 2.6 times faster (ONNX Runtime 1.32, one core, VNNI).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from trtswap.calibration.islands import FloatGraph, find_islands
from trtswap.calibration.prepared import rebuilt
from trtswap.calibration.table import TensorRange
from trtswap.model.stages import STAGES

LEVELS = 127
"""-127 to 127: the same number of levels on both sides of zero."""

_WEIGHTED = frozenset(("Conv", "Gemm"))
_ACTIVATIONS = frozenset(("Relu", "LeakyRelu"))


def quantised_graph(model: ModelProto, ranges: Mapping[str, TensorRange], stage: str) -> ModelProto:
    """Convert a prepared graph; inputs and outputs keep names and types.

    Args:
        model: a prepared graph.
        ranges: of its tensors.
        stage: what the graph is for.

    Raises:
        CalibrationError: the table lacks a tensor of the graph.
    """
    if not STAGES[stage].eight_bits:
        return model
    return _Quantisation(model, ranges, stage).run()


class _Quantisation:
    def __init__(self, model: ModelProto, ranges: Mapping[str, TensorRange], stage: str) -> None:
        self.model = model
        self.graph = FloatGraph(model, ranges)
        self.ranges = ranges
        self.outputs = {v.name for v in model.graph.output}
        self.chosen = self._choose(find_islands(model, ranges, stage).full)
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.done: set[str] = set()

    def run(self) -> ModelProto:
        made_by_chosen = {t for n in self.model.graph.node if n.output[0] in self.chosen for t in n.output}
        for node in self.model.graph.node:
            made = NodeProto()
            made.CopyFrom(node)
            chosen = node.output[0] in self.chosen
            for i, tensor in enumerate(node.input):
                if tensor in self.graph.constants:
                    made.input[i] = (
                        self._weights(node, i) if chosen and node.op_type in _WEIGHTED else self._as_is(tensor)
                    )
                elif tensor in made_by_chosen or (chosen and self.graph.is_float(tensor)):
                    made.input[i] = self._pair(tensor)
            self.nodes.append(made)
        return rebuilt(self.model, self.nodes, self.constants.values())

    def _choose(self, full: Mapping[str, str]) -> set[str]:
        """Convolutions and the activations behind them, by their first output.

        Enlarging, averaging and adding on 8 bits, too, made a narrow GFPGAN slower, not faster (1.2 times FP32's speed
        instead of 1.4). Not the ones that make the graph's own outputs, and not those of three channels: they are
        little work, and what they give is what is seen.
        """
        chosen = set[str]()
        for node in self.graph.nodes:
            name, kind = node.output[0], node.op_type
            if name in full or name in self.outputs or not self._measured(node):
                continue
            if (kind in _WEIGHTED and self.graph.is_linear(node) and self._is_wide(node)) or (
                kind in _ACTIVATIONS and node.input[0] in chosen
            ):
                chosen.add(name)
        return chosen

    def _measured(self, node: NodeProto) -> bool:
        """No tensor is always zero."""
        floats = [t for t in (*node.input, *node.output) if self.graph.is_float(t) and t not in self.graph.constants]
        return all(self.ranges[t].absmax > 0 for t in floats if t in self.ranges)

    def _is_wide(self, node: NodeProto) -> bool:
        outputs, inputs = self.graph.constants[node.input[1]].dims[:2]
        return int(min(outputs, inputs)) > 3

    def _pair(self, tensor: str) -> str:
        """The name of a tensor after quantisation and back."""
        name = f"{tensor}/dequantised"
        if tensor not in self.done:
            self.done.add(tensor)
            scale = self._constant(f"{tensor}/scale", np.array(self.ranges[tensor].absmax / LEVELS, np.float32))
            zero = self._constant(f"{tensor}/zero", np.array(0, np.int8))
            self.nodes.append(
                helper.make_node("QuantizeLinear", [tensor, scale, zero], [f"{tensor}/levels"], f"{tensor}/Quantize")
            )
            self.nodes.append(
                helper.make_node("DequantizeLinear", [f"{tensor}/levels", scale, zero], [name], f"{tensor}/Dequantize")
            )
        return name

    def _weights(self, node: NodeProto, position: int) -> str:
        """Weights as levels and one scale for each output channel; a bias as it is, which runtimes quantise along."""
        tensor = node.input[position]
        if position != 1:
            return self._as_is(tensor)
        name = f"{tensor}/dequantised"
        if name not in self.done:
            self.done.add(name)
            axis = 0 if node.op_type == "Conv" or _is_turned(node) else 1
            levels, scales = per_channel(numpy_helper.to_array(self.graph.constants[tensor]), axis)
            inputs = [
                self._constant(f"{tensor}/levels", levels),
                self._constant(f"{tensor}/scales", scales),
                self._constant(f"{tensor}/zeros", np.zeros(len(scales), np.int8)),
            ]
            self.nodes.append(helper.make_node("DequantizeLinear", inputs, [name], f"{tensor}/Dequantize", axis=axis))
        return name

    def _as_is(self, tensor: str) -> str:
        self.constants[tensor] = self.graph.constants[tensor]
        return tensor

    def _constant(self, name: str, values: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> str:
        self.constants[name] = numpy_helper.from_array(values, name)
        return name


def _is_turned(node: NodeProto) -> bool:
    return any(a.name == "transB" and a.i for a in node.attribute)


def per_channel(
    weights: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]", axis: int
) -> "tuple[np.ndarray[tuple[int, ...], np.dtype[np.int8]], np.ndarray[tuple[int, ...], np.dtype[np.float32]]]":
    """Weights as int8 levels and one float32 scale per position along an axis: weights = levels * scale.

    A channel of zeros gets the scale 1.
    """
    others: Sequence[int] = [i for i in range(weights.ndim) if i != axis]
    largest = np.abs(weights).max(tuple(others))
    scales = np.where(largest > 0, largest / LEVELS, 1.0).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(weights.ndim)]
    return np.round(weights / scales.reshape(shape)).astype(np.int8), scales
