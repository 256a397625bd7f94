"""CUDA graphs: a run is recorded once for each set of input shapes, and played back with one launch."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

# Each graph keeps the memory of its run; batches come in few sizes.
MAX_GRAPHS = 8
# Runs before a recording, in which libraries choose their kernels and allocate.
WARM_UP = 2

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Recorded:
    graph: torch.cuda.CUDAGraph
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


class GraphCache:
    """Plays back runs of a function whose work depends on the shapes of its inputs alone.

    Args:
        compute: makes outputs from inputs and from what was uploaded for these shapes before.
        device: a CUDA device.

    Shapes beyond the first ``MAX_GRAPHS`` sets, and those that cannot be recorded (with a warning), run plainly.
    """

    def __init__(
        self,
        compute: Callable[[Mapping[str, Tensor], dict[int, Tensor] | None], dict[str, Tensor]],
        device: torch.device,
    ) -> None:
        self._compute = compute
        self._device = device
        self._runs: dict[Shapes, int] = {}
        self._uploads: dict[Shapes, dict[int, Tensor]] = {}
        self._recorded: dict[Shapes, _Recorded] = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._broken = False

    def run(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs for these inputs; valid until the next call."""
        shapes = tuple(tuple(t.shape) for t in tensors.values())
        recorded = self._recorded.get(shapes) or self._try_to_record(shapes, tensors)
        if recorded is None:
            return self._compute(tensors, None if self._broken else self._uploads.setdefault(shapes, {}))
        for name, tensor in tensors.items():
            recorded.inputs[name].copy_(tensor, non_blocking=True)
        recorded.graph.replay()
        return dict(recorded.outputs)

    def _try_to_record(self, shapes: Shapes, tensors: Mapping[str, Tensor]) -> _Recorded | None:
        runs = self._runs[shapes] = self._runs.get(shapes, 0) + 1
        if self._broken or runs <= WARM_UP or len(self._recorded) >= MAX_GRAPHS:
            return None
        try:
            self._recorded[shapes] = self._record(tensors, self._uploads[shapes])
        except RuntimeError as error:
            self._broken = True
            warnings.warn(f"no CUDA graph could be recorded, so that launches take longer: {error}", stacklevel=2)
            return None
        return self._recorded[shapes]

    def _record(self, tensors: Mapping[str, Tensor], uploads: dict[int, Tensor]) -> _Recorded:
        inputs = {name: tensor.clone() for name, tensor in tensors.items()}
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        # Other threads go on with their own work while this one records.
        with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
            outputs = self._compute(inputs, uploads)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        return _Recorded(graph, inputs, outputs)
