"""PyTorch as an engine: runs the ONNX graph of a pack, operator by operator, on the CPU or on CUDA."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trtswap.backends.graph_engine import GraphEngine
from trtswap.backends.torch.cuda_graphs import GraphCache
from trtswap.backends.torch.ops import Operator, find
from trtswap.backends.torch.plan import Node, Plan, StepError, make_plan
from trtswap.errors import BackendError

try:
    import onnx
    import onnx.inliner
    import onnx.numpy_helper

    from trtswap.backends import onnx_file
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
        model = onnx_file.load(file)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        graph, opset = model.graph, onnx_file.opset(file, model, backend=self.backend)
        constants = {t.name: _tensor(file, t) for t in graph.initializer}
        inputs, outputs = onnx_file.specs(file, model)
        super().__init__(
            file,
            device=device,
            precision=precision if half is None else f"{_HALVES[half]}+{precision}",
            inputs=inputs,
            outputs=outputs,
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
    dtype = onnx_file.dtype(file, proto.name, proto.data_type)
    array = onnx.numpy_helper.to_array(proto)
    if dtype == torch.bfloat16:
        return torch.from_numpy(array.view("int16").copy()).view(dtype)
    return torch.from_numpy(array.copy())


def _memory(tensor: Tensor) -> int:
    """Where a tensor's memory begins, which views of it share."""
    return tensor.untyped_storage().data_ptr()


@contextmanager
def _backend_errors(what: str) -> Iterator[None]:
    try:
        yield
    except StepError as e:
        raise BackendError(f"{what}: {e}") from e
