"""A graph with as few kinds of nodes as precision has to care about."""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from trtswap.errors import CalibrationError
from trtswap.export.graph import OPSET
from trtswap.model.pack import Pack, StageSpec


def full_precision(pack: Pack) -> Mapping[str, StageSpec]:
    """The graphs of a pack that can be measured and converted, by stage; others stay as they are.

    Raises:
        CalibrationError: there are none.
    """
    found = {name: stage for name, stage in pack.stages.items() if stage.converts}
    if not found:
        has = ", ".join(sorted({stage.precision for stage in pack.stages.values()}))
        raise CalibrationError(
            f"no graph of pack {pack.name} at {pack.path} is in FP32, all are {has}: nothing is left to measure or "
            "convert. Take the pack that it was made from."
        )
    return found


def prepared(stage: StageSpec) -> ModelProto:
    """A stage's graph, ready to be measured and converted; computes the same.

    Constants are initializers. A batch normalisation that no convolution took in is a multiplication and an addition:
    what its variance and epsilon become in FP16 matters no more. Every tensor has a type.

    Raises:
        CalibrationError: the graph is of another opset, or not in FP32.
    """
    model = onnx.load(stage.path)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets != {"": OPSET}:
        raise CalibrationError(f"{stage.path} needs the operator sets {opsets}, expected ONNX opset {OPSET} alone.")
    nodes = [made for node in model.graph.node for made in _simplified(node, model)]
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    _drop_unused_constants(model)
    if stage.precision != "fp32" or any(t.data_type == TensorProto.FLOAT16 for t in model.graph.initializer):
        raise CalibrationError(
            f"{stage.path} is in {stage.precision if stage.precision != 'fp32' else 'FP16, in part'}; expected a graph "
            "in FP32. Take the original pack, or say the graph's precision in its pack.toml: then it stays as it is."
        )
    return shape_inference.infer_shapes(model, data_prop=True)


def _simplified(node: NodeProto, model: ModelProto) -> list[NodeProto]:
    if node.op_type == "Constant":
        value = helper.get_attribute_value(node.attribute[0])
        kinds = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}
        tensor = value if isinstance(value, TensorProto) else None
        made = numpy_helper.to_array(tensor) if tensor is not None else np.array(value, kinds[node.attribute[0].name])
        model.graph.initializer.append(numpy_helper.from_array(made, node.output[0]))
        return []
    return _batch_norm(node, model) if node.op_type == "BatchNormalization" else [node]


def _batch_norm(node: NodeProto, model: ModelProto) -> list[NodeProto]:
    """y = (x - mean) / sqrt(variance + epsilon) scale + bias, as factor x + shift."""
    constants = {t.name: t for t in model.graph.initializer}
    if not all(name in constants for name in node.input[1:]):
        return [node]
    scale, bias, mean, variance = (numpy_helper.to_array(constants[n]).astype(np.float64) for n in node.input[1:])
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    factor = scale / np.sqrt(variance + epsilon)
    rank = next((len(v.type.tensor_type.shape.dim) for v in model.graph.value_info if v.name == node.input[0]), 4)
    name = node.output[0]
    for suffix, values in (("factor", factor), ("shift", bias - mean * factor)):
        shaped = values.astype(np.float32).reshape(-1, *[1] * (rank - 2))
        model.graph.initializer.append(numpy_helper.from_array(shaped, f"{name}/{suffix}"))
    return [
        helper.make_node("Mul", [node.input[0], f"{name}/factor"], [f"{name}/scaled"], f"{node.name}/Mul"),
        helper.make_node("Add", [f"{name}/scaled", f"{name}/shift"], [name], f"{node.name}/Add"),
    ]


def _drop_unused_constants(model: ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input} | {v.name for v in model.graph.output}
    kept = [t for t in model.graph.initializer if t.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def rebuilt(model: ModelProto, nodes: Iterable[NodeProto], constants: Iterable[TensorProto]) -> ModelProto:
    """A model with the inputs, outputs, opset and IR version of another, and other nodes and constants."""
    old = model.graph
    graph = helper.make_graph(list(nodes), old.name, old.input, old.output, list(constants))
    made = helper.make_model(graph, producer_name="trtswap", opset_imports=model.opset_import)
    made.ir_version = model.ir_version
    return made
