"""An FP16 graph as an FP32 graph that rounds as FP16 does, for a runtime that would not.

ONNX Runtime has hardly any FP16 kernels for the CPU. It computes in FP32 and drops the two casts between one such node
and the next, also with every optimisation off: a graph that overflows in FP16 gives finite numbers there. Casts that
are written in the graph it keeps. So here each FP16 tensor is an FP32 tensor that has been cast to FP16 and back: what
a product or sum would be in FP16 with FP32 accumulation, which is what tensor cores do.
"""

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from trtswap.export.arithmetic import element_types

FULL, HALF = int(TensorProto.FLOAT), int(TensorProto.FLOAT16)
_MOVES = frozenset(
    ("Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten", "Split", "Concat", "Slice", "Gather", "Expand", "Tile",
     "Identity", "MaxPool", "Relu", "Max", "Min", "Neg", "Abs", "Where", "GatherElements", "GatherND", "Clip")
)  # fmt: skip
"""Operators that give numbers they were given: those are rounded already."""


def rounding_graph(model: ModelProto) -> ModelProto:
    """A graph of FP32 nodes that gives what the FP16 nodes of ``model`` would.

    Inputs and outputs keep names and types; they must not be FP16.
    """
    types = element_types(shape_inference.infer_shapes(model))
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        nodes += _rounded(node, types)
    graph = helper.make_graph(
        nodes, model.graph.name, model.graph.input, model.graph.output, [_widened(t) for t in model.graph.initializer]
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _rounded(node: NodeProto, types: dict[str, int]) -> list[NodeProto]:
    halves = [t for t in node.output if types.get(t) == HALF]
    made = NodeProto()
    made.CopyFrom(node)
    for attribute in made.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == HALF:
            attribute.i = FULL
        if attribute.type == AttributeProto.TENSOR:
            attribute.t.CopyFrom(_widened(attribute.t))
    if not halves or node.op_type in _MOVES:
        return [made]
    nodes = [made]
    for i, tensor in enumerate(node.output):
        if tensor in halves:
            made.output[i] = f"{tensor}/exact"
            nodes.append(helper.make_node("Cast", [f"{tensor}/exact"], [f"{tensor}/rounded"], to=HALF))
            nodes.append(helper.make_node("Cast", [f"{tensor}/rounded"], [tensor], to=FULL))
    return nodes


def _widened(tensor: TensorProto) -> TensorProto:
    if tensor.data_type != HALF:
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
