"""TensorRT as an engine: a plan on a GPU, without waiting on the host once it is prepared."""

from collections.abc import Mapping
from math import log2
from pathlib import Path
from typing import Self

from torch import Tensor

from trtswap.backends.device import Gpu
from trtswap.backends.graph_engine import GraphEngine
from trtswap.backends.trt.context import Layout, PlanProfile
from trtswap.backends.trt.kernels import KernelFile
from trtswap.backends.trt.library import find_library
from trtswap.backends.trt.loaded import LoadedPlan, dtypes
from trtswap.backends.trt.plans import PlanRecord, PlanTensor, StoredPlan, find_plan, places_here
from trtswap.errors import InputError, PlanError

Profile = Mapping[str, tuple[int, int, int]]
"""Smallest, best and largest length of each dynamic dimension."""


class TensorRtEngine(GraphEngine):
    """A plan with buffers and execution contexts for every optimisation profile that it is used with.

    Work is queued on the stream of the engine's role, one call after the other, ordered after and before the caller's
    current stream where that is another. Nothing waits on the host, but for the first call in a profile that nothing
    was prepared in.

    Args:
        file: the graph that the plan was made of, for messages.
        record: of the plan.
        data: the plan; its hash was checked.
        gpu: where it runs.
        role: on whose lane; the engines of one share scratch memory.
        kernels: where kernels are kept that are finished here; nowhere if None.

    Raises:
        PlanError: TensorRT does not take the plan, or it is not what its record says.
        DeviceMemoryError: there is no room for its scratch memory.
    """

    backend = "tensorrt"
    stored: StoredPlan | None = None
    """The plan on disk that it was opened from."""
    here = ""
    """GPU and library that it runs on, for people and for proofs."""

    def __init__(
        self,
        file: Path,
        record: PlanRecord,
        data: bytes,
        *,
        gpu: Gpu,
        role: str = "main",
        kernels: KernelFile | None = None,
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
        self._lane = gpu.lane(role)
        self._in_use: dict[int, PlanProfile] = {}
        with gpu.current():
            library = find_library(record.place.library)
            self._plan = LoadedPlan(library, data, name=file.name, host_code=record.version_compatible, kernels=kernels)
        self._bound = self._check_tensors()
        self.profiles = [self._profile(i) for i in range(self._plan.engine.num_optimization_profiles)]
        first = [t.shape[0] if t.shape else None for t in self._bound]
        self._batch = first[0] if isinstance(first[0], str) and len(set(first)) == 1 else None
        if isinstance(first[0], str):
            self.max_rows = max(profile[first[0]][2] for profile in self.profiles)
        # Asked for now, so that what is captured once all engines of a role are open shares one piece.
        self._scratch = self._lane.scratch(max(1, self.device_memory_bytes))

    @classmethod
    def open(cls, file: Path, sha256: str, *, gpu: Gpu, role: str = "main", host_code: bool = False) -> Self:
        """Load the stored plan of a graph.

        Args:
            host_code: load one that carries code for the CPU, too. That a plan does so stands in a file beside it, and
                who can write there would otherwise decide what runs in this process.

        Raises:
            PlanError: there is none for the libraries and the GPU here, it is damaged, or it carries code for the CPU.
            BackendError: no library is here, or none of a version that is supported.
        """
        places = {place.library: place for place in places_here(gpu)}
        stored = find_plan(sha256, [*places.values()], graph=file.name)
        if stored.record.version_compatible and not host_code:
            raise PlanError(
                f"{file.name}: its engine {stored.path.name} is version-compatible: it carries code for the CPU. If "
                "you built it yourself, allow that with --host-code, or RuntimeOptions(host_code=True)."
            )
        here = places[stored.record.place.library]
        kernels = KernelFile(stored.path, here)
        engine = cls(file, stored.record, stored.read(), gpu=gpu, role=role, kernels=kernels)
        engine.stored, engine.here = stored, f"{here.hardware}, {here.title}"
        return engine

    def _check_tensors(self) -> tuple[PlanTensor, ...]:
        """Hold the plan's tensors against its record; returns the inputs that it has.

        TensorRT may drop an input that nothing in the graph uses.
        """
        trt = self._plan.library.trt
        kinds = dtypes(self._plan.library)
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
                and kinds.get(engine.get_tensor_dtype(name)) == tensor.spec.dtype
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
        ranges: dict[str, tuple[int, int, int]] = {}
        for tensor in self._bound:
            shapes = self._plan.engine.get_tensor_profile_shape(tensor.binding, index)
            for dim, least, best, most in zip(tensor.shape, *shapes, strict=True):
                if isinstance(dim, str):
                    before = ranges.get(dim, (least, best, most))
                    ranges[dim] = max(before[0], least), before[1], min(before[2], most)
        return ranges

    def _run(self, tensors: Mapping[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
        number = self._profile_for(sizes)
        with self._lane.entered() as callers:
            outputs = {name: value.clone() for name, value in self._profile_in_use(number).run(tensors).items()}
            for value in outputs.values():
                self._gpu.keep(value, callers)
        return outputs

    def _prepare(self, shapes: Mapping[str, tuple[int, ...]], sizes: Mapping[str, int]) -> None:
        number = self._profile_for(sizes)
        with self._lane.entered():
            self._profile_in_use(number).capture(shapes)

    def _profile_in_use(self, number: int) -> PlanProfile:
        """Called on the lane."""
        if number not in self._in_use:
            self._in_use[number] = PlanProfile(self._layout, number)
            self._scratch = self._lane.scratch(max(1, self.device_memory_bytes))
        return self._in_use[number]

    def _profile_for(self, sizes: Mapping[str, int]) -> int:
        """The profile that holds the sizes; of several, the one that is tuned for the nearest, by ratio.

        A batch that is too small is none: it is padded.
        """
        fitting = [
            i
            for i, profile in enumerate(self.profiles)
            if all(
                (least <= sizes[dim] or dim == self._batch) and sizes[dim] <= most
                for dim, (least, _, most) in profile.items()
            )
        ]
        if not fitting:
            given = ", ".join(f"{dim}={size}" for dim, size in sizes.items())
            allowed = " or ".join(
                ", ".join(f"{dim}={least}..{most}" for dim, (least, _, most) in profile.items())
                for profile in self.profiles
            )
            raise InputError(
                f"{self.file.name}: {given} is outside of what the engine was built for: {allowed}. Use a smaller "
                "batch or face_batch, or build engines for these sizes: "
                "`trtswap build-engines --batch 1,8,N --faces 1,4,N`."
            )
        return min(fitting, key=lambda number: self._distance(number, sizes))

    def _distance(self, number: int, sizes: Mapping[str, int]) -> tuple[float, list[int]]:
        """How far the sizes are from those that a profile is tuned for; among equals the tightest is the nearest."""
        profile = self.profiles[number]
        ratios = [abs(log2(sizes[dim] / best)) for dim, (_, best, _) in profile.items()]
        return sum(ratios), [most for _, _, most in profile.values()]

    @property
    def _layout(self) -> Layout:
        return Layout(
            self._plan,
            self._gpu,
            self._lane,
            name=self.file.name,
            inputs=self._bound,
            outputs=self.record.outputs,
            batched=self._batch is not None,
        )

    @property
    def device_memory_bytes(self) -> int:
        """Scratch memory that the most demanding profile needs."""
        return self._plan.engine.device_memory_size_v2

    @property
    def captured(self) -> int:
        """How many sets of shapes run from a CUDA graph."""
        return sum(profile.captured for profile in self._in_use.values())

    def _release(self) -> None:
        """Contexts first, then the engine, then the runtime: TensorRT demands this order."""
        with self._lane.entered():
            while self._in_use:
                self._in_use.popitem()[1].close()
            self._plan.close()
            del self._scratch


def tensors_of(engine: GraphEngine) -> tuple[tuple[PlanTensor, ...], tuple[PlanTensor, ...]]:
    """Inputs and outputs of a graph that another backend has opened, for the record of its plan."""
    inputs, outputs = engine.inputs.values(), engine.outputs.values()
    return tuple(PlanTensor.of(s) for s in inputs), tuple(PlanTensor.of(s) for s in outputs)
