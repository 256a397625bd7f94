"""Model packs: a folder with ``pack.toml`` and one ONNX graph per stage.

A pack is data: loading one reads TOML and hashes files, it never executes anything. What the graphs take
and give is declared in :mod:`trtswap.model.stages`; :func:`check_engine` holds an opened graph against it.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trtswap.backends.engine import Engine, TensorSpec
from trtswap.errors import InputError, PackError
from trtswap.files.tables import TableError, read_toml
from trtswap.model.nodes import check_nodes
from trtswap.model.self_contained import check_self_contained
from trtswap.model.stages import SETTINGS, STAGES, Port, StageKind
from trtswap.pixels.geometry import TEMPLATES

FORMAT = 1
LANDMARKS = 5
SHARED = Path(__file__).parents[1] / "packs" / "shared" / "stages.toml"
# Bytes of a file name that every file system allows.
MOST_NAME = 255
STAGE_KEYS = frozenset(
    (
        "file", "sha256", "precision", "size", "template", "latent", "max_faces", "single", "made_for", "figures",
        "threshold", "weight", "average", "mask", "fidelity", "offsets", "points", "visible", "likeness",
    )
)  # fmt: skip
AVERAGES = ("unit", "mean", "none", "nearest")
"""How the codes of several pictures become one: their mean with unit length, their mean, or not at all; ``nearest``
keeps them, and each face gets that of the picture whose pose is nearest to its own."""


@dataclass(frozen=True)
class StageSpec:
    """One stage of a pack, as ``[stages.NAME]`` of pack.toml gives it.

    Attributes:
        name: one of ``STAGES``.
        path: the graph's file; ``sha256`` is its hash, lower-case hex.
        precision: what the graph's weights and arithmetic are: ``fp32``, ``fp16`` (with FP32
            islands), ``int8`` (with the rest in FP32).
        size: side of the square crop the graph takes in pixels; for detect, the longer side of the image.
        templates: names of landmark templates (``geometry.TEMPLATES``) the crop is aligned with; more than
            one means that each face takes the one that fits best. Empty for detect; parse has the canvas's.
        latent: length of an identity latent (identify, swap), else 0.
        max_faces: rows of the detect graph's outputs, else 0.
        threshold: lowest score that counts as a face (detect), or with which points are taken (landmarks); lowest
            cosine that counts as the same person (identify),
            0 where pack.toml gives none, because the graph cannot tell people apart; else 0.
        weight: default share of the restored picture, 0..1 (restore), else 1.
        average: one of ``AVERAGES`` (encode), else empty.
        mask: the graph also says how much of each pixel is to be seen (swap).
        fidelity: default of an input of that name, 0..1: how near a restorer keeps to what it is given, which
            CodeFormer lets choose; None where the graph has no such input.
        points: the graph is also given the points of the faces, which a landmarks graph has measured (encode, swap,
            occlude).
        visible: the graph is also given what nothing lies in front of (swap).
        likeness: default of an input of that name, 0..1: how much of a source's own shading is seen in place of the
            target's light; None where the graph has no such input (swap).
        single: the graph takes one row at a time, and is run once for each.
        offsets: where the graph's five landmarks lie from those that are made of measured points (detect): see
            :data:`trtswap.faces.dense.OFFSETS`, which count where there are none.
        made_for: the faces that it was trained on alone, in words, where that is not real people: `rendered heads`.
        figures: what was measured at export, for people.
    """

    name: str
    path: Path
    sha256: str
    precision: str = "fp32"
    size: int = 0
    templates: tuple[str, ...] = ()
    latent: int = 0
    max_faces: int = 0
    threshold: float = 0.0
    weight: float = 1.0
    average: str = ""
    mask: bool = False
    fidelity: float | None = None
    points: bool = False
    visible: bool = False
    likeness: float | None = None
    single: bool = False
    offsets: tuple[tuple[float, float], ...] = ()
    made_for: str = ""
    figures: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def kind(self) -> StageKind:
        """What is true of every stage of this name."""
        return STAGES[self.name]

    @property
    def converts(self) -> bool:
        """Whether it may be made FP16 or INT8: it is in FP32, and does not work with points, which these are too
        coarse for."""
        return self.precision == "fp32" and not self.points

    @property
    def contract(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Inputs and outputs that its graph must have (design: section 4); named dimensions are dynamic."""
        settings = {name: getattr(self, name) for name in SETTINGS} | ({"N": 1} if self.single else {})
        inputs, outputs = (tuple(port.spec(settings) for port in ports) for ports in (self.inputs, self.outputs))
        return inputs, outputs

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What its graph takes."""
        return tuple(port for port in self.kind.inputs if self._has(port))

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What its graph gives."""
        return tuple(port for port in self.kind.outputs if self._has(port))

    def _has(self, port: Port) -> bool:
        value = True if port.when is None else getattr(self, port.when)
        return value is not None and value is not False  # a default of 0 is one


@dataclass(frozen=True)
class Pack:
    """A validated pack: files are there and have their hashes; the graphs are not opened yet."""

    path: Path
    name: str
    version: str
    licence: str
    description: str
    stages: Mapping[str, StageSpec]
    weights: Mapping[str, Mapping[str, str]]
    tolerance: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: MappingProxyType({}))
    """How far the pack may be from itself in another precision: figures by name, per precision."""
    random: tuple[str, ...] = ()
    """Stages whose networks were never trained: such a pack is for speed and tests, and paints noise."""
    landmarks: str = "dense"
    """What faces are aligned by: ``dense``, points that a landmarks graph measures, the one that comes with trtswap
    where the pack has none; ``five``, its detector's own landmarks."""

    @property
    def graphs(self) -> Mapping[str, StageSpec]:
        """What runs, in the order of the work: the pack's stages, and what comes with trtswap for packs without it."""
        known = {**shared_stages(), **self.stages} if self.landmarks == "dense" else self.stages
        return MappingProxyType({name: known[name] for name in STAGES if name in known})

    @property
    def needs_points(self) -> bool:
        """Whether faces can be swapped only where a landmarks graph has measured them."""
        return "parse" not in self.stages or any(s.points and s.kind.option is None for s in self.stages.values())

    @property
    def canvas_size(self) -> int:
        """Side of the canvas, pixels: that of the last stage that works on it, or of the swap crop where none does."""
        return self._on_canvas.size

    @property
    def canvas_template(self) -> str:
        """Name of the landmark template that canvases are aligned with."""
        return self._on_canvas.templates[0]

    @property
    def _on_canvas(self) -> StageSpec:
        return [stage for stage in self.stages.values() if stage.kind.canvas or stage.name == "swap"][-1]

    @property
    def coder(self) -> StageSpec:
        """The stage that makes of a source's picture what the swap graph takes."""
        return self.stages.get("encode", self.stages["identify"])

    @property
    def tells_people_apart(self) -> bool:
        """Whether latents say who somebody is, so that faces can be chosen by a reference."""
        return self.stages["identify"].threshold > 0

    def similarity(self, asked: float | None = None) -> float:
        """Lowest cosine of a face to a reference that counts as the same person, -1..1.

        Args:
            asked: the user's own; the pack's where None.

        Raises:
            InputError: the pack cannot tell people apart, and nothing was asked for.
        """
        if asked is not None:
            return asked
        if not self.tells_people_apart:
            raise InputError(
                f"pack {self.name} cannot tell people apart: [stages.identify] of its pack.toml has no threshold, so "
                "references (--map, --reference) would choose strangers. Swap everybody or the largest face, take "
                "another pack, or say from which cosine on two faces are the same person (similarity=, --similarity)."
            )
        return self.stages["identify"].threshold

    @staticmethod
    def load(path: Path | str) -> "Pack":
        """Read and validate a pack's folder.

        Raises:
            PackError: the folder, a file or a key is missing, a value is out of range, a hash differs, or a graph keeps
            weights in other files.
        """
        if not isinstance(path, str | Path):
            raise PackError(f"a pack is a {type(path).__name__}, expected its folder.")
        toml = Path(path) / "pack.toml"
        there = False
        with suppress(OSError, ValueError):  # names that no file system takes
            there = toml.is_file()
        if not there:
            raise PackError(
                f"{path} is not a pack: it has no pack.toml. Expected a folder written by `trtswap export`."
            )
        return Pack._read(toml)

    @staticmethod
    def _read(toml: Path) -> "Pack":
        try:
            data = read_toml(toml)
        except TableError as e:
            raise PackError(f"{toml} cannot be read as TOML: {e}.") from e
        if data.get("format") != FORMAT:
            raise PackError(
                f"{toml}: format is {data.get('format')!r}, this version of trtswap reads format {FORMAT}. "
                "Export it again."
            )
        tables = _get(toml, data, "stages", dict, {})
        _check_stage_names(toml, tables)
        stages = {name: _stage(toml, name, tables[name]) for name in STAGES if name in tables}
        _check_stages_fit(toml, stages)
        landmarks = _get(toml, data, "landmarks", str, "dense")
        if landmarks not in ("dense", "five"):
            raise PackError(f"{toml}: landmarks is {landmarks!r}, expected dense or five.")
        _check_points(toml, stages, landmarks)
        return Pack(
            path=toml.parent,
            name=_get(toml, data, "name", str),
            version=str(data.get("version", "0")),
            licence=_get(toml, data, "licence", str),
            description=_get(toml, data, "description", str, ""),
            stages=MappingProxyType(stages),
            weights=MappingProxyType(_weights(toml, data)),
            tolerance=MappingProxyType(_tolerance(toml, data)),
            random=_random(toml, data, stages),
            landmarks=landmarks,
        )


@cache
def shared_stages() -> Mapping[str, StageSpec]:
    """What comes with trtswap for every pack that has no such stage of its own."""
    tables = _get(SHARED, read_toml(SHARED), "stages", dict)
    return MappingProxyType({name: _stage(SHARED, name, table) for name, table in tables.items()})


def _random(toml: Path, data: dict[str, Any], stages: Mapping[str, StageSpec]) -> tuple[str, ...]:
    names = _get(toml, data, "random", list, [])
    if not all(isinstance(name, str) and name in stages for name in names):
        raise PackError(f"{toml}: random is {names!r}, expected names of the pack's stages.")
    return tuple(names)


def _check_points(toml: Path, stages: Mapping[str, StageSpec], landmarks: str) -> None:
    """Masks come from a parser or from measured points, and some graphs take these."""
    taking = [stage.name for stage in stages.values() if stage.points]
    if landmarks == "five" and taking:
        raise PackError(
            f"{toml}: landmarks is 'five', but the graph {taking[0]} takes points, which nothing measures then. Leave "
            "landmarks out."
        )
    if landmarks == "five" and "parse" not in stages:
        raise PackError(
            f"{toml}: landmarks is 'five', and there is no [stages.parse], so that nothing says what of a crop is "
            "face. Add one of them."
        )


def sha256_of(path: Path) -> str:
    """Hash of a file, lower-case hex, read in pieces."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def check_engine(stage: StageSpec, engine: Engine) -> None:
    """Hold an opened graph against the contract.

    Raises:
        PackError: names the graph, the tensor, what was found and what was expected.
    """
    for kind, wanted, found in zip(("input", "output"), stage.contract, (engine.inputs, engine.outputs), strict=True):
        for spec in wanted:
            if spec.name not in found:
                have = ", ".join(map(str, found.values())) or "none"
                raise PackError(f"{stage.path}: graph {stage.name} has no {kind} {spec}; it has: {have}.")
            if not _fits(spec, found[spec.name]):
                raise PackError(f"{stage.path}: graph {stage.name}, {kind} {found[spec.name]}: expected {spec}.")
        extra = set(found) - {s.name for s in wanted}
        if extra and kind == "input":
            raise PackError(
                f"{stage.path}: graph {stage.name} wants inputs beyond the contract: {', '.join(sorted(extra))}."
            )


def _fits(wanted: TensorSpec, found: TensorSpec) -> bool:
    """A dynamic dimension must be dynamic; a fixed one fixed, or left open by the graph."""
    if wanted.dtype != found.dtype or len(wanted.shape) != len(found.shape):
        return False
    return all(isinstance(f, str) or w == f for w, f in zip(wanted.shape, found.shape, strict=True))


def _get(toml: Path, table: Mapping[str, Any], key: str, kind: type, *default: Any) -> Any:
    if key not in table and default:
        return default[0]
    value = table.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise PackError(f"{toml}: {key} is {value!r}, expected {kind.__name__}.")
    return value


def _check_stage_names(toml: Path, tables: Mapping[str, Any]) -> None:
    required = [kind.name for kind in STAGES.values() if kind.required]
    missing = [name for name in required if name not in tables]
    if missing:
        optional = [kind.name for kind in STAGES.values() if not kind.required]
        raise PackError(
            f"{toml}: no graph for {', '.join(missing)}. A pack needs [stages.NAME] for {', '.join(required)}; "
            f"optional: {', '.join(optional)}."
        )
    unknown = sorted(set(tables) - set(STAGES))
    if unknown:
        raise PackError(f"{toml}: unknown stages {', '.join(unknown)}; known: {', '.join(STAGES)}.")


def _number(where: Path, table: Mapping[str, Any], key: str, default: float) -> float:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PackError(f"{where}: {key} is {value!r}, expected a number.")
    return float(value)


def _templates(where: Path, table: Mapping[str, Any]) -> tuple[str, ...]:
    """One name, or a list of them."""
    given = table.get("template", [])
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PackError(f"{where}: template is {given!r}, expected a name or a list of names.")
    return tuple(names)


def _offsets(where: Path, table: Mapping[str, Any]) -> tuple[tuple[float, float], ...]:
    given = _get(where, table, "offsets", list, [])
    pairs = [p for p in given if isinstance(p, list) and len(p) == 2 and all(type(v) in (int, float) for v in p)]
    if given and (len(given) != LANDMARKS or len(pairs) != LANDMARKS or not all(abs(v) < 1 for p in pairs for v in p)):
        raise PackError(
            f"{where}: offsets is {given!r}, expected {LANDMARKS} pairs of numbers between -1 and 1, shares of the "
            "distance between the eyes."
        )
    return tuple((float(x), float(y)) for x, y in pairs)


def _weights(toml: Path, data: Mapping[str, Any]) -> dict[str, Mapping[str, str]]:
    tables = _get(toml, data, "weights", dict, {})
    return {name: MappingProxyType(_get(Path(f"{toml} [weights]"), tables, name, dict)) for name in tables}


def _tolerance(toml: Path, data: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    found: dict[str, Mapping[str, float]] = {}
    for precision, table in _get(toml, data, "tolerance", dict, {}).items():
        where = Path(f"{toml} [tolerance.{precision}]")
        if not isinstance(table, dict):
            raise PackError(f"{toml}: tolerance.{precision} is {table!r}, expected a table [tolerance.{precision}].")
        found[precision] = MappingProxyType({key: _number(where, table, key, 0.0) for key in table})
    return found


def _stage(toml: Path, name: str, table: Any) -> StageSpec:
    where = Path(f"{toml} [stages.{name}]")
    if not isinstance(table, dict):
        raise PackError(f"{toml}: stages.{name} is {table!r}, expected a table [stages.{name}].")
    if unknown := sorted(set(table) - STAGE_KEYS):
        raise PackError(f"{where}: unknown keys {', '.join(unknown)}; known: {', '.join(sorted(STAGE_KEYS))}.")
    file = _get(where, table, "file", str)
    path = toml.parent / file
    if Path(file).name != file or "\0" in file or len(file.encode("utf-8", "replace")) > MOST_NAME:
        raise PackError(f"{where}: file is {file!r}, expected a plain name of a file inside the pack.")
    if not path.is_file():
        raise PackError(f"{where}: {path} does not exist. The pack is incomplete; export or copy it again.")
    sha256 = _get(where, table, "sha256", str)
    if (found := sha256_of(path)) != sha256:
        raise PackError(
            f"{path}: graph {name} has sha256 {found}, pack.toml says {sha256}. The file was changed or is damaged."
        )
    check_self_contained(path)
    check_nodes(path)
    spec = StageSpec(
        name=name,
        path=path,
        sha256=sha256,
        precision=_get(where, table, "precision", str, "fp32"),
        size=_get(where, table, "size", int),
        templates=_templates(where, table),
        latent=_get(where, table, "latent", int, 0),
        max_faces=_get(where, table, "max_faces", int, 0),
        threshold=_number(where, table, "threshold", 0.0),
        weight=_number(where, table, "weight", 1.0),
        average=_get(where, table, "average", str, ""),
        mask=_get(where, table, "mask", bool, False),
        fidelity=_number(where, table, "fidelity", 0.0) if "fidelity" in table else None,
        points=_get(where, table, "points", bool, False),
        visible=_get(where, table, "visible", bool, False),
        likeness=_number(where, table, "likeness", 0.0) if "likeness" in table else None,
        single=_get(where, table, "single", bool, False),
        offsets=_offsets(where, table),
        made_for=_get(where, table, "made_for", str, ""),
        figures=MappingProxyType(_get(where, table, "figures", dict, {})),
    )
    _check_values(where, spec)
    if spec.kind.gives == "latents" and "threshold" in table and not spec.threshold > 0:
        raise PackError(
            f"{where}: threshold is {spec.threshold:g}, with which strangers count as the same person. Expected the "
            "lowest cosine of two pictures of one person, above 0 (0.34 for SimSwap's ArcFace), or no threshold where "
            "the graph cannot tell people apart: then nobody is chosen by a reference."
        )
    return spec


def _check_values(where: Path, spec: StageSpec) -> None:
    for template in spec.templates:
        if template not in TEMPLATES:
            raise PackError(f"{where}: template is {template!r}, known: {', '.join(sorted(TEMPLATES))}.")
    kind = spec.kind
    if len(set(spec.templates)) != len(spec.templates):
        raise PackError(f"{where}: template names {len(spec.templates)} templates, some of them twice.")
    if kind.aligned and not spec.templates:
        raise PackError(f"{where}: no template; expected one of {', '.join(sorted(TEMPLATES))}.")
    if spec.size <= 0 or spec.size % kind.multiple:
        multiple = f"a multiple of {kind.multiple}" if kind.multiple > 1 else "a positive number"
        raise PackError(f"{where}: size is {spec.size}, expected {multiple}.")
    for key in sorted(kind.settings - {"size"}):
        if getattr(spec, key) <= 0:
            raise PackError(f"{where}: {key} is {getattr(spec, key)}, expected a positive number.")
    for key in ("threshold", "weight", "fidelity", "likeness"):
        if (value := getattr(spec, key)) is not None and not 0 <= value <= 1:
            raise PackError(f"{where}: {key} is {value}, expected 0..1.")
    if "average" in kind.defaults and spec.average not in AVERAGES:
        raise PackError(f"{where}: average is {spec.average!r}, expected one of {', '.join(AVERAGES)}.")


def _check_stages_fit(toml: Path, stages: Mapping[str, StageSpec]) -> None:
    for stage in stages.values():
        for setting, others in stage.kind.same.items():
            other = next((name for name in others if name in stages), stage.name)
            found, wanted = getattr(stage, setting), getattr(stages[other], setting)
            if found != wanted:
                raise PackError(
                    f"{toml}: {setting} of {stage.name} is {found}, that of {other} is {wanted}; one works on what the "
                    "other gives or takes, so they must be equal."
                )
