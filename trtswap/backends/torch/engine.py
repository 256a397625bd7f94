"""PyTorch as an engine: runs the ONNX graph of a pack, operator by operator, on the CPU or on CUDA."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trtswap.backends import device as gpus
from trtswap.backends.graph_engine import GraphEngine
from trtswap.backends.options import TorchOptions, has_bfloat16
from trtswap.backends.torch.cuda_graphs import CapturedRuns
from trtswap.backends.torch.ops import Operator, find
from trtswap.backends.torch.plan import Node, Plan, StepError, make_plan
from trtswap.backends.torch.precision import without_tf32
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

    Outputs are contiguous, and never in the memory of an input. On CUDA work is queued on the current stream, or where
    it was captured on that of the engine's role, and nothing waits on the host. float32 is not rounded to TF32.

    With ``half`` convolutions and matrix products run in that dtype, by PyTorch's autocast; inputs and outputs keep
    theirs. On CUDA a run is captured for each set of shapes that the engine is prepared for.
    """

    backend = "torch"

    def __init__(
        self,
        file: Path,
        *,
        device: torch.device,
        precision: str,
        options: TorchOptions | None = None,
        role: str = "main",
    ) -> None:
        """Load a graph.

        Raises:
            BackendError: the file is no ONNX graph, is of another opset than ``OPSETS``, has an operator that
                the table lacks, or computes a shape from the values of an input; or the GPU has no arithmetic of the
                kind that is asked for.
        """
        options = options or TorchOptions()
        half, gpu = options.half, gpus.find_gpu(device) if device.type == "cuda" else None
        if half == torch.bfloat16 and gpu is not None and not has_bfloat16(device):
            raise BackendError(
                f"{file}: {gpu.facts.name} has compute capability {gpu.facts.compute_capability}, and bfloat16 needs "
                "8.0 or newer. Use half=None, or float16 for a pack that is calibrated for it."
            )
        with onnx_file.refused(file):
            model = onnx_file.load(file)
            if model.functions:
                model = onnx.inliner.inline_local_functions(model)
            graph, opset = model.graph, onnx_file.opset(file, model, backend=self.backend)
            constants = {t.name: _tensor(file, t) for t in graph.initializer}
            inputs, outputs = onnx_file.specs(file, model)
            nodes = list(_nodes(file, graph.node, opset, constants))
        super().__init__(
            file,
            device=device,
            precision=precision if half is None else f"{_HALVES[half]}+{precision}",
            inputs=inputs,
            outputs=outputs,
        )
        with onnx_file.refused(file), _backend_errors(f"{file} cannot be loaded"):
            self._plan = make_plan(
                nodes,
                inputs=list(self.inputs),
                outputs=list(self.outputs),
                constants=constants,
                device=device,
            )
        self._half = half
        if half is not None:
            self._plan = self._plan.with_half_weights(half)
        self._captured = None if gpu is None else CapturedRuns(self._computed, gpu, gpu.lane(role))
        self._constants = {_memory(t) for t in self._plan.slots if t is not None}

    @property
    def plan(self) -> Plan:
        """The graph as calls; stays the engine's own."""
        return self._plan

    def _run(self, tensors: Mapping[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
        with self._running():
            played = None if self._captured is None else self._captured.run(tensors)
            return self._computed(tensors, None) if played is None else played

    def _prepare(self, shapes: Mapping[str, tuple[int, ...]], sizes: Mapping[str, int]) -> None:
        if self._captured is None:
            return
        # Tensors made inside of inference mode could not be written to outside of it.
        with torch.inference_mode(mode=False), self._running():
            self._captured.capture(
                {
                    name: torch.zeros(shape, dtype=self.inputs[name].dtype, device=self.device)
                    for name, shape in shapes.items()
                }
            )

    @contextmanager
    def _running(self) -> Iterator[None]:
        with (
            torch.no_grad(),
            without_tf32() if self.device.type == "cuda" else nullcontext(),
            _backend_errors(f"{self.file.name} failed to run"),
        ):
            yield

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
        if self._captured is not None:
            self._captured.close()
            self._captured = None


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
