"""Running a plan: one execution context for one lane and one optimisation profile."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import tensorrt as trt
import torch
from torch import Tensor

from trtswap.backends.device import Gpu, NotRecordableError
from trtswap.backends.trt.lane import Lane
from trtswap.backends.trt.library import LoadedPlan
from trtswap.backends.trt.plans import PlanTensor
from trtswap.errors import BackendError, DeviceMemoryError, InputError

LOG = logging.getLogger("trtswap.tensorrt")
# A recording per shape costs memory on the device; detect graphs may see many shapes in a long life.
MOST_SHAPES = 32

Shapes = tuple[tuple[int, ...], ...]


def bucket(rows: int, least: int, most: int) -> int:
    """The batch size that runs for so many rows, from ``least`` to ``most``: 1, 2, 3, 4, 6, 8, 12, 16, 24, 32 ...

    Rows up to it are padding. Fewer sizes mean fewer recordings; above ``least`` no more than a third of the rows is
    ever padding.
    """
    size = 1
    while size < rows:
        size += 1 << max(0, size.bit_length() - 2)
    return min(max(size, least), most)


@dataclass
class _Shape:
    """What is known about one set of input shapes: the outputs, and the recorded work if there is any."""

    outputs: dict[str, Tensor]
    replay: Callable[[], None] | None = None


class PlanContext:
    """A context with buffers of its own for inputs and outputs, bound by address once and for all.

    Inputs are copied into the buffers, on the device, which gives every address the alignment that TensorRT wants and
    lets recorded work be replayed. Outputs are views of the buffers. The first call with new shapes runs as it is and
    is recorded; later ones replay.

    Args:
        plan: what runs; stays the caller's.
        name: for messages.
        inputs, outputs: of the plan.
        profile: number of the optimisation profile.
        batched: whether the first dimension of every input is the batch, which may be padded.
    """

    def __init__(
        self,
        plan: LoadedPlan,
        gpu: Gpu,
        lane: Lane,
        *,
        name: str,
        inputs: Sequence[PlanTensor],
        outputs: Sequence[PlanTensor],
        profile: int,
        batched: bool,
    ) -> None:
        self._name, self._plan, self._gpu, self._lane = name, plan, gpu, lane
        self._inputs, self._outputs = inputs, outputs
        self._profile = profile
        self._batched = batched
        self._shapes: OrderedDict[Shapes, _Shape] = OrderedDict()
        self._given: Shapes | None = None
        self._scratch: Tensor | None = None
        self._context = self._create()
        low, _, high = plan.engine.get_tensor_profile_shape(inputs[0].binding, profile)
        self._rows_allowed = (low[0], high[0]) if batched else (0, 0)
        self._scratch_bytes = max(1, plan.engine.get_device_memory_size_for_profile_v2(profile))
        self._use_scratch()
        # Made inside inference mode they could not be written to outside of it.
        with torch.inference_mode(mode=False), gpu.on(lane.stream):
            self._buffers = {t.name: gpu.allocate(self._most_bytes(t)) for t in (*inputs, *outputs)}
        for tensor in (*inputs, *outputs):
            self._bind(tensor)

    def _create(self) -> trt.IExecutionContext:
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._plan.engine.create_execution_context(strategy)
        if context is None:
            raise DeviceMemoryError(
                f"{self._name}: TensorRT could not make an execution context: {self._plan.logger.take_errors()}. Close "
                "other programs that use the GPU."
            )
        handle = self._lane.stream.cuda_stream
        if not context.set_optimization_profile_async(self._profile, handle):
            raise BackendError(f"{self._name}: profile {self._profile}: {self._plan.logger.take_errors()}.")
        self._lane.stream.synchronize()  # demanded before the profile is used; happens once in the context's life
        return context

    def _most_bytes(self, tensor: PlanTensor) -> int:
        """Size of a tensor's buffer: what the largest shapes of the profile need."""
        if tensor in self._inputs:
            most = self._plan.engine.get_tensor_profile_shape(tensor.binding, self._profile)[2]
            return prod(most) * tensor.spec.dtype.itemsize
        size = self._context.get_max_output_size(tensor.binding)
        if size <= 0:
            raise BackendError(
                f"{self._name}: TensorRT knows no largest size of output {tensor.name}: its size depends on data, "
                "which no graph of a pack may do."
            )
        return size

    def _bind(self, tensor: PlanTensor) -> None:
        if not self._context.set_tensor_address(tensor.binding, self._buffers[tensor.name].data_ptr()):
            raise BackendError(
                f"{self._name}: TensorRT refused the address of {tensor.name}: {self._plan.logger.take_errors()}."
            )

    def _use_scratch(self) -> None:
        """Point the context to the lane's scratch memory; recordings hold its address, so a new one voids them."""
        self._lane.reserve(self._scratch_bytes)
        if self._scratch is not self._lane.scratch:
            self._lane.stream.synchronize()  # what runs may still use the old one
            self._scratch = self._lane.scratch
            self._context.set_device_memory(self._scratch.data_ptr(), self._scratch.numel())
            self._shapes.clear()

    def run(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Queue one run on the lane's stream, which is PyTorch's current one.

        Args:
            tensors: inputs within the profile, checked.

        Returns:
            Outputs by name, views of this context's buffers.

        Raises:
            BackendError: TensorRT refused to run.
        """
        self._use_scratch()
        rows = tensors[self._inputs[0].name].shape[0] if self._batched else 0
        filled = self._fill(tensors)
        shape = self._shapes.get(filled)
        if shape is None:
            shape = self._first_run(filled)
        elif shape.replay is not None:
            shape.replay()
        else:
            self._enqueue(filled)
        self._shapes.move_to_end(filled)
        return {t.name: self._rows(t, shape.outputs[t.name], rows) for t in self._outputs}

    def _rows(self, tensor: PlanTensor, value: Tensor, rows: int) -> Tensor:
        padded = self._batched and tensor.shape and tensor.shape[0] == self._inputs[0].shape[0]
        return value[:rows] if padded else value

    def _fill(self, tensors: Mapping[str, Tensor]) -> Shapes:
        """Copy the inputs into their buffers; returns the shapes that will run."""
        shapes = []
        for tensor in self._inputs:
            value = tensors[tensor.name]
            shape = tuple(value.shape)
            if self._batched:
                shape = (bucket(shape[0], *self._rows_allowed), *shape[1:])
            with torch.no_grad():
                self._view(tensor, shape)[: value.shape[0]].copy_(value)
            shapes.append(shape)
        return tuple(shapes)

    def _view(self, tensor: PlanTensor, shape: Iterable[int]) -> Tensor:
        lengths, dtype = tuple(shape), tensor.spec.dtype
        size = prod(lengths) * dtype.itemsize
        return self._buffers[tensor.name][:size].view(dtype).view(lengths)

    def _first_run(self, shapes: Shapes) -> _Shape:
        self._enqueue(shapes)
        outputs = {t.name: self._view(t, self._context.get_tensor_shape(t.binding)) for t in self._outputs}
        shape = _Shape(outputs)
        try:
            shape.replay = self._gpu.record(self._lane.stream, self._launch)
        except NotRecordableError as e:
            LOG.warning("%s at %s runs without a CUDA graph: %s", self._name, list(shapes), e)
            self._plan.logger.take_errors()
        if len(self._shapes) >= MOST_SHAPES:
            self._lane.stream.synchronize()  # the oldest recording may still be running
            self._shapes.popitem(last=False)
        self._shapes[shapes] = shape
        return shape

    def _launch(self) -> bool:
        return self._context.execute_async_v3(self._lane.stream.cuda_stream)

    def _enqueue(self, shapes: Shapes) -> None:
        if shapes != self._given:
            self._give_shapes(shapes)
        if not self._launch():
            raise BackendError(f"{self._name} failed to run at {list(shapes)}: {self._plan.logger.take_errors()}.")

    def _give_shapes(self, shapes: Shapes) -> None:
        self._given = None
        for tensor, shape in zip(self._inputs, shapes, strict=True):
            if not self._context.set_input_shape(tensor.binding, shape):
                raise InputError(
                    f"{self._name}: TensorRT refused shape {list(shape)} of input {tensor.name}: "
                    f"{self._plan.logger.take_errors()}."
                )
        if missing := self._context.infer_shapes():
            raise BackendError(f"{self._name}: TensorRT still misses shapes or addresses of {', '.join(missing)}.")
        self._given = shapes

    @property
    def recorded(self) -> int:
        """How many of the shapes seen run from a recording."""
        return sum(shape.replay is not None for shape in self._shapes.values())

    @property
    def seen(self) -> int:
        """How many shapes were seen."""
        return len(self._shapes)

    def close(self) -> None:
        """Wait for what is queued, then release: recordings, the context, and last the memory that it used."""
        self._lane.stream.synchronize()
        self._shapes.clear()
        del self._context
        self._buffers.clear()
        self._scratch = None
