"""Compiled engines on disk: a plan, and beside it a JSON record of what it is, what it was made of, and for which GPU.

A plan is code that runs on the GPU and in this process. It is read only if its hash is the one in its record, and only
where it was made for: another library, version or GPU makes it stale. What is stale is never loaded. Plans of several
libraries lie side by side.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

import torch

from trtswap.backends.device import Gpu
from trtswap.backends.engine import TensorSpec
from trtswap.backends.trt.library import KINDS, RTX_ON, Library, installed_libraries
from trtswap.errors import BusyError, PlanError, WriteError
from trtswap.files import write_whole
from trtswap.files.tables import read_json

FORMAT = 3
R = TypeVar("R", "Place", "PlanTensor", "PlanRecord")
BUILD = "`trtswap build-engines`"
AMPERE = (8, 0)


@dataclass(frozen=True)
class Place:
    """What a plan is tied to, or what is here to run one.

    Attributes:
        library: a name in :data:`~trtswap.backends.trt.library.KINDS`; ``version`` is its version.
        gpu: the GPU's name; empty for a plan that is for every GPU of its targets.
        targets: compute capabilities; one, the GPU's own, where ``gpu`` is named. ``12.0+`` is all from 12.0 on.
    """

    library: str
    version: str
    gpu: str
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.library not in KINDS or not self.targets or not all(type(t) is str for t in self.targets):
            raise TypeError(f"place is {self!r}")

    @staticmethod
    def of(library: Library, gpu: Gpu) -> "Place":
        """Where plans of a library run here, and what one that is built here is tied to if it is timed on the GPU."""
        return Place(library.kind.name, library.version, gpu.facts.name, (gpu.facts.compute_capability,))

    @property
    def title(self) -> str:
        """Library and version, for people."""
        return f"{KINDS[self.library].title} {self.version}"

    @property
    def hardware(self) -> str:
        """What GPUs, for people."""
        capabilities = ", ".join(self.targets)
        return f"{self.gpu} (compute capability {capabilities})" if self.gpu else f"compute capability {capabilities}"

    def covers(self, capability: str) -> bool:
        """Whether a compute capability is among the targets."""
        later = RTX_ON in self.targets and _version(capability) >= _version(RTX_ON)
        return later or capability in self.targets


@dataclass(frozen=True)
class PlanTensor:
    """An input or output: its spec as the graph names it, and the name that it has in the plan."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    binding: str

    def __post_init__(self) -> None:
        if not isinstance(getattr(torch, self.dtype, None), torch.dtype):
            raise TypeError(f"dtype is {self.dtype!r}")
        if not all(type(dim) in (int, str) for dim in self.shape):
            raise TypeError(f"shape is {self.shape!r}")

    @property
    def spec(self) -> TensorSpec:
        return TensorSpec(self.name, self.shape, getattr(torch, self.dtype))

    @staticmethod
    def of(spec: TensorSpec, binding: str | None = None) -> "PlanTensor":
        return PlanTensor(spec.name, spec.shape, str(spec.dtype).removeprefix("torch."), binding or spec.name)


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """What stands in the JSON file beside a plan.

    Attributes:
        key: names the files; a hash of everything that decides what the compiler makes.
        pack, stage: where the graph is from, for people.
        source_sha256: hash of the pack's graph, by which the runtime finds the plan.
        graph_sha256: hash of the graph that was compiled: the source, or the source in lower precision.
        conversion: how the one was made of the other; None where they are the same.
        precision: ``fp32``, ``fp16`` ...
        compiler: ``onnx-parser`` or ``torch-tensorrt``.
        config: profiles, limits and levels of the build, as it was given.
        inputs, outputs: of the graph.
        place: what the plan is tied to, with ``cuda`` and ``driver`` of the machine for people, if it had a GPU.
        plan_sha256, plan_bytes: of the plan's file.
        device_memory_bytes: scratch memory that it needs to run, as the library states.
        build_seconds: how long the compiler took.
        difference: figures of the comparison with the FP32 reference, on the GPU that it was built on.
        proofs: the same of one that was made ahead of time, by the GPU that it was compared on.
        trtswap: version that built it.
        chosen: how often plans of this graph had been built or asked for when this one was, it included: among several
            that fit, the runtime takes the one with the highest number.
    """

    key: str
    pack: str
    stage: str
    source_sha256: str
    graph_sha256: str
    conversion: str | None = None
    precision: str
    compiler: str
    config: Mapping[str, Any]
    inputs: tuple[PlanTensor, ...]
    outputs: tuple[PlanTensor, ...]
    place: Place
    cuda: str | None
    driver: str | None
    plan_sha256: str
    plan_bytes: int
    device_memory_bytes: int
    build_seconds: float
    difference: Mapping[str, float] = field(default_factory=dict)
    proofs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    trtswap: str = ""
    chosen: int = 0
    format: int = FORMAT

    @property
    def version_compatible(self) -> bool:
        return bool(self.config.get("version_compatible"))

    def misfit(self, place: Place) -> str | None:
        """Why the plan cannot run in a place; None where it can."""
        if self.place.library != place.library:
            return f"it was built with {self.place.title}, this is {place.title}"
        if (self.place.version != place.version) and not (
            self.version_compatible and _version(self.place.version) <= _version(place.version)
        ):
            return f"it was built with {self.place.title}, this is {place.version}"
        (capability,) = place.targets
        level = self.config.get("hardware_compatibility", "none")
        if level == "ampere-plus" and _version(capability) >= AMPERE:
            return None
        for_all = not self.place.gpu or level == "same-capability"
        if self.place.covers(capability) and (for_all or self.place.gpu == place.gpu):
            return None
        return f"it was built for {self.place.hardware}, this is {place.hardware}"

    def misfit_everywhere(self, places: "Sequence[Place]") -> str | None:
        """Why the plan can run in none of several places, at least one; None where it can.

        What is said of its own library says most.
        """
        reasons = {place.library: self.misfit(place) for place in places}
        if None in reasons.values():
            return None
        return reasons.get(self.place.library) or next(iter(reasons.values()))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.rstrip("+").split(".") if part.isdigit())


def places_here(gpu: Gpu) -> list[Place]:
    """Where plans can run: the GPU, with each library that is installed.

    Raises:
        BackendError: no library is here.
    """
    return [Place.of(library, gpu) for library in installed_libraries()]


def plans_folder() -> Path:
    """Where plans are kept: ``$TRTSWAP_ENGINES``, else ``$XDG_CACHE_HOME/trtswap/engines``."""
    if folder := os.environ.get("TRTSWAP_ENGINES"):
        return Path(folder)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "trtswap" / "engines"


def plan_key(parts: Mapping[str, Any]) -> str:
    """A short hash of everything that decides what a compiler makes."""
    text = json.dumps(parts, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True)
class StoredPlan:
    """A plan on disk.

    Attributes:
        record: what its JSON file says.
        path: the plan's own file.
    """

    record: PlanRecord
    path: Path

    @property
    def sidecar(self) -> Path:
        return self.path.with_suffix(".json")

    def read(self) -> bytes:
        """The plan, if it is the one that its record describes.

        Raises:
            PlanError: it is missing, cut off, or was changed.
        """
        try:
            data = self.path.read_bytes()
        except OSError as e:
            raise PlanError(f"{self.path} cannot be read: {e.strerror}. Build it again with {BUILD}.") from e
        if (found := hashlib.sha256(data).hexdigest()) != self.record.plan_sha256:
            raise PlanError(
                f"{self.path} has {len(data)} bytes and sha256 {found}; its record says {self.record.plan_bytes} bytes "
                f"and {self.record.plan_sha256}. It is damaged or was changed, and is not loaded. Build it again with "
                f"{BUILD}."
            )
        return data

    def prefer(self) -> "StoredPlan":
        """Make it the one that the runtime takes among plans of the same graph: the one built or asked for last.

        Written into its record, so that it survives copies of the files.
        """
        others = [p for p in stored_plans(self.path.parent) if p.record.source_sha256 == self.record.source_sha256]
        latest = max((p.record.chosen for p in others if p.path != self.path), default=0)
        if self.record.chosen > latest:
            return self
        chosen = StoredPlan(replace(self.record, chosen=latest + 1), self.path)
        write_whole(chosen.sidecar, _as_json(chosen.record), overwrite=True)
        return chosen

    def proven(self, here: str, figures: Mapping[str, float]) -> "StoredPlan":
        """The same with a proof in its record, on disk, too, as far as it can be written there."""
        record = read_record(self.sidecar) or self.record  # others may have written into it in the meantime
        proven = StoredPlan(replace(record, proofs={**record.proofs, here: dict(figures)}), self.path)
        with suppress(BusyError, WriteError, OSError):  # it is proven again by the next process then
            write_whole(proven.sidecar, _as_json(proven.record), overwrite=True)
        return proven

    def remove(self) -> None:
        for kernels in self.path.parent.glob(f"{self.path.stem}.*.kernels"):
            kernels.unlink(missing_ok=True)
        self.sidecar.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def stored_plans(folder: Path | None = None) -> list[StoredPlan]:
    """Every plan with a readable record, the one to prefer first. Records of another format are passed over."""
    folder = folder or plans_folder()
    records = ((path, read_record(path)) for path in sorted(folder.glob("*.json")))
    found = [StoredPlan(record, path.with_suffix(".plan")) for path, record in records if record is not None]
    return sorted(found, key=lambda plan: (-plan.record.chosen, plan.path.name))


def read_record(path: Path) -> PlanRecord | None:
    """A record from its file; None if it is none of this version's."""
    try:
        data = read_json(path)
        if data["format"] != FORMAT:
            return None
        known = {f.name for f in fields(PlanRecord)}
        values = {key: value for key, value in data.items() if key in known}
        values["place"] = _typed(Place(**(data["place"] | {"targets": tuple(data["place"]["targets"])})))
        for kind in ("inputs", "outputs"):
            values[kind] = tuple(_typed(PlanTensor(**(t | {"shape": tuple(t["shape"])}))) for t in data[kind])
        return _typed(PlanRecord(**values))
    except (ValueError, KeyError, TypeError):
        return None


def _typed(record: R) -> R:
    """The same, if every value is of the declared kind.

    Raises:
        TypeError: one is not.
    """
    for entry in fields(record):
        declared: Any = entry.type
        kinds = get_args(declared) if isinstance(declared, UnionType) else (declared,)
        plain: tuple[type, ...] = tuple(get_origin(kind) or kind for kind in kinds)
        value = getattr(record, entry.name)
        if not isinstance(value, (*plain, int) if float in plain else plain) or isinstance(value, bool):
            raise TypeError(f"{entry.name} is {value!r}")
    return record


def find_plan(source_sha256: str, places: Sequence[Place], *, graph: str, folder: Path | None = None) -> StoredPlan:
    """The plan of a graph for here.

    Args:
        source_sha256: hash of the pack's graph.
        places: where it may run: :func:`places_here`.
        graph: the graph's name, for messages.
        folder: where plans are; :func:`plans_folder` where None.

    Raises:
        PlanError: there is none; says why those that are there do not fit.
    """
    of_graph = [p for p in stored_plans(folder) if p.record.source_sha256 == source_sha256]
    reasons: dict[str, None] = {}
    for plan in of_graph:
        misfit = plan.record.misfit_everywhere(places)
        if misfit is None:
            return plan
        reasons[misfit] = None
    why = f"the one that is there is stale: {'; '.join(reasons)}" if reasons else "none has been built"
    raise PlanError(f"{graph}: no TensorRT engine of this graph fits: {why}. Build it with {BUILD}.")


def write_plan(record: PlanRecord, plan: bytes, folder: Path | None = None) -> StoredPlan:
    """Write plan and record; each appears whole or not at all, the record last.

    Raises:
        BusyError: somebody else writes this very plan.
        PlanError: the folder cannot be written to.
    """
    folder = folder or plans_folder()
    stored = StoredPlan(record, folder / f"{record.stage}-{record.precision.replace('+', '-')}-{record.key}.plan")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stored.sidecar.unlink(missing_ok=True)
        write_whole(stored.path, plan, overwrite=True)
        write_whole(stored.sidecar, _as_json(record), overwrite=True)
        return stored.prefer()
    except BusyError:
        raise
    except (OSError, WriteError) as e:
        raise PlanError(f"{folder} cannot be written to: {e}. Give another folder in $TRTSWAP_ENGINES.") from e


def _as_json(record: PlanRecord) -> bytes:
    return json.dumps(asdict(record), indent=2, allow_nan=False).encode()


def missing_plans(graphs: Sequence[tuple[str, str]], places: Sequence[Place], folder: Path | None = None) -> list[str]:
    """Names of the graphs, given as (name, sha256), that have no plan for any of the places."""
    fitting = {p.record.source_sha256 for p in stored_plans(folder) if p.record.misfit_everywhere(places) is None}
    return [name for name, sha256 in graphs if sha256 not in fitting]
