"""An FP32 graph as an FP16 graph with FP32 islands: strongly typed, each tensor says what it is.

Why not ModelOpt's AutoCast (0.47), which does this too: it knows no structural rules, so that it left instance norms
and demodulation in FP16, with epsilons of 1e-8 rounded up to 6e-8; it keeps a convolution whose range does not fit in
FP32, where scaling keeps its arithmetic in FP16; and it wants half a dozen packages for what takes 150 lines here.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from trtswap.calibration.islands import LARGEST, Islands, Scale
from trtswap.calibration.prepared import rebuilt
from trtswap.errors import CalibrationError
from trtswap.export.arithmetic import element_types

FULL, HALF = int(TensorProto.FLOAT), int(TensorProto.FLOAT16)
_DTYPES: Mapping[int, Any] = {FULL: np.float32, HALF: np.float16}
_ALWAYS_FULL: Mapping[str, tuple[int, ...]] = {"Resize": (1, 2)}
"""Inputs that ONNX wants in FP32 whatever the data is: region of interest and scales."""


def half_graph(model: ModelProto, islands: Islands) -> ModelProto:
    """Convert a prepared graph. Inputs and outputs keep their types and names, and so do all tensors that stay.

    Args:
        model: a prepared graph.
        islands: what stays in FP32, and what is scaled.

    Raises:
        CalibrationError: a constant would become FP16 and does not fit into it.
    """
    return _Conversion(model, islands).run()


class _Conversion:
    """Walks through a graph and writes each node in its precision, with casts where two precisions meet."""

    def __init__(self, model: ModelProto, islands: Islands) -> None:
        self.model, self.islands = model, islands
        self.types = element_types(model)
        self.arrays = {t.name: t for t in model.graph.initializer}
        values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
        self.ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in values}
        self.outputs = {v.name for v in model.graph.output}
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.versions: dict[str, dict[int, str]] = {
            v.name: {FULL: v.name} for v in model.graph.input if self._is_float(v.name)
        }

    def run(self) -> ModelProto:
        for node in self.model.graph.node:
            scale = self.islands.scales.get(node.output[0])
            if scale is not None:
                self._scaled(node, scale)
            else:
                self._plain(node)
        for name in self.outputs:
            if self._is_float(name) and FULL not in self.versions[name]:
                self._cast(self.versions[name][HALF], FULL, name)
        return rebuilt(self.model, self.nodes, self.constants.values())

    def _plain(self, node: NodeProto) -> None:
        kind = FULL if node.output[0] in self.islands.full else HALF
        if kind == FULL and node.op_type == "MatMul" and self._is_flat(node):
            self._multiplied_and_summed(node)
            return
        made = NodeProto()
        made.CopyFrom(node)
        for i, tensor in enumerate(node.input):
            always = i in _ALWAYS_FULL.get(node.op_type, ())
            made.input[i] = self._get(tensor, FULL if always else kind)
        for i, tensor in enumerate(node.output):
            if self._is_float(tensor):
                made.output[i] = self._give(tensor, kind)
        for attribute in made.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FULL:
                attribute.i = kind
        self.nodes.append(made)

    def _is_flat(self, node: NodeProto) -> bool:
        """Rows [N, K] times constant weights [K, M]."""
        weights = self.arrays.get(node.input[1])
        return weights is not None and len(weights.dims) == 2 and self.ranks.get(node.input[0]) == 2

    def _multiplied_and_summed(self, node: NodeProto) -> None:
        """An FP32 product without a matrix product, which TensorRT for RTX has not in FP32 for GPUs of Turing.

        It is a small one, of GFPGAN's demodulation: all others are in FP16.
        """
        name, (x, weights) = node.output[0], node.input
        column, axis = f"{name}/column", self._whole(2)
        self.nodes += [
            helper.make_node("Unsqueeze", [self._get(x, FULL), axis], [column], column),
            helper.make_node("Mul", [column, self._get(weights, FULL)], [f"{name}/products"], f"{name}/products"),
            helper.make_node(
                "ReduceSum", [f"{name}/products", self._whole(1)], [self._give(name, FULL)], node.name, keepdims=0
            ),
        ]

    def _whole(self, value: int) -> str:
        name = f"whole/{value}"
        self.constants[name] = numpy_helper.from_array(np.array([value], np.int64), name)
        return name

    def _scaled(self, node: NodeProto, scale: Scale) -> None:
        """A convolution or product of scaled operands in FP16, and its result scaled back in FP32."""
        x, weight, *bias = node.input
        name = node.output[0]
        made = NodeProto()
        made.CopyFrom(node)
        made.input[0] = self._get(x, HALF) if not scale.input else self._scaled_input(x, scale.input)
        made.input[1] = self._constant(weight, HALF, scale.weight)
        if bias and bias[0]:
            constant = bias[0] in self.arrays
            made.input[2] = self._constant(bias[0], HALF, scale.output) if constant else self._get(bias[0], HALF)
        if not scale.output:
            made.output[0] = self._give(name, HALF)
            self.nodes.append(made)
            return
        made.output[0] = f"{name}/scaled"
        self.nodes.append(made)
        self._cast(made.output[0], FULL, f"{name}/scaled/full")
        factor = self._number(2.0**-scale.output)
        self.nodes.append(helper.make_node("Mul", [f"{name}/scaled/full", factor], [name], f"{name}/rescale"))
        self.versions[name] = {FULL: name}

    def _scaled_input(self, x: str, exponent: int) -> str:
        name = f"{x}/times/2^{exponent}"
        if name not in self.versions:
            product = f"{name}/full"
            self.nodes.append(
                helper.make_node("Mul", [self._get(x, FULL), self._number(2.0**exponent)], [product], product)
            )
            self._cast(product, HALF, name)
            self.versions[name] = {HALF: name}
        return name

    def _is_float(self, tensor: str) -> bool:
        return self.types.get(tensor) == FULL

    def _get(self, tensor: str, kind: int) -> str:
        """The name of a tensor in a precision; cast where it is not there yet."""
        if not self._is_float(tensor):
            if tensor in self.arrays:
                self.constants[tensor] = self.arrays[tensor]
            return tensor
        if tensor in self.arrays:
            return self._constant(tensor, kind, 0)
        if kind not in self.versions[tensor]:
            (source,) = self.versions[tensor].values()
            # A graph's output has its name in FP32.
            name = (
                tensor if kind == FULL and tensor in self.outputs else f"{tensor}/{'full' if kind == FULL else 'half'}"
            )
            self.versions[tensor][kind] = name
            self._cast(source, kind, name)
        return self.versions[tensor][kind]

    def _give(self, tensor: str, kind: int) -> str:
        name = f"{tensor}/half" if kind == HALF and tensor in self.outputs else tensor
        self.versions[tensor] = {kind: name}
        return name

    def _cast(self, source: str, kind: int, name: str) -> None:
        self.nodes.append(helper.make_node("Cast", [source], [name], f"{name}/Cast", to=kind))

    def _constant(self, tensor: str, kind: int, exponent: int) -> str:
        """An initializer in a precision, multiplied by a power of two; the same one is written once."""
        if kind == FULL and not exponent:
            self.constants[tensor] = self.arrays[tensor]
            return tensor
        name = f"{tensor}/half" + (f"/times/2^{exponent}" if exponent else "")
        if name not in self.constants:
            values = numpy_helper.to_array(self.arrays[tensor]).astype(np.float64) * 2.0**exponent
            self.constants[name] = numpy_helper.from_array(_rounded(values, kind, name), name)
        return name

    def _number(self, value: float) -> str:
        name = f"number/{value!r}"
        self.constants[name] = numpy_helper.from_array(np.array(value, np.float32), name)
        return name


def _rounded(values: NDArray[Any], kind: int, name: str) -> NDArray[Any]:
    """To nearest; infinities stay.

    Raises:
        CalibrationError: a finite number is too large.
    """
    with np.errstate(over="ignore"):
        rounded = values.astype(_DTYPES[kind])
    if (np.isfinite(values) & ~np.isfinite(rounded)).any():
        largest = float(np.abs(values[np.isfinite(values)]).max())
        raise CalibrationError(
            f"{name} reaches {largest:.4g}, FP16 holds no more than {LARGEST:g}: the node that takes it has to stay in "
            "FP32 or be scaled."
        )
    return rounded
