"""Engines of a pack: converted, looked up in the cache, compiled, proven, and stored."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from filelock import FileLock

import trtswap
from trtswap.backends.device import Gpu
from trtswap.backends.onnxruntime import OnnxRuntimeEngine
from trtswap.backends.trt.engine import TensorRtEngine, tensors_of
from trtswap.backends.trt.plans import (
    PlanRecord,
    PlanTensor,
    StoredPlan,
    plan_key,
    plans_folder,
    stored_plans,
    write_plan,
)
from trtswap.engines.aim import GIB, Aim
from trtswap.engines.child import compile_apart
from trtswap.engines.compiler import BuildCancelled, compile_graph
from trtswap.engines.config import BuildConfig, Overrides, default_config
from trtswap.engines.half import Graphs, graphs_of
from trtswap.engines.progress import BuildListener, Silent
from trtswap.engines.timing_cache import TimingCache
from trtswap.engines.verify import check, compare
from trtswap.errors import EngineBuildError, InputError, PlanError, TrtswapError
from trtswap.export.closeness import Tolerance
from trtswap.model.pack import Pack, StageSpec

CPU = torch.device("cpu")
Tensors = tuple[PlanTensor, ...]
COMPILERS = ("onnx-parser", "torch-tensorrt")
MEMORY_SHARE = 0.6
"""Of a card's memory, the most that one plan's scratch memory may take: frames, weights and other plans want theirs."""


class Listener(BuildListener, Protocol):
    """Is told about the engines of a pack, too."""

    def engine(self, stage: str, reason: str) -> None:
        """An engine is about to be built, and why."""


class SilentListener(Silent):
    """Hears everything and says nothing."""

    def engine(self, stage: str, reason: str) -> None:
        """Nobody wants to know."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the engines of a pack are built.

    Attributes:
        precision: ``fp16``: float16 where the calibration allows it; ``fp32``: as the pack is.
        calibration: table that says what may be float16; the pack's own where None.
        video: clip to make such a table with first, in place of one that is there.
        overrides: what differs from the default configs.
        compiler: one of ``COMPILERS``.
        rebuild: build even what is in the cache.
        stages: names of the stages to build; all where empty.
        scratch: folder for graphs in lower precision, which go afterwards; the system's where None.
    """

    precision: str = "fp16"
    calibration: Path | None = None
    video: Path | None = None
    overrides: Overrides = field(default_factory=Overrides.none)
    compiler: str = "onnx-parser"
    rebuild: bool = False
    stages: tuple[str, ...] = ()
    scratch: Path | None = None

    def __post_init__(self) -> None:
        if self.precision not in ("fp16", "fp32"):
            raise InputError(f"precision is {self.precision!r}, expected fp16 or fp32.")
        if self.compiler not in COMPILERS:
            raise InputError(f"compiler is {self.compiler!r}, expected {' or '.join(COMPILERS)}.")


@dataclass(frozen=True)
class Built:
    """An engine of a pack.

    Attributes:
        stage: whose.
        plan: where it is.
        reason: why it was built; None: it was in the cache.
    """

    stage: str
    plan: StoredPlan
    reason: str | None


def build_engines(
    pack: Pack,
    aim: Aim,
    options: Options,
    *,
    listener: Listener | None = None,
    folder: Path | None = None,
    refused: dict[str, TrtswapError] | None = None,
) -> list[Built]:
    """Have an engine of every graph of a pack.

    What is in the cache for this very graph, config, library and GPU is taken, the rest is built. An engine that is
    built on the GPU is stored only after it has been compared with the pack's graph on the CPU; one that is made ahead
    of time is compared where it is used first.

    Args:
        pack: whose graphs.
        aim: what they are built for; see :func:`~trtswap.engines.aim.aim`.
        options: how.
        listener: is told how far it is.
        folder: of the cache; :func:`~trtswap.backends.trt.plans.plans_folder` where None.
        refused: takes the error of a stage that has none, and the others are built; where None, it is raised.

    Raises:
        EngineBuildError: a graph does not compile, or its engine is too far from its reference.
        DeviceMemoryError: the GPU's memory did not suffice.
        InputError: the pack has no such stage, or a config has values that are none.
        PlanError: the cache cannot be written to.
        PackError: the pack cannot be converted.
        PrecisionError: converted graphs are too far from the pack's, or its tolerances have an unknown name.
    """
    unknown = set(options.stages) - set(pack.graphs)
    if unknown:
        raise InputError(
            f"pack {pack.name} has no stage {', '.join(sorted(unknown))}; it has {', '.join(pack.graphs)}."
        )
    folder = folder or plans_folder()
    wanted = [pack.graphs[name] for name in options.stages or pack.graphs]
    listener = listener or SilentListener()
    with graphs_of(
        pack,
        options.precision,
        table=options.calibration,
        video=options.video,
        stop=listener.cancelled,
        scratch=options.scratch,
    ) as graphs:
        jobs = [_Job(pack, stage, graphs, aim, options, folder) for stage in wanted]
        return [built for job in jobs if (built := _run(job, listener, refused)) is not None]


def _run(job: "_Job", listener: Listener, refused: dict[str, TrtswapError] | None) -> Built | None:
    try:
        return job.run(listener)
    except BuildCancelled:
        raise
    except TrtswapError as e:
        if refused is None:
            raise
        refused[job.source.name] = e
        return None


@dataclass(frozen=True)
class _Job:
    """One engine.

    Attributes:
        source: the stage of the pack that the runtime will ask for.
        graphs: what is compiled: the pack's graphs, or the same in lower precision.
    """

    pack: Pack
    source: StageSpec
    graphs: Graphs
    aim: Aim
    options: Options
    folder: Path

    @property
    def compiler(self) -> str:
        """Shapes computed from the input's, as where frames are searched, are what torch-tensorrt cannot follow."""
        return COMPILERS[0] if self.source.kind.searches else self.options.compiler

    @property
    def precision(self) -> str:
        return self.graphs.precision(self.source.name)

    def run(self, listener: Listener) -> Built:
        default = default_config(self.source, self.aim.memory_bytes)
        config = self.options.overrides.apply(default, self.source.name)
        self._check(config)
        key = self._key(config)
        with _locked(self.folder, key):
            found = [p for p in stored_plans(self.folder) if p.record.source_sha256 == self.source.sha256]
            reason = self._why_build(key, config, found)
            if reason is None:
                plan = next(p for p in found if p.record.key == key)
                return Built(self.source.name, plan.prefer(), None)
            listener.engine(self.source.name, f"{reason}; compiler: {self.compiler}{self._room(config)}")
            return Built(self.source.name, self._build(key, config, listener), reason)

    def _key(self, config: BuildConfig) -> str:
        """Design, section 5: graph, library, GPUs, precision and profile, and all else that decides what comes out.

        Of a plan itself nothing: made twice, it has not the same bytes.
        """
        place = self.aim.place
        parts = {
            "graph": self.source.sha256,
            "conversion": self.graphs.conversion,
            "place": [place.library, place.version, place.gpu, *place.targets],
            "memory": self.aim.memory_bytes if self.aim.ahead_of_time else 0,
            "precision": self.precision,
            "config": config.as_table(),
            "compiler": self.compiler,
        }
        return plan_key(parts)

    def _why_build(self, key: str, config: BuildConfig, found: list[StoredPlan]) -> str | None:
        """Why the cache does not do; None where it does."""
        if self.options.rebuild:
            return "asked for"
        mine = next((p for p in found if p.record.key == key), None)
        if mine is not None:
            try:
                mine.read()
            except PlanError as e:
                return f"stale: {e}"
            return None
        if not found:
            others = (p.record for p in stored_plans(self.folder) if p.record.stage == self.source.name)
            changed = any(record.pack == self.pack.name for record in others)
            return "stale: the pack's graph has changed" if changed else "not built yet"
        if self.aim.ahead_of_time:
            found = [p for p in found if self._misfit(p.record) is None]
            if not found:
                return f"not built yet for {self.aim.place.hardware}"
        reasons = [self._difference(p.record, config) for p in found]
        return f"stale: {min(reasons, key=len)}"

    def _difference(self, record: PlanRecord, config: BuildConfig) -> str:
        """What differs between an engine that is there and the one that is wanted."""
        if misfit := self._misfit(record):
            return misfit
        if record.precision != self.precision:
            return f"the one that is there is {record.precision}, wanted is {self.precision}"
        if record.conversion != self.graphs.conversion:
            return "the graph is converted otherwise: with another calibration or another version of trtswap"
        if record.compiler != self.compiler:
            return f"the one that is there was made by {record.compiler}"
        table = config.as_table()
        changed = [k for k in table if record.config.get(k) != table[k]]
        changes = ", ".join(f"{k} was {record.config.get(k)}, is {table[k]}" for k in changed)
        if not changes and self.aim.ahead_of_time:
            return f"the one that is there is not for a card of {self.aim.memory_bytes / GIB:g} GiB"
        return changes or f"it was built with {record.place.title} for {record.place.hardware}"

    def _misfit(self, record: PlanRecord) -> str | None:
        here = self.aim.place
        if not self.aim.ahead_of_time:
            return record.misfit(here)
        made = record.place
        if made == here:
            return None
        return f"it was built with {made.title} for {made.hardware}, wanted is {here.title} for {here.hardware}"

    def _check(self, config: BuildConfig) -> None:
        """Refuse what a library that compiles ahead of time has not."""
        if not self.aim.ahead_of_time:
            return
        title = self.aim.library.kind.title
        if config.version_compatible or config.hardware_compatibility != "none":
            raise InputError(
                f"{title} knows no levels of compatibility: its engines are for the compute capabilities that are "
                "named, and for one version."
            )
        if self.compiler != COMPILERS[0]:
            raise InputError(f"compiler is {self.compiler!r}, which makes engines of TensorRT; expected onnx-parser.")

    def _build(self, key: str, config: BuildConfig, listener: Listener) -> StoredPlan:
        gpu = self.aim.gpu
        if gpu is None:
            return self._build_ahead(key, config, listener)
        tolerance = Tolerance.of(self.pack, self.precision)
        graph = self.graphs.stage(self.source.name)
        with OnnxRuntimeEngine(self.source.path, device=CPU, precision=self.source.precision) as reference:
            tensors = tensors_of(reference)
            started = time.monotonic()
            data, inputs, outputs = self._compile(graph, gpu, config, tensors, listener)
            seconds = round(time.monotonic() - started, 3)
            record = self._record(graph, config, data, key=key, inputs=inputs, outputs=outputs, build_seconds=seconds)
            with TensorRtEngine(self.source.path, record, data, gpu=gpu) as engine:
                figures = compare(self.source, engine, reference, config)
                check(self.source, figures, tolerance)
                record = replace(record, difference=figures.limited(), device_memory_bytes=engine.device_memory_bytes)
        return write_plan(record, data, self.folder)

    def _compile(
        self, graph: StageSpec, gpu: Gpu, config: BuildConfig, tensors: tuple[Tensors, Tensors], listener: Listener
    ) -> tuple[bytes, Tensors, Tensors]:
        """The plan, and the graph's inputs and outputs with the names that they have in it."""
        inputs, outputs = tensors
        with gpu.current():
            if self.compiler == "torch-tensorrt":
                from trtswap.engines.torch_tensorrt import compile_with_torch  # noqa: PLC0415 - an extra of its own

                return compile_with_torch(graph.path, inputs, outputs, config, device=gpu.device)
            cache = TimingCache(self.folder, self.aim.place)
            request = config.request(graph.path, [t.spec for t in inputs])
            made = compile_graph(self.aim.library, request, cache=cache, listener=listener)
            return made.plan, inputs, outputs

    def _build_ahead(self, key: str, config: BuildConfig, listener: Listener) -> StoredPlan:
        """For GPUs that are not here, in a process of its own; with as many rows as their memory has room for."""
        graph = self.graphs.stage(self.source.name)
        inputs, outputs = ([PlanTensor.of(spec) for spec in specs] for specs in self.source.contract)
        started = time.monotonic()
        while True:
            request = config.request(graph.path, [t.spec for t in inputs], self.aim.place.targets)
            made = compile_apart(self.aim.library, request, listener)
            if made.memory_bytes <= MEMORY_SHARE * self.aim.memory_bytes:
                break
            config, reason = self._smaller(config, made.memory_bytes)
            listener.engine(self.source.name, reason)
        record = self._record(
            graph, config, made.plan, key=key, inputs=tuple(inputs), outputs=tuple(outputs),
            build_seconds=round(time.monotonic() - started, 3),
        )  # fmt: skip
        return write_plan(replace(record, device_memory_bytes=made.memory_bytes), made.plan, self.folder)

    def _room(self, config: BuildConfig) -> str:
        """What an engine for GPUs elsewhere may take, for people, before it is built."""
        if not self.aim.ahead_of_time:
            return ""
        memory = self.aim.memory_bytes / GIB
        return f"; up to {config.most_rows} at once, in at most {MEMORY_SHARE * memory:.1f} of {memory:.1f} GiB"

    def _smaller(self, config: BuildConfig, memory_bytes: int) -> tuple[BuildConfig, str]:
        """The config for half as many rows, and why."""
        rows = config.most_rows
        used, limit = memory_bytes / GIB, MEMORY_SHARE * self.aim.memory_bytes / GIB
        asked = {"batch", "faces", "profiles"} & {
            *self.options.overrides.everywhere, *self.options.overrides.stages.get(self.source.name, {})
        }  # fmt: skip
        if asked or rows == 1:
            raise EngineBuildError(
                f"the engine of {self.source.name} takes {used:.1f} GiB of device memory for {rows} at once, more than "
                f"{MEMORY_SHARE:.0%} of the card's {self.aim.memory_bytes / GIB:.1f} GiB. Build for fewer --faces and "
                "a smaller --batch, or name the card's --memory."
            )
        return config.halved(), f"{rows} at once take {used:.1f} GiB, more than the {limit:.1f} GiB there are for it"

    def _record(self, graph: StageSpec, config: BuildConfig, data: bytes, **known: Any) -> PlanRecord:
        """The record of a plan; ``known`` has what is known of it beside."""
        return PlanRecord(
            pack=self.pack.name,
            stage=self.source.name,
            source_sha256=self.source.sha256,
            graph_sha256=graph.sha256,
            conversion=self.graphs.conversion,
            precision=graph.precision,
            compiler=self.compiler,
            config=config.as_table(),
            place=self.aim.place,
            cuda=self.aim.gpu.facts.cuda if self.aim.gpu else None,
            driver=self.aim.gpu.facts.driver if self.aim.gpu else None,
            plan_sha256=hashlib.sha256(data).hexdigest(),
            plan_bytes=len(data),
            device_memory_bytes=0,
            trtswap=trtswap.__version__,
            **known,
        )


@contextmanager
def _locked(folder: Path, key: str) -> Iterator[None]:
    """Two processes that want the same engine: the second finds what the first has built."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".{key}.lock")
        lock.acquire()
    except OSError as e:
        raise PlanError(f"{folder} cannot be written to: {e.strerror}. Give another in $TRTSWAP_ENGINES.") from e
    try:
        yield
    finally:
        lock.release()
