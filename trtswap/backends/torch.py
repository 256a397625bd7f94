"""PyTorch as an engine: runs the ONNX graph of a pack, operator by operator, on the CPU or on CUDA."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trtswap.backends.cuda_graphs import GraphCache
from trtswap.backends.engine import TensorSpec
from trtswap.backends.graph_engine import GraphEngine
from trtswap.backends.torch_ops import DTYPES, OPSETS, Operator, find
from trtswap.backends.torch_plan import Node, Plan, StepError, make_plan
from trtswap.errors import BackendError

try:
    import onnx
    import onnx.inliner
    import onnx.numpy_helper
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
except ImportError as e:
    raise BackendError(f'The torch backend reads graphs with onnx: {e}. pip install "trtswap[export]".') from e


_HALVES = {torch.float16: "fp16", torch.bfloat16: "bf16"}


class TorchEngine(GraphEngine):
    """A graph translated to PyTorch calls once, and run without gradients.

    Outputs are the caller's own: contiguous, and never in the memory of an input. On CUDA work is queued on the
    current stream and nothing waits on the host. Arithmetic is that of PyTorch's settings; for reference figures
    on CUDA set ``torch.backends.cudnn.allow_tf32 = False``.

    With ``half`` convolutions and matrix products run in that dtype, by PyTorch's autocast; inputs and outputs keep
    theirs. With ``cuda_graphs`` a run is recorded for each of the first ``MAX_GRAPHS`` sets of input shapes and played
    back afterwards; its outputs are then valid until the next call.
    """

    backend = "torch"

    def __init__(
        self,
        file: Path,
        *,
        device: torch.device,
        precision: str,
        half: torch.dtype | None = None,
        cuda_graphs: bool = False,
    ) -> None:
        """Load a graph.

        Raises:
            BackendError: the file is no ONNX graph, is of another opset than ``OPSETS``, has an operator that
                the table lacks, or computes a shape from the values of an input.
        """
        model = _load(file)
        graph, opset = model.graph, _opset(file, model)
        constants = {t.name: _tensor(file, t) for t in graph.initializer}
        inputs = [i for i in graph.input if i.name not in constants]
        super().__init__(
            file,
            device=device,
            precision=precision if half is None else f"{_HALVES[half]}+{precision}",
            inputs=[_spec(file, i) for i in inputs],
            outputs=[_spec(file, o) for o in graph.output],
        )
        with _backend_errors(f"{file} cannot be loaded"):
            self._plan = make_plan(
                list(_nodes(file, graph.node, opset, constants)),
                inputs=list(self.inputs),
                outputs=list(self.outputs),
                constants=constants,
                device=device,
            )
        self._half = half
        if half is not None:
            self._plan = self._plan.with_half_weights(half)
        self._graphs = GraphCache(self._computed, device) if cuda_graphs and device.type == "cuda" else None
        self._constants = {_memory(t) for t in self._plan.slots if t is not None}

    @property
    def plan(self) -> Plan:
        """The graph as calls; stays the engine's own."""
        return self._plan

    def _run(self, tensors: Mapping[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
        with torch.no_grad(), _backend_errors(f"{self.file.name} failed to run"):
            return self._computed(tensors, None) if self._graphs is None else self._graphs.run(tensors)

    def _computed(self, tensors: Mapping[str, Tensor], uploads: dict[int, Tensor] | None) -> dict[str, Tensor]:
        """Outputs in memory of their own."""
        half = self._half
        with nullcontext() if half is None else torch.autocast(self.device.type, half, cache_enabled=False):
            outputs = self._plan.run(tensors, uploads)
        borrowed = self._constants | {_memory(t) for t in tensors.values()}
        return {
            name: value.to(self.outputs[name].dtype).clone(memory_format=torch.contiguous_format)
            if _memory(value) in borrowed
            else value.to(self.outputs[name].dtype).contiguous()
            for name, value in outputs.items()
        }

    def _release(self) -> None:
        del self._plan, self._constants
        self._graphs = None


def _load(file: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(file)
    except (OSError, DecodeError, ValueError, onnx.checker.ValidationError) as e:
        raise BackendError(f"{file} cannot be loaded as an ONNX graph: {e}") from e
    if not model.graph.output:
        raise BackendError(f"{file} cannot be loaded: it holds no ONNX graph with outputs.")
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def _opset(file: Path, model: onnx.ModelProto) -> int:
    opset = next((i.version for i in model.opset_import if i.domain in ("", "ai.onnx")), 0)
    if opset not in OPSETS:
        raise BackendError(
            f"{file}: the graph has opset {opset}; the torch backend runs {OPSETS[0]} to {OPSETS[-1]}. Export it again "
            f"with opset {OPSETS[-1]}, or use backend='onnxruntime'."
        )
    return opset


def _nodes(file: Path, nodes: Sequence[onnx.NodeProto], opset: int, constants: dict[str, Tensor]) -> Iterator[Node]:
    """The graph's nodes with their operators; the values of Constant nodes are added to ``constants``."""
    for index, node in enumerate(nodes):
        label = f"{node.op_type} {node.name or f'number {index}'} (opset {opset})"
        attributes = {a.name: _attribute(file, a) for a in node.attribute}
        if node.op_type == "Constant":
            ((kind, value),) = attributes.items()
            dtype = torch.float32 if kind.startswith("value_float") else torch.int64
            constants[node.output[0]] = value if kind == "value" else torch.tensor(value, dtype=dtype)
            continue
        operator = find(node.op_type, opset) if node.domain in ("", "ai.onnx") else None
        if operator is None:
            name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise BackendError(
                f"{file}: {label}: the torch backend has no operator {name}. Use backend='onnxruntime' for this graph."
            )
        _check_node(file, label, node, operator, attributes)
        yield Node(label, operator, tuple(node.input), tuple(node.output), attributes)


def _check_node(
    file: Path, label: str, node: onnx.NodeProto, operator: Operator, attributes: Mapping[str, Any]
) -> None:
    """Refuse what the operator's function would not compute as the specification says."""
    for name, value in attributes.items():
        allowed = operator.only.get(name)
        found = tuple(value) if isinstance(value, list) else value
        if name not in operator.parameters or (allowed is not None and found not in allowed):
            expected = f"expected one of {allowed}" if allowed else "this attribute is unknown"
            raise BackendError(f"{file}: {label}: {name}={value!r} is not supported by the torch backend; {expected}.")
    if operator.outputs and any(node.output[operator.outputs :]):
        raise BackendError(
            f"{file}: {label} has {len(node.output)} outputs; the torch backend gives the first {operator.outputs}."
        )


def _attribute(file: Path, attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return _tensor(file, value)
    return value.decode() if isinstance(value, bytes) else list(value) if attribute.type in _LISTS else value


_LISTS = (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS, onnx.AttributeProto.STRINGS)


def _tensor(file: Path, proto: onnx.TensorProto) -> Tensor:
    dtype = _dtype(file, proto.name, proto.data_type)
    array = onnx.numpy_helper.to_array(proto)
    if dtype == torch.bfloat16:
        return torch.from_numpy(array.view("int16").copy()).view(dtype)
    return torch.from_numpy(array.copy())


def _spec(file: Path, value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = (
        d.dim_value if d.HasField("dim_value") else d.dim_param or f"{value.name}_{i}"
        for i, d in enumerate(tensor.shape.dim)
    )
    return TensorSpec(value.name, tuple(shape), _dtype(file, value.name, tensor.elem_type))


def _dtype(file: Path, name: str, number: int) -> torch.dtype:
    if number not in DTYPES:
        kind = onnx.TensorProto.DataType.Name(number)
        raise BackendError(f"{file}: tensor {name} holds {kind}, which the torch backend does not know.")
    return DTYPES[number]


def _memory(tensor: Tensor) -> int:
    """Where a tensor's memory begins, which views of it share."""
    return tensor.untyped_storage().data_ptr()


@contextmanager
def _backend_errors(what: str) -> Iterator[None]:
    try:
        yield
    except StepError as e:
        raise BackendError(f"{what}: {e}") from e
