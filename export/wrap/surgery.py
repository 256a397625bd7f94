"""Reading foreign ONNX models, and what is put around them node by node."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, compose, helper, numpy_helper
from onnx import version_converter as versions
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from trtswap.errors import ExportError
from trtswap.export.graph import OPSET, checked, value_info
from trtswap.export.wrap.declaration import ALL, UNUSED, Triple, Wrapping
from trtswap.model.pack import StageSpec

ORT_ERRORS = (ort.Fail, ort.InvalidArgument, ort.InvalidGraph, ort.NotImplemented, ort.RuntimeException)
PREFIX = "model/"
EMBEDDINGS = "around/embeddings"
"""What an identify model gives, before it is brought to unit length: float32 [N, D]."""

_REVERSED = np.array([2, 1, 0], np.int64)
_TO_NHWC, _TO_NCHW = [0, 2, 3, 1], [0, 3, 1, 2]


def read(path: Path) -> ModelProto:
    """A foreign model.

    Raises:
        ExportError: it cannot be read, or needs operators that are not ONNX's own.
    """
    try:
        model = onnx.load(path)
    except (OSError, DecodeError, ValueError, onnx.checker.ValidationError) as e:
        raise ExportError(f"{path} cannot be read as an ONNX model: {e}.") from e
    if foreign := sorted({entry.domain for entry in model.opset_import} - {"", "ai.onnx"}):
        raise ExportError(f"{path} needs operators of {', '.join(foreign)}; only ONNX's own can go into a pack.")
    return model


def imported(model: ModelProto, path: Path) -> gs.Graph:
    """A model in opset ``OPSET``, its names free for what is put around it.

    Raises:
        ExportError: it cannot be converted.
    """
    version = max((entry.version for entry in model.opset_import), default=0)
    if version != OPSET:
        try:
            model = versions.convert_version(model, OPSET)
        except (RuntimeError, versions.ConvertError) as e:
            raise ExportError(f"{path} is opset {version} and cannot be converted to {OPSET}: {e}") from e
    graph = gs.import_onnx(compose.add_prefix(model, PREFIX))
    # Old exporters list weights as inputs, too.
    graph.inputs = [tensor for tensor in graph.inputs if isinstance(tensor, gs.Variable)]
    return graph


def unused_weights(model: ModelProto) -> dict[str, NDArray[Any]]:
    """Matrices and larger tensors of floats that no node of a model reads: they may be needed beside it."""
    read_by_nodes = set(_names_read(model.graph)) | {output.name for output in model.graph.output}
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16)
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.name not in read_by_nodes and len(tensor.dims) > 1 and tensor.data_type in floats
    }


def _names_read(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _names_read(inner)


def latent_matrix(w: Wrapping, unused: dict[str, NDArray[Any]]) -> NDArray[np.float32] | None:
    """The weight that latents are multiplied with, taken out of ``unused``; None where none is declared.

    Raises:
        ExportError: there is no such weight, or it is not square.
    """
    if w.latent_matrix is None:
        return None
    square = [name for name, value in unused.items() if value.ndim == 2 and len({*value.shape}) == 1]
    named = square if w.latent_matrix == UNUSED else [w.latent_matrix]
    if len(named) != 1 or named[0] not in square:
        shown = ", ".join(f"{name} {list(value.shape)}" for name, value in unused.items()) or "none"
        raise ExportError(
            f"{w.model}: no single square weight that latent_matrix {w.latent_matrix} can mean; unused are: {shown}."
        )
    return unused.pop(named[0]).astype(np.float32)


def check_all_used(w: Wrapping, weights: Sequence[str], outputs: Sequence[str]) -> None:
    """Refuse to leave out what nobody has declared as left out.

    Raises:
        ExportError: names the weights and outputs.
    """
    if ALL in w.ignore:
        return
    left = [*(f"the weight {n}" for n in weights if n not in w.ignore)]
    left += [f"the output {n}" for n in outputs if n not in w.ignore]
    if left:
        raise ExportError(
            f"{w.model}: {', '.join(left)} would not be used. A model that needs more than it is given makes wrong "
            "pictures in silence. Say what each is for (--mask, --latent-matrix), or leave it out with --ignore NAME."
        )


def pick(
    w: Wrapping, option: str, values: Sequence[gs.Variable], name: str | None, ranks: tuple[int, ...]
) -> gs.Variable:
    """The tensor that an option names, or the only one that it can mean.

    Raises:
        ExportError: there is none, or there are several.
    """
    fitting = [v for v in values if not ranks or len(dims(v)) in ranks]
    if name is not None:
        fitting = [v for v in fitting if v.name == PREFIX + name]
    if len(fitting) == 1:
        return fitting[0]
    have = ", ".join(map(shown, values))
    raise ExportError(f"{w.model}: no single tensor that --{option} {name or ''} can mean; the model has {have}.")


def dims(value: gs.Variable) -> tuple[int, ...]:
    """Dimensions; 0 for dynamic ones."""
    return tuple(d if isinstance(d, int) else 0 for d in value.shape or ())


def own_name(value: gs.Variable) -> str:
    """As the model itself calls it."""
    return str(value.name.removeprefix(PREFIX))


def shown(value: gs.Variable) -> str:
    """Name and dimensions, for messages."""
    return f"{own_name(value)} [{','.join(str(d or '?') for d in dims(value))}]"


def precision(graph: gs.Graph) -> str:
    """``fp16`` where any weight is."""
    constants = [tensor for tensor in graph.tensors().values() if isinstance(tensor, gs.Constant)]
    constants += [node.attrs["value"] for node in graph.nodes if node.op == "Constant" and "value" in node.attrs]
    return "fp16" if any(constant.dtype == np.float16 for constant in constants) else "fp32"


def constant(tensor: gs.Tensor) -> NDArray[Any] | None:
    """What a tensor always is: a weight, or what a Constant node gives."""
    if not isinstance(tensor, gs.Constant) and tensor.inputs and tensor.inputs[0].op == "Constant":
        tensor = tensor.inputs[0].attrs.get("value")
    return tensor.values if isinstance(tensor, gs.Constant) else None


def free_batch(graph: gs.Graph, *, cells: bool = False) -> None:
    """Reshape nodes that take a constant for a batch of one take any batch.

    Whether that was all that fixed the batch is seen when the graph runs at two batch sizes.

    Args:
        cells: also let the second of three dimensions go: the cells of a detector, whose number follows from the
            picture's size.
    """
    for node in graph.nodes:
        if node.op != "Reshape" or (values := constant(node.inputs[1])) is None:
            continue
        shape = values.copy()
        if len(shape) > 1 and shape[0] == 1:
            if cells and len(shape) == 3:
                shape[1] = -1
            shape[0] = 0 if -1 in shape else -1  # 0 takes the dimension over from the input
            node.inputs[1] = gs.Constant(f"{node.outputs[0].name}/shape", shape)


def affine(mean: Triple, std: Triple, value_range: tuple[float, float]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(scale, shift) such that a model's value is scale p + shift for a pixel p in 0..1: float32 [3, 1, 1] each."""
    low, high = value_range
    m, s = np.reshape(mean, (3, 1, 1)), np.reshape(std, (3, 1, 1))
    return ((high - low) / s).astype(np.float32), ((low - m) / s).astype(np.float32)


def node(
    graph: gs.Graph,
    operator: str,
    *inputs: gs.Tensor | NDArray[Any],
    gives: gs.Variable | str = "around/",
    **attributes: Any,
) -> gs.Variable:
    """A new node of a graph, and what it gives: a tensor that is there, or a new one."""
    name = f"around/{operator}_{len(graph.nodes)}"
    made: gs.Variable = graph.layer(op=operator, name=name, inputs=inputs, outputs=[gives], attrs=attributes)[0]
    return made


def feed(graph: gs.Graph, value: gs.Tensor | NDArray[Any], tensor: gs.Variable) -> None:
    """Give an input of the model a value, in the type that it takes; FP64 becomes FP32, since engines know none."""
    kind = np.float32 if np.dtype(tensor.dtype) == np.float64 else np.dtype(tensor.dtype)
    tensor.dtype = kind
    node(graph, "Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(kind)), gives=tensor)


def picture_in(graph: gs.Graph, w: Wrapping, picture: gs.Variable, tensor: gs.Variable) -> None:
    """A picture of the contract, as the model takes it."""
    x = picture
    if w.colour == "bgr":
        x = node(graph, "Gather", x, _REVERSED, axis=1)
    scale, shift = affine(w.mean, w.std, w.range)
    x = node(graph, "Add", node(graph, "Mul", x, scale), shift)
    if w.layout == "nhwc":
        x = node(graph, "Transpose", x, perm=_TO_NHWC)
    feed(graph, x, tensor)


def picture_out(graph: gs.Graph, w: Wrapping, output: gs.Variable) -> gs.Variable:
    """A picture that the model gives, as the contract has it."""
    x = _laid_out(graph, w, output)
    scale, shift = affine(w.out_mean, w.out_std, w.out_range)
    # p = (value std + mean - low) / (high - low), which undoes what affine describes.
    x = node(graph, "Div", node(graph, "Sub", x, shift), scale)
    if w.out_colour == "bgr":
        x = node(graph, "Gather", x, _REVERSED, axis=1)
    return _clipped(graph, x)


def mask_out(graph: gs.Graph, w: Wrapping, output: gs.Variable) -> gs.Variable:
    """A mask that the model gives, [N, 1, S, S] or [N, S, S], as the contract has it: [N, 1, S, S], 0..1."""
    if len(dims(output)) == 3:
        x = node(graph, "Unsqueeze", node(graph, "Cast", output, to=TensorProto.FLOAT), np.array([1], np.int64))
    else:
        x = _laid_out(graph, w, output)
    low, high = w.out_range if w.kind.gives == "masks" else (0.0, 1.0)
    if (low, high) != (0, 1):
        x = node(graph, "Div", node(graph, "Sub", x, np.float32(low)), np.float32(high - low))
    return _clipped(graph, x)


def _laid_out(graph: gs.Graph, w: Wrapping, output: gs.Variable) -> gs.Variable:
    x = node(graph, "Cast", output, to=TensorProto.FLOAT)
    return node(graph, "Transpose", x, perm=_TO_NCHW) if w.layout == "nhwc" else x


def _clipped(graph: gs.Graph, x: gs.Variable) -> gs.Variable:
    return node(graph, "Clip", x, np.array(0, np.float32), np.array(1, np.float32))


def unit_length(graph: gs.Graph, x: gs.Variable) -> gs.Variable:
    """Rows [N, D] with L2 norm 1."""
    length = node(graph, "ReduceL2", x, np.array([1], np.int64), keepdims=1)
    return node(graph, "Div", x, node(graph, "Max", length, np.array(1e-12, np.float32)))


def finished(graph: gs.Graph, stage: StageSpec, path: Path) -> ModelProto:
    """The graph with the contract's inputs and outputs, without what leads to none of them.

    Raises:
        ExportError: it is not valid, or holds what TensorRT's parser does not take.
    """
    inputs, outputs = stage.contract
    for tensor, declared in zip((*graph.inputs, *graph.outputs), (*inputs, *outputs), strict=True):
        tensor.name, tensor.shape = declared.name, declared.shape
        tensor.dtype = helper.tensor_dtype_to_np_dtype(value_info(declared).type.tensor_type.elem_type)
    graph.name, graph.doc_string, graph.producer_name, graph.producer_version = stage.name, "", "trtswap", ""
    made: ModelProto = gs.export_onnx(graph.cleanup(remove_unused_graph_inputs=False).toposort())
    return checked(made, f"{stage.name} of {path}")


def session_of(model: ModelProto) -> onnxruntime.InferenceSession:
    """A finished graph, ready to be tried.

    Raises:
        ORT_ERRORS: it does not load.
    """
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
