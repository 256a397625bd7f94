"""CUDA graphs: a run is captured once for each set of input shapes, and played back with one launch."""

import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from trtswap.backends.device import Gpu, NotCapturableError, Stream
from trtswap.backends.lane import Lane

# Each graph keeps its inputs and outputs; a long life may see many sizes of pictures.
MOST_GRAPHS = 32
# Runs before a capture, in which libraries choose their kernels and allocate.
WARM_UP = 2

Shapes = tuple[tuple[int, ...], ...]
Compute = Callable[[Mapping[str, Tensor], dict[int, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True)
class _Captured:
    """A run, and all memory outside of the captures' own that it reads and writes."""

    replay: Callable[[], None]
    inputs: Mapping[str, Tensor]
    uploads: Mapping[int, Tensor]
    outputs: Mapping[str, Tensor]


class CapturedRuns:
    """Plays back runs of a function whose work depends on the shapes of its inputs alone.

    Args:
        compute: makes outputs from inputs and from what was uploaded for these shapes before.
        gpu: where.
        lane: on whose stream; captures of one lane share the memory of what is between inputs and outputs.
    """

    def __init__(self, compute: Compute, gpu: Gpu, lane: Lane) -> None:
        self._compute = compute
        self._gpu, self._lane = gpu, lane
        self._captured: OrderedDict[Shapes, _Captured] = OrderedDict()

    def capture(self, inputs: Mapping[str, Tensor]) -> None:
        """Capture the run for the shapes of these inputs, which become its own; says so where that cannot be.

        The shapes captured longest ago are forgotten where there are more than ``MOST_GRAPHS``.
        """
        shapes = _shapes(inputs)
        if shapes in self._captured:
            return
        uploads: dict[int, Tensor] = {}
        outputs: dict[str, Tensor] = {}

        def launch(_: Stream) -> bool:
            outputs.update(self._compute(inputs, uploads))
            return True

        with self._lane.entered():
            for _ in range(WARM_UP):
                self._compute(inputs, uploads)
            try:
                replay = self._gpu.capture(self._lane, launch)
            except NotCapturableError as e:
                warnings.warn(f"no CUDA graph could be captured, so that launches take longer: {e}", stacklevel=2)
                return
            while len(self._captured) >= MOST_GRAPHS:
                self._lane.stream.synchronize()  # the oldest may still be running
                self._captured.popitem(last=False)
            self._captured[shapes] = _Captured(replay, inputs, uploads, outputs)

    def run(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Outputs for these inputs, the caller's own; None where their shapes were not captured."""
        with self._lane.entered() as callers:
            captured = self._captured.get(_shapes(tensors))
            if captured is None:
                return None
            for name, tensor in tensors.items():
                captured.inputs[name].copy_(tensor, non_blocking=True)
            captured.replay()
            outputs = {name: value.clone() for name, value in captured.outputs.items()}
            for value in outputs.values():
                self._gpu.keep(value, callers)
        return outputs

    def __len__(self) -> int:
        return len(self._captured)

    def close(self) -> None:
        """Wait for what is queued, and forget everything."""
        self._lane.stream.synchronize()
        self._captured.clear()


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    return tuple(tuple(tensors[name].shape) for name in sorted(tensors))
