"""A pack's graphs inside a larger one: named where it is traced, put in their places afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from onnx import ModelProto, NodeProto, TensorProto, compose
from torch import Tensor

from trtswap.model.pack import StageSpec

DOMAIN = "trtswap"
"""Of the operators that stand for a pack's graphs; no finished graph has any."""

_TYPES: Mapping[torch.dtype, int] = {torch.float32: TensorProto.FLOAT, torch.uint8: TensorProto.UINT8}


@dataclass(frozen=True)
class Stages:
    """The graphs of a pack that run."""

    specs: Mapping[str, StageSpec]

    def __contains__(self, name: str) -> bool:
        return name in self.specs

    def __getitem__(self, name: str) -> StageSpec:
        return self.specs[name]

    def run(self, name: str, **tensors: Tensor) -> tuple[Tensor, ...]:
        """What a graph makes of its inputs, by their names: its outputs in the order of the contract."""
        inputs, outputs = self.specs[name].contract
        given = [tensors[spec.name] for spec in inputs]
        known = {
            dim: size
            for spec, tensor in zip(inputs, given, strict=True)
            for dim, size in zip(spec.shape, tensor.shape, strict=True)
            if isinstance(dim, str)
        }
        shapes = [[known[dim] if isinstance(dim, str) else dim for dim in spec.shape] for spec in outputs]
        made = torch.onnx.ops.symbolic_multi_out(
            f"{DOMAIN}::{name}", given, dtypes=[_TYPES[spec.dtype] for spec in outputs], shapes=shapes, version=1
        )
        return tuple(made)


def inlined(model: ModelProto, stages: Stages, graphs: Mapping[str, ModelProto]) -> ModelProto:
    """A graph with a pack's graphs in the places of the operators that stand for them.

    Args:
        model: its operators of :data:`DOMAIN` are named after the pack's stages.
        stages: what they take and give.
        graphs: by stage.
    """
    nodes: list[NodeProto] = []
    weights = list(model.graph.initializer)
    count: dict[str, int] = {}
    for node in model.graph.node:
        if node.domain != DOMAIN:
            nodes.append(node)
            continue
        count[node.op_type] = count.get(node.op_type, 0) + 1
        prefix = node.op_type if count[node.op_type] == 1 else f"{node.op_type}{count[node.op_type]}"
        part = _connected(graphs[node.op_type], stages[node.op_type], node, f"{prefix}/")
        nodes += part.graph.node
        weights += part.graph.initializer
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(weights)
    _measured_after_casts(model)
    kept = [entry for entry in model.opset_import if entry.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def _connected(graph: ModelProto, spec: StageSpec, node: NodeProto, prefix: str) -> ModelProto:
    """The graph with the node's tensors for inputs and outputs, and a prefix before all other names."""
    part = compose.add_prefix(graph, prefix)
    names: dict[str, str] = {}
    for of_graph, of_node in zip(spec.contract, (node.input, node.output), strict=True):
        names |= {prefix + tensor.name: name for tensor, name in zip(of_graph, of_node, strict=True)}
    labels = {name for tensor, name in zip(spec.contract[1], node.output, strict=True) if tensor.dtype == torch.uint8}
    for inner in part.graph.node:
        for tensors in (inner.input, inner.output):
            for i, name in enumerate(tensors):
                tensors[i] = names.get(name, name)
        if inner.op_type == "Cast" and inner.output[0] in labels:
            inner.attribute[0].i = TensorProto.INT32  # inside a graph TensorRT has no uint8
    return part


def _measured_after_casts(model: ModelProto) -> None:
    """Take the shapes of uint8 inputs from what they are cast to: TensorRT lets nothing else than a Cast see them."""
    frames = {v.name for v in model.graph.input if v.type.tensor_type.elem_type == TensorProto.UINT8}
    casts = {node.input[0]: node for node in model.graph.node if node.op_type == "Cast" and node.input[0] in frames}
    rest = [node for node in model.graph.node if all(node is not cast for cast in casts.values())]
    for node in rest:
        if node.op_type == "Shape" and node.input[0] in casts:
            node.input[0] = casts[node.input[0]].output[0]
    ordered = [*casts.values(), *rest]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
