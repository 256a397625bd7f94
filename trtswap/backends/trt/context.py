"""Running a plan: execution contexts of one optimisation profile, and the buffers that they share."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trtswap.backends.batching import batch_size
from trtswap.backends.device import Gpu, NotCapturableError, Stream
from trtswap.backends.lane import Lane
from trtswap.backends.trt.loaded import LoadedPlan
from trtswap.backends.trt.plans import PlanTensor
from trtswap.errors import BackendError, DeviceMemoryError, InputError

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    import tensorrt as trt

LOG = logging.getLogger("trtswap.tensorrt")
# Each has an execution context of its own; a long life may see many sizes of pictures.
MOST_CAPTURED = 32

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Layout:
    """A plan as it is bound on one device.

    Attributes:
        name: of the graph, for messages.
        inputs, outputs: of the plan.
        batched: whether the first dimension of every input is the batch, which may be padded.
    """

    plan: LoadedPlan
    gpu: Gpu
    lane: Lane
    name: str
    inputs: Sequence[PlanTensor]
    outputs: Sequence[PlanTensor]
    batched: bool


class PlanContext:
    """One execution context of a profile, with scratch memory of its lane.

    What is captured of a context is right only as long as its shapes and addresses are those of the capture ("Modifying
    the context from which the graph was captured will result in undefined behavior", TensorRT's developer guide, CUDA
    Graphs; NVIDIA/TensorRT#3798), so a context that was captured is given no other shapes.
    """

    _context: "trt.IExecutionContext"

    def __init__(self, layout: Layout, profile: int) -> None:
        self._layout, self._plan, self._lane = layout, layout.plan, layout.lane
        self._given: Shapes | None = None
        self._library = self._plan.library.kind.title
        context = self._plan.context()
        if context is None:
            raise DeviceMemoryError(
                f"{layout.name}: {self._library} could not make an execution context: "
                f"{self._plan.logger.take_errors()}. Close other programs that use the GPU."
            )
        self._context = context
        if not context.set_optimization_profile_async(profile, self._lane.stream.cuda_stream):
            raise BackendError(f"{layout.name}: profile {profile}: {self._plan.logger.take_errors()}.")
        self._lane.stream.synchronize()  # demanded before the profile is used; happens once in the context's life
        self._scratch = self._lane.scratch(max(1, self._plan.engine.get_device_memory_size_for_profile_v2(profile)))
        context.set_device_memory(self._scratch.data_ptr(), self._scratch.numel())

    def give_shapes(self, shapes: Shapes) -> None:
        """Set the shapes of the inputs.

        Raises:
            InputError: TensorRT refused one.
        """
        if shapes == self._given:
            return
        self._given = None
        for tensor, shape in zip(self._layout.inputs, shapes, strict=True):
            if not self._context.set_input_shape(tensor.binding, shape):
                raise InputError(
                    f"{self._layout.name}: {self._library} refused shape {list(shape)} of input {tensor.name}: "
                    f"{self._plan.logger.take_errors()}."
                )
        self._given = shapes

    def most_bytes(self, output: PlanTensor) -> int:
        """Size of an output at the largest shapes of the profile; known once shapes are given.

        Raises:
            BackendError: TensorRT does not know it.
        """
        size = self._context.get_max_output_size(output.binding)
        if size <= 0:
            raise BackendError(
                f"{self._layout.name}: {self._library} knows no largest size of output {output.name}: its size depends "
                "on data, which no graph of a pack may do."
            )
        return size

    def bind(self, buffers: Mapping[str, Tensor]) -> None:
        """Say where inputs and outputs are, once and for all."""
        for tensor in (*self._layout.inputs, *self._layout.outputs):
            if not self._context.set_tensor_address(tensor.binding, buffers[tensor.name].data_ptr()):
                raise BackendError(
                    f"{self._layout.name}: {self._library} refused the address of {tensor.name}: "
                    f"{self._plan.logger.take_errors()}."
                )

    def output_shape(self, output: PlanTensor) -> tuple[int, ...]:
        """For the shapes given last."""
        return tuple(self._context.get_tensor_shape(output.binding))

    def enqueue(self, shapes: Shapes) -> None:
        """Queue one run on the lane.

        Raises:
            BackendError: TensorRT refused to run.
        """
        if shapes != self._given:
            self.give_shapes(shapes)
            if missing := self._context.infer_shapes():
                raise BackendError(
                    f"{self._layout.name}: {self._library} still misses shapes or addresses of {', '.join(missing)}."
                )
        if not self.launch(self._lane.stream):
            raise BackendError(
                f"{self._layout.name} failed to run at {list(shapes)}: {self._plan.logger.take_errors()}."
            )

    def launch(self, stream: Stream) -> bool:
        """Queue one run with what is set; False where TensorRT refuses."""
        return self._context.execute_async_v3(stream.cuda_stream)


@dataclass(frozen=True)
class _Captured:
    """A run for one set of shapes; the context is never touched again."""

    context: PlanContext
    replay: Callable[[], None]
    outputs: Mapping[str, Tensor]


class PlanProfile:
    """One optimisation profile of a plan on its lane; entered by one thread at a time.

    Inputs are copied into buffers, on the device, which gives every address the alignment that TensorRT wants and lets
    captured work be replayed. Shapes that were captured replay, each from an execution context of its own; all others
    run as they are, from one that they share.
    """

    def __init__(self, layout: Layout, number: int) -> None:
        self._layout, self._number = layout, number
        self._captured: OrderedDict[Shapes, _Captured] = OrderedDict()
        self._open = PlanContext(layout, number)
        ranges = [layout.plan.engine.get_tensor_profile_shape(t.binding, number) for t in layout.inputs]
        self._rows_allowed = (ranges[0][0][0], ranges[0][2][0]) if layout.batched else (0, 0)
        largest = tuple(tuple(most) for _, _, most in ranges)
        self._open.give_shapes(largest)
        sizes = {t.name: prod(s) * t.spec.dtype.itemsize for t, s in zip(layout.inputs, largest, strict=True)}
        sizes |= {t.name: self._open.most_bytes(t) for t in layout.outputs}
        # Made inside inference mode they could not be written to outside of it.
        with torch.inference_mode(mode=False), layout.gpu.on(layout.lane.stream):
            self._buffers = {name: layout.gpu.allocate(size) for name, size in sizes.items()}
        self._open.bind(self._buffers)

    def capture(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Capture the run for these shapes, padded as runs are; where that cannot be, the log says so.

        The shapes captured longest ago are forgotten where there are more than ``MOST_CAPTURED``.
        """
        padded = tuple(self._padded(shapes[t.name]) for t in self._layout.inputs)
        if padded in self._captured:
            return
        try:
            context = PlanContext(self._layout, self._number)
            context.bind(self._buffers)
            for tensor in self._layout.inputs:
                self._buffers[tensor.name].zero_()
            context.enqueue(padded)  # demanded before a capture: it does what is left to do for new shapes
            replay = self._layout.gpu.capture(self._layout.lane, context.launch)
        except (NotCapturableError, DeviceMemoryError) as e:
            LOG.warning("%s at %s runs without a CUDA graph: %s", self._layout.name, list(padded), e)
            self._layout.plan.logger.take_errors()
            return
        self._layout.plan.keep_kernels()
        while len(self._captured) >= MOST_CAPTURED:
            self._layout.lane.stream.synchronize()  # the oldest may still be running
            self._captured.popitem(last=False)
        outputs = {t.name: self._view(t, context.output_shape(t)) for t in self._layout.outputs}
        self._captured[padded] = _Captured(context, replay, outputs)

    def run(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Queue one run on the lane's stream, which is PyTorch's current one.

        Args:
            tensors: inputs within the profile, checked.

        Returns:
            Outputs by name, views of the buffers.

        Raises:
            BackendError: TensorRT refused to run.
        """
        rows = tensors[self._layout.inputs[0].name].shape[0] if self._layout.batched else 0
        shapes = self._fill(tensors)
        captured = self._captured.get(shapes)
        if captured is not None:
            captured.replay()
            return {t.name: self._rows(t, captured.outputs[t.name], rows) for t in self._layout.outputs}
        self._open.enqueue(shapes)
        return {t.name: self._rows(t, self._view(t, self._open.output_shape(t)), rows) for t in self._layout.outputs}

    def _rows(self, tensor: PlanTensor, value: Tensor, rows: int) -> Tensor:
        padded = self._layout.batched and tensor.shape and tensor.shape[0] == self._layout.inputs[0].shape[0]
        return value[:rows] if padded else value

    def _padded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if not self._layout.batched:
            return shape
        least, most = self._rows_allowed
        return (max(least, batch_size(shape[0], most)), *shape[1:])

    def _fill(self, tensors: Mapping[str, Tensor]) -> Shapes:
        """Copy the inputs into their buffers; returns the shapes that will run."""
        shapes = []
        for tensor in self._layout.inputs:
            value = tensors[tensor.name]
            shape = self._padded(tuple(value.shape))
            with torch.no_grad():
                self._view(tensor, shape)[: value.shape[0]].copy_(value)
            shapes.append(shape)
        return tuple(shapes)

    def _view(self, tensor: PlanTensor, shape: Iterable[int]) -> Tensor:
        lengths, dtype = tuple(shape), tensor.spec.dtype
        size = prod(lengths) * dtype.itemsize
        return self._buffers[tensor.name][:size].view(dtype).view(lengths)

    @property
    def captured(self) -> int:
        """How many shapes run from a CUDA graph."""
        return len(self._captured)

    def close(self) -> None:
        """Wait for what is queued, then release: captures, contexts, and last the memory that they used."""
        self._layout.lane.stream.synchronize()
        self._captured.clear()
        del self._open
        self._buffers.clear()
