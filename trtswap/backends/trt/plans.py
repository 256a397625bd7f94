"""Compiled engines on disk: a plan, and beside it a JSON record of what it is, what it was made of, and for which GPU.

A plan is code that runs on the GPU and in this process. It is read only if its hash is the one in its record, and only
where it was made for: another TensorRT or another GPU makes it stale. What is stale is never loaded.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

import torch

from trtswap.backends.engine import TensorSpec
from trtswap.errors import BusyError, PlanError, WriteError
from trtswap.files import write_whole
from trtswap.files.tables import read_json

FORMAT = 2
R = TypeVar("R", "Place", "PlanTensor", "PlanRecord")
BUILD = "`trtswap build-engines`"
AMPERE = (8, 0)


@dataclass(frozen=True)
class Place:
    """What a plan is tied to: TensorRT's version, the GPU's name and its compute capability."""

    tensorrt: str
    gpu: str
    compute_capability: str


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
        place: what the plan is tied to, with ``cuda`` and ``driver`` of the machine for people.
        plan_sha256, plan_bytes: of the plan's file.
        device_memory_bytes: scratch memory that it needs to run.
        build_seconds: how long the compiler took.
        difference: figures of the comparison with the FP32 reference.
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
    trtswap: str = ""
    chosen: int = 0
    format: int = FORMAT

    @property
    def version_compatible(self) -> bool:
        return bool(self.config.get("version_compatible"))

    def misfit(self, place: Place) -> str | None:
        """Why the plan cannot run in a place; None where it can."""
        if (self.place.tensorrt != place.tensorrt) and not (
            self.version_compatible and _version(self.place.tensorrt) <= _version(place.tensorrt)
        ):
            return f"it was built with TensorRT {self.place.tensorrt}, this is {place.tensorrt}"
        level = self.config.get("hardware_compatibility", "none")
        same = self.place.compute_capability == place.compute_capability
        if level == "same-capability" and same:
            return None
        if level == "ampere-plus" and _version(place.compute_capability) >= AMPERE:
            return None
        if (self.place.gpu, self.place.compute_capability) != (place.gpu, place.compute_capability):
            made, here = (f"{p.gpu} (compute capability {p.compute_capability})" for p in (self.place, place))
            return f"it was built for {made}, this is {here}"
        return None


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


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

    def remove(self) -> None:
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
        values["place"] = _typed(Place(**data["place"]))
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


def find_plan(source_sha256: str, place: Place, *, graph: str, folder: Path | None = None) -> StoredPlan:
    """The plan of a graph for this place.

    Args:
        source_sha256: hash of the pack's graph.
        place: where it is to run.
        graph: the graph's name, for messages.
        folder: where plans are; :func:`plans_folder` where None.

    Raises:
        PlanError: there is none; says why those that are there do not fit.
    """
    of_graph = [p for p in stored_plans(folder) if p.record.source_sha256 == source_sha256]
    misfits = [p.record.misfit(place) for p in of_graph]
    for plan, misfit in zip(of_graph, misfits, strict=True):
        if misfit is None:
            return plan
    reasons = list(dict.fromkeys(m for m in misfits if m))
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


def missing_plans(graphs: Sequence[tuple[str, str]], place: Place, folder: Path | None = None) -> list[str]:
    """Names of the graphs, given as (name, sha256), that have no plan for a place."""
    fitting = {p.record.source_sha256 for p in stored_plans(folder) if p.record.misfit(place) is None}
    return [name for name, sha256 in graphs if sha256 not in fitting]
