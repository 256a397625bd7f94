"""How a graph is compiled: ranges of its dynamic dimensions, limits, and levels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from trtswap.backends.engine import TensorSpec
from trtswap.backends.sizing import BUCKETS
from trtswap.engines.request import Request, Shapes
from trtswap.errors import EngineBuildError, InputError
from trtswap.files.tables import TableError, read_toml
from trtswap.model.pack import StageSpec
from trtswap.model.stages import STAGES

HARDWARE = ("none", "same-capability", "ampere-plus")
_GIB = 2**30
# A stride of the detector: the smallest picture it can search.
_STRIDE = 32
TUNED_FRAMES, TUNED_FACES = 8, 4  # rows that an engine is fastest for


@dataclass(frozen=True)
class Range:
    """Lengths of one dynamic dimension: smallest, the one that is tuned for, largest."""

    least: int
    best: int
    most: int

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.best <= self.most:
            raise InputError(f"a range is {self}, expected three numbers that do not fall, the first at least 1.")

    def __str__(self) -> str:
        return f"{self.least},{self.best},{self.most}"

    @staticmethod
    def parse(value: Any, name: str) -> "Range":
        """A range from ``"1,4,16"``, ``[1, 4, 16]`` or one number that stands for all three.

        Raises:
            InputError: it is none.
        """
        numbers = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
        try:
            found = [int(number) for number in numbers]
        except (TypeError, ValueError):
            found = []
        if len(found) not in (1, 3):
            raise InputError(f"{name} is {value!r}, expected MIN,BEST,MAX, such as 1,4,16, or one number.")
        return Range(*(found * 3)[:3])


Profile = Mapping[str, Range]
"""A range for every dynamic dimension, by its name in the graph: ``B``, ``N``, ``H``, ``W``."""


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """Everything beside the graph that decides what TensorRT makes.

    Attributes:
        profiles: the shapes that shall run; TensorRT tunes for each profile.
        workspace_bytes: most scratch memory that a kernel may take; None: what the GPU has.
        optimisation_level: 0 (fast build) to 5 (long search).
        hardware_compatibility: ``none``: for this model of GPU; ``same-capability``: for every one of its compute
            capability; ``ampere-plus``: for Ampere and newer, slower.
        version_compatible: runs on newer versions of TensorRT too; slower, and carries a runtime of its own.
        tf32: matrix products of float32 tensors may be rounded to 10 bits of mantissa. What stays float32 in a graph
            stays so for its precision, so the default is no.
    """

    profiles: tuple[Profile, ...]
    workspace_bytes: int | None = None
    optimisation_level: int = 3
    hardware_compatibility: str = "none"
    version_compatible: bool = False
    tf32: bool = False

    def __post_init__(self) -> None:
        if not self.profiles:
            raise InputError("profiles is empty, expected at least one.")
        if not 0 <= self.optimisation_level <= 5:
            raise InputError(f"optimisation_level is {self.optimisation_level}, expected 0 to 5.")
        if self.hardware_compatibility not in HARDWARE:
            raise InputError(
                f"hardware_compatibility is {self.hardware_compatibility!r}, expected {', '.join(HARDWARE)}."
            )
        if self.workspace_bytes is not None and self.workspace_bytes <= 0:
            raise InputError(f"workspace_bytes is {self.workspace_bytes}, expected a positive number.")

    @property
    def most_rows(self) -> int:
        """Frames or faces that fit at once."""
        return max(profile[dim].most for profile in self.profiles for dim in ("B", "N") if dim in profile)

    def halved(self) -> "BuildConfig":
        """For half as many rows at once."""
        most = max(1, self.most_rows // 2)
        return replace(
            self,
            profiles=tuple(
                {
                    dim: Range(min(r.least, most), min(r.best, most), min(r.most, most)) if dim in ("B", "N") else r
                    for dim, r in profile.items()
                }
                for profile in self.profiles
            ),
        )

    def as_table(self) -> dict[str, Any]:
        """For a plan's record: plain numbers and lists."""
        table = asdict(self)
        table["profiles"] = [{dim: [r.least, r.best, r.most] for dim, r in p.items()} for p in self.profiles]
        return table

    @staticmethod
    def from_table(table: Mapping[str, Any]) -> "BuildConfig":
        """The config that a plan's record tells of."""
        profiles = tuple({dim: Range(*numbers) for dim, numbers in p.items()} for p in table["profiles"])
        return BuildConfig(**{**table, "profiles": profiles})

    def request(self, graph: Path, inputs: Sequence[TensorSpec], targets: Sequence[str] = ()) -> Request:
        """What a library is asked for.

        Args:
            graph: ONNX file.
            inputs: its inputs with the names of their dynamic dimensions.
            targets: compute capabilities, for a library that compiles ahead of time.

        Raises:
            EngineBuildError: a dynamic dimension has no range.
        """
        return Request(
            graph=str(graph),
            profiles=[{spec.name: self.shapes(profile, spec) for spec in inputs} for profile in self.profiles],
            targets=list(targets),
            **{name: getattr(self, name) for name in SETTINGS},
        )

    def shapes(self, profile: Profile, spec: TensorSpec) -> Shapes:
        """Smallest, best and largest shape of an input.

        Raises:
            EngineBuildError: a dynamic dimension has no range.
        """
        missing = [dim for dim in spec.shape if isinstance(dim, str) and dim not in profile]
        if missing:
            raise EngineBuildError(
                f"input {spec} has no range for {', '.join(missing)}; the config has {', '.join(profile) or 'none'}. "
                "Give one in a file for --config: profiles = [{ N = [1, 4, 16] }]."
            )
        ranges = [Range(d, d, d) if isinstance(d, int) else profile[d] for d in spec.shape]
        return tuple(r.least for r in ranges), tuple(r.best for r in ranges), tuple(r.most for r in ranges)


SETTINGS = tuple(f.name for f in fields(BuildConfig) if f.name != "profiles")


def default_config(stage: StageSpec, memory_bytes: int) -> BuildConfig:
    """What suits most: room for every batch that a swap chooses by itself, tuned for a middle one.

    Args:
        stage: of the pack.
        memory_bytes: of the GPU; it decides how many faces there is room for: 8 below 12 GiB, 16 below 24 GiB, else 32.
    """
    room = 8 if memory_bytes < 12 * _GIB else 16 if memory_bytes < 24 * _GIB else 32
    if not stage.kind.searches:
        return BuildConfig(profiles=({"N": Range(1, TUNED_FACES, room)},))
    # Videos of 16:9 are searched at their own shape, upright ones at the same turned; each is tuned for.
    long, short = stage.size, -(-stage.size * 9 // 16 // _STRIDE) * _STRIDE
    batch = Range(1, TUNED_FRAMES, BUCKETS[-1])
    wide, tall = Range(_STRIDE, long, long), Range(_STRIDE, short, long)
    return BuildConfig(profiles=({"B": batch, "H": tall, "W": wide}, {"B": batch, "H": wide, "W": tall}))


@dataclass(frozen=True)
class Overrides:
    """What the user wants otherwise: values by key of the config, for all graphs and for single ones.

    ``batch`` and ``faces`` are short for the ranges of ``B`` and ``N`` in every profile, ``workspace_mib`` for
    ``workspace_bytes``.
    """

    everywhere: Mapping[str, Any]
    stages: Mapping[str, Mapping[str, Any]]

    def __post_init__(self) -> None:
        for table in (self.everywhere, *self.stages.values()):
            for key in ("batch", "faces"):
                if key in table:
                    Range.parse(table[key], key)

    @staticmethod
    def none() -> "Overrides":
        return Overrides({}, {})

    @staticmethod
    def load(file: Path) -> "Overrides":
        """From a TOML file: keys at its top are for all graphs, tables ``[detect]`` ... for single ones.

        Raises:
            InputError: it cannot be read, or has unknown keys.
        """
        try:
            data = read_toml(file)
        except TableError as e:
            raise InputError(f"{file} cannot be read as TOML: {e}.") from e
        stages = {key: value for key, value in data.items() if isinstance(value, dict)}
        everywhere = {key: value for key, value in data.items() if key not in stages}
        if unknown := sorted(set(stages) - set(STAGES)):
            raise InputError(f"{file}: unknown tables {', '.join(unknown)}; known: {', '.join(STAGES)}.")
        for table in (everywhere, *stages.values()):
            if unknown := sorted(set(table) - KEYS):
                raise InputError(f"{file}: unknown keys {', '.join(unknown)}; known: {', '.join(sorted(KEYS))}.")
        return Overrides(everywhere, stages)

    def also(self, **values: Any) -> "Overrides":
        """The same with further values for all graphs; they win over what is there. None is no value."""
        given = {key: value for key, value in values.items() if value is not None}
        kept = {name: {k: v for k, v in table.items() if k not in given} for name, table in self.stages.items()}
        return Overrides({**self.everywhere, **given}, kept)

    def apply(self, config: BuildConfig, stage: str) -> BuildConfig:
        """A stage's config with the user's values in it.

        Raises:
            InputError: a value is of the wrong kind.
        """
        wanted = {**self.everywhere, **self.stages.get(stage, {})}
        profiles = _profiles(wanted.pop("profiles", None), config.profiles)
        for key, dim in (("batch", "B"), ("faces", "N")):
            value = wanted.pop(key, None)
            if value is not None:
                replaced = Range.parse(value, key)
                profiles = [{d: replaced if d == dim else r for d, r in p.items()} for p in profiles]
        if (mib := wanted.pop("workspace_mib", None)) is not None:
            wanted["workspace_bytes"] = _typed("workspace_mib", mib, int) * 2**20
        kinds = {"optimisation_level": int, "hardware_compatibility": str, "version_compatible": bool, "tf32": bool}
        typed = {key: _typed(key, value, kinds.get(key, int)) for key, value in wanted.items()}
        return replace(config, profiles=tuple(profiles), **typed)


KEYS = frozenset(f.name for f in fields(BuildConfig)) | {"batch", "faces", "workspace_mib"}


def _profiles(given: Any, default: Sequence[Profile]) -> list[Profile]:
    if given is None:
        return list(default)
    if not isinstance(given, list) or not all(isinstance(p, dict) for p in given):
        raise InputError(f"profiles is {given!r}, expected a list of tables, such as [{{ N = [1, 4, 16] }}].")
    return [{dim: Range.parse(value, dim) for dim, value in p.items()} for p in given]


def _typed(key: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{key} is {value!r}, expected {kind.__name__}.")
    return value
