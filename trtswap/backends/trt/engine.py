"""TensorRT as an engine: a plan on a GPU, without waiting on the host and without allocating once it is warm."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import tensorrt as trt
from torch import Tensor

from trtswap.backends.device import Gpu
from trtswap.backends.graph_engine import GraphEngine
from trtswap.backends.trt.context import PlanContext
from trtswap.backends.trt.lane import Lane, Lanes
from trtswap.backends.trt.library import DTYPES, LoadedPlan, place_of
from trtswap.backends.trt.plans import PlanRecord, PlanTensor, find_plan
from trtswap.errors import InputError, PlanError

Profile = Mapping[str, tuple[int, int]]
"""Smallest and largest length of each dynamic dimension."""


class TensorRtEngine(GraphEngine):
    """A plan with an execution context for every stream and optimisation profile that it is called with.

    Work is queued on the caller's current stream, or on one of its own, ordered with the caller's, where that is the
    default stream. Nothing waits on the host once a stream, a profile and a batch size have been seen.

    Ownership: outputs are views of buffers that the next call on the same stream writes into, as the contract allows.

    Args:
        file: the graph that the plan was made of, for messages.
        record: of the plan.
        data: the plan; its hash was checked.
        gpu: where it runs.
        beside: an engine that is used by the same thread; both share scratch memory.

    Raises:
        PlanError: TensorRT does not take the plan, or it is not what its record says.
    """

    backend = "tensorrt"

    def __init__(
        self, file: Path, record: PlanRecord, data: bytes, *, gpu: Gpu, beside: "TensorRtEngine | None" = None
    ) -> None:
        super().__init__(
            file,
            device=gpu.device,
            precision=record.precision,
            inputs=[t.spec for t in record.inputs],
            outputs=[t.spec for t in record.outputs],
        )
        self.record = record
        self._gpu = gpu
        self._lanes: Lanes = Lanes(gpu) if beside is None else beside._lanes
        self._contexts: dict[tuple[Lane, int], PlanContext] = {}
        self._plan = LoadedPlan(data, name=file.name, host_code=record.version_compatible)
        self._bound = self._check_tensors()
        self.profiles = [self._profile(i) for i in range(self._plan.engine.num_optimization_profiles)]
        first = [t.shape[0] if t.shape else None for t in self._bound]
        self._batch = first[0] if isinstance(first[0], str) and len(set(first)) == 1 else None

    @classmethod
    def open(cls, file: Path, sha256: str, *, gpu: Gpu, beside: "TensorRtEngine | None" = None) -> Self:
        """Load the stored plan of a graph.

        Raises:
            PlanError: there is none for this TensorRT and GPU, or it is damaged.
            BackendError: this version of TensorRT is not supported.
        """
        stored = find_plan(sha256, place_of(gpu), graph=file.name)
        return cls(file, stored.record, stored.read(), gpu=gpu, beside=beside)

    def _check_tensors(self) -> tuple[PlanTensor, ...]:
        """Hold the plan's tensors against its record; returns the inputs that it has.

        TensorRT may drop an input that nothing in the graph uses.
        """
        engine = self._plan.engine
        found = {engine.get_tensor_name(i): i for i in range(engine.num_io_tensors)}
        wanted = [*((t, trt.TensorIOMode.INPUT) for t in self.record.inputs)]
        wanted += [(t, trt.TensorIOMode.OUTPUT) for t in self.record.outputs]
        for tensor, mode in wanted:
            name = tensor.binding
            if name not in found and mode == trt.TensorIOMode.INPUT:
                continue
            fits = (
                name in found
                and engine.get_tensor_mode(name) == mode
                and DTYPES.get(engine.get_tensor_dtype(name)) == tensor.spec.dtype
                and len(engine.get_tensor_shape(name)) == len(tensor.shape)
            )
            if not fits:
                raise PlanError(
                    f"{self.file.name}: the engine has tensors {', '.join(found)}; its record says {tensor.spec} as "
                    f"{name}. Build it again with `trtswap build-engines`."
                )
        bound = tuple(t for t in self.record.inputs if t.binding in found)
        if not bound:
            raise PlanError(
                f"{self.file.name}: the engine has none of its inputs: nothing in the graph depends on them."
            )
        return bound

    def _profile(self, index: int) -> Profile:
        """What a profile allows for each dynamic dimension; a dimension of several inputs gets what all allow."""
        ranges: dict[str, tuple[int, int]] = {}
        for tensor in self._bound:
            low, _, high = self._plan.engine.get_tensor_profile_shape(tensor.binding, index)
            for dim, least, most in zip(tensor.shape, low, high, strict=True):
                if isinstance(dim, str):
                    before = ranges.get(dim, (least, most))
                    ranges[dim] = max(before[0], least), min(before[1], most)
        return ranges

    def _run(self, tensors: Mapping[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
        profile = self._profile_for(sizes)
        callers = self._gpu.current_stream()
        lane = self._lanes.of(callers)
        with lane.entered(callers):
            context = self._contexts.get((lane, profile))
            if context is None:
                context = self._contexts[lane, profile] = self._new_context(lane, profile)
            return context.run(tensors)

    def _profile_for(self, sizes: Mapping[str, int]) -> int:
        """The profile that holds the sizes; of several, the one that allows the least beyond them.

        A batch that is too small is none: it is padded.
        """
        fitting = [
            i
            for i, profile in enumerate(self.profiles)
            if all(
                (least <= sizes[dim] or dim == self._batch) and sizes[dim] <= most
                for dim, (least, most) in profile.items()
            )
        ]
        if not fitting:
            given = ", ".join(f"{dim}={size}" for dim, size in sizes.items())
            allowed = " or ".join(
                ", ".join(f"{dim}={least}..{most}" for dim, (least, most) in profile.items())
                for profile in self.profiles
            )
            raise InputError(
                f"{self.file.name}: {given} is outside of what the engine was built for: {allowed}. Use a smaller "
                "batch or piece, or build engines for these sizes: `trtswap build-engines --batch 1,8,N --faces 1,4,N`."
            )
        return min(fitting, key=lambda i: [most for _, most in self.profiles[i].values()])

    def _new_context(self, lane: Lane, profile: int) -> PlanContext:
        return PlanContext(
            self._plan,
            self._gpu,
            lane,
            name=self.file.name,
            inputs=self._bound,
            outputs=self.record.outputs,
            profile=profile,
            batched=self._batch is not None,
        )

    @property
    def device_memory_bytes(self) -> int:
        """Scratch memory that the most demanding profile needs."""
        return self._plan.engine.device_memory_size_v2

    @property
    def recordings(self) -> tuple[int, int]:
        """(shapes that run from a CUDA graph, shapes seen), over all streams."""
        contexts = self._contexts.values()
        return sum(c.recorded for c in contexts), sum(c.seen for c in contexts)

    def _release(self) -> None:
        """Contexts first, then the engine, then the runtime: TensorRT demands this order."""
        while self._contexts:
            self._contexts.popitem()[1].close()
        self._plan.close()


def tensors_of(engine: GraphEngine) -> tuple[tuple[PlanTensor, ...], tuple[PlanTensor, ...]]:
    """Inputs and outputs of a graph that another backend has opened, for the record of its plan."""
    inputs, outputs = engine.inputs.values(), engine.outputs.values()
    return tuple(PlanTensor.of(s) for s in inputs), tuple(PlanTensor.of(s) for s in outputs)
