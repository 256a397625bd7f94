"""How much a graph computes: the multiply-adds of its convolutions and matrix products, node by node."""

from collections.abc import Callable, Mapping
from math import prod

import onnx_ir
from onnx import ModelProto, TensorProto
from onnxscript import optimizer

from trtswap.errors import ExportError
from trtswap.model.pack import StageSpec

Shape = tuple[int, ...]


def sizes_of(stage: StageSpec) -> dict[str, int]:
    """Lengths of the dynamic dimensions for one face, or for one square picture of the size that is searched."""
    return {"B": 1, "N": 1, "H": stage.size, "W": stage.size}


def multiply_adds(model: ModelProto, sizes: Mapping[str, int]) -> dict[str, int]:
    """Multiply-adds of each node that multiplies weights or matrices, by the name of its first output.

    Args:
        model: the graph.
        sizes: length of each dynamic dimension of its inputs.

    Raises:
        ExportError: a shape does not follow from the sizes.
    """
    counted = {}
    for node in _with_sizes(model, sizes).graph:
        if count := _COUNTS.get(node.op_type):
            try:
                counted[str(node.outputs[0].name)] = count(node)
            except (TypeError, AttributeError) as e:
                raise ExportError(
                    f"graph {model.graph.name}: {node.op_type} {node.name} has a tensor of unknown shape; "
                    f"expected that all shapes follow from {dict(sizes)}."
                ) from e
    return counted


def full_precision_share(model: ModelProto, sizes: Mapping[str, int]) -> float:
    """Share of a graph's multiply-adds that work on FP32, 0..1; the rest is FP16 or quantised."""
    counted, types = multiply_adds(model, sizes), element_types(model)
    levels = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    full = sum(
        counted[node.output[0]]
        for node in model.graph.node
        if node.output[0] in counted and types.get(node.input[0]) == TensorProto.FLOAT and node.input[0] not in levels
    )
    return full / max(1, sum(counted.values()))


def element_types(model: ModelProto) -> dict[str, int]:
    """Element type of each tensor whose type the graph says, as ``TensorProto.DataType`` numbers it."""
    graph = model.graph
    values = (*graph.value_info, *graph.input, *graph.output)
    return {v.name: v.type.tensor_type.elem_type for v in values} | {t.name: t.data_type for t in graph.initializer}


def _with_sizes(model: ModelProto, sizes: Mapping[str, int]) -> onnx_ir.Model:
    """The graph with fixed inputs, and all that follows computed: shapes, and what is made of shapes."""
    fixed = onnx_ir.from_proto(model)
    for value in (v for node in fixed.graph for v in node.outputs):
        value.shape = None
    for value in fixed.graph.inputs:
        if value.shape is not None:
            value.shape = onnx_ir.Shape([sizes.get(str(d), d) if not isinstance(d, int) else d for d in value.shape])
    for _ in range(3):  # a shape can depend on one that only folding shows
        optimizer.fold_constants(fixed, onnx_shape_inference=True, input_size_limit=1 << 15, output_size_limit=1 << 16)
    return fixed


def _shape(value: onnx_ir.Value | None) -> Shape:
    """Raises TypeError or AttributeError where a dimension is not known."""
    return tuple(int(d) for d in value.shape)  # type: ignore[union-attr,arg-type]


def _convolution(node: onnx_ir.Node) -> int:
    _, inputs, *kernel = _shape(node.inputs[1])  # inputs of one group
    return prod(_shape(node.outputs[0])) * inputs * prod(kernel)


def _transposed(node: onnx_ir.Node) -> int:
    _, outputs, *kernel = _shape(node.inputs[1])  # outputs of one group
    return prod(_shape(node.inputs[0])) * outputs * prod(kernel)


def _product(node: onnx_ir.Node) -> int:
    turned = node.attributes.get_int("transA", 0)
    return prod(_shape(node.outputs[0])) * _shape(node.inputs[0])[0 if turned else -1]


_COUNTS: Mapping[str, Callable[[onnx_ir.Node], int]] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "Gemm": _product,
    "MatMul": _product,
}
