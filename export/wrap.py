"""Other people's ONNX models as stages of a pack: a graph spliced in front and behind makes the contract hold.

How a model wants its pixels is never guessed from its family; whoever wraps it declares it in a :class:`Wrapping`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, compose, helper, numpy_helper
from onnx import version_converter as versions
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from trtswap.errors import ExportError, InputError
from trtswap.export.build import example_inputs, strictest
from trtswap.export.compare import LABEL_AGREEMENT
from trtswap.export.graph import OPSET, checked, value_info
from trtswap.export.recipes import SIMILARITY, spec
from trtswap.export.writer import PackWriter
from trtswap.model.pack import Pack, StageSpec, sha256_of
from trtswap.model.self_contained import outside_files
from trtswap.model.stages import STAGES

WRAPPABLE = tuple(kind.name for kind in STAGES.values() if not kind.searches)
COLOURS = ("rgb", "bgr")
ROW_TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}  # of the largest value: a row alone against the same row in a batch
_ORT_ERRORS = (ort.Fail, ort.InvalidArgument, ort.InvalidGraph, ort.NotImplemented, ort.RuntimeException)
_NUMBERS = ("mean", "std", "range", "out_mean", "out_std", "out_range", "classes")
_TOML_TYPES: Mapping[str, Any] = {"size": int, "template": str | list, "threshold": float | int | str} | dict.fromkeys(
    _NUMBERS, list
)
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Wrapping:
    """A foreign model and how it wants and gives its tensors.

    A pixel p of the contract (RGB, 0..1) reaches the model as ``(low + (high - low) p - mean) / std`` with ``range``
    = (low, high), its channels in the order ``colour``. Outputs of swap and restore models come back the same way
    through ``out_mean``, ``out_std``, ``out_range`` and ``out_colour``, clamped to 0..1.

    Attributes:
        stage: one of ``WRAPPABLE``.
        model: the ONNX file; pictures are NCHW.
        size: side of the aligned crop that it takes, pixels.
        template: how that crop is aligned, one or more names of ``trtswap.pixels.geometry.TEMPLATES``.
        faces, latents, output: names of its tensors; None where the model has only one that it can be.
        mean, std, range, colour: of the picture it takes, channels in the order of ``colour``.
        out_mean, out_std, out_range, out_colour: of the picture it gives.
        classes: for parse, CelebAMask-HQ's label for each class of the model; empty where they are the same.
        threshold: for identify, lowest cosine that counts as the same person, above 0 to 1; ``none`` where the model
            cannot tell people apart. It has to be said; ``recipes.SIMILARITY`` has what is published.
        licence, url: of the model, for pack.toml.
    """

    stage: str
    model: Path
    size: int
    template: tuple[str, ...]
    faces: str | None = None
    latents: str | None = None
    output: str | None = None
    mean: Triple = (0, 0, 0)
    std: Triple = (1, 1, 1)
    range: tuple[float, float] = (0, 1)
    colour: str = "rgb"
    out_mean: Triple = (0, 0, 0)
    out_std: Triple = (1, 1, 1)
    out_range: tuple[float, float] = (0, 1)
    out_colour: str = "rgb"
    classes: tuple[int, ...] = ()
    threshold: float | Literal["none"] | None = None
    licence: str = "not stated"
    url: str = ""

    def __post_init__(self) -> None:
        for key, allowed in (("stage", WRAPPABLE), ("colour", COLOURS), ("out_colour", COLOURS)):
            if getattr(self, key) not in allowed:
                raise InputError(f"{key} is {getattr(self, key)!r}, expected one of {', '.join(allowed)}.")
        for key in ("mean", "std", "out_mean", "out_std"):
            if len(getattr(self, key)) != 3:
                raise InputError(f"{key} is {getattr(self, key)}, expected three numbers, one per channel.")
        for key in ("range", "out_range"):
            if len(getattr(self, key)) != 2 or getattr(self, key)[0] == getattr(self, key)[1]:
                raise InputError(f"{key} is {getattr(self, key)}, expected two different numbers: low, high.")
        if 0 in (*self.std, *self.out_std):
            raise InputError(f"std is {self.std}, out_std {self.out_std}; zero cannot be divided by.")
        if not all(0 <= label < 19 for label in self.classes):
            raise InputError(f"classes are {self.classes}, expected labels 0..18 of CelebAMask-HQ.")
        self._check_threshold()

    def _check_threshold(self) -> None:
        if self.stage != "identify":
            if self.threshold is not None:
                raise InputError(
                    f"threshold is {self.threshold}, but a {self.stage} model has none; only identify has."
                )
        elif self.threshold is None:
            known = ", ".join(f"{cosine} for {name}" for name, cosine in SIMILARITY.items())
            raise InputError(
                "stage identify: no threshold. Say with --threshold from which cosine on two faces count as the same "
                f"person ({known}; for another model what its authors publish, or what you measure on pairs of "
                "pictures), or --threshold none if the model cannot tell people apart."
            )
        elif self.threshold != "none" and (isinstance(self.threshold, str) or not 0 < self.threshold <= 1):
            raise InputError(f"threshold is {self.threshold}, expected a cosine above 0, at most 1, or none.")

    @staticmethod
    def parse(stage: str, table: Mapping[str, Any], folder: Path) -> "Wrapping":
        """From a TOML table; ``model`` is relative to ``folder``.

        Raises:
            InputError: an unknown or missing key, or a value that is not allowed.
        """
        known = {f.name for f in fields(Wrapping)} - {"stage"}
        if unknown := sorted(set(table) - known):
            raise InputError(f"stage {stage}: unknown keys {', '.join(unknown)}; known: {', '.join(sorted(known))}.")
        if missing := [key for key in ("model", "size", "template") if key not in table]:
            raise InputError(f"stage {stage}: no {', '.join(missing)}.")
        for key, value in table.items():
            if not isinstance(value, _TOML_TYPES.get(key, str)) or isinstance(value, bool):
                raise InputError(f"stage {stage}: {key} is {value!r}, which is of the wrong type.")
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
        }
        template = values["template"]
        values |= {
            "model": folder / values["model"],
            "template": (template,) if isinstance(template, str) else template,
        }
        return Wrapping(stage, **values)


def wrap_pack(
    base: Path, wrappings: Sequence[Wrapping], target: Path, *, name: str | None = None, overwrite: bool = False
) -> Pack:
    """A copy of a pack in which other models do some of the stages.

    Args:
        base: folder of the pack that the other stages are taken from.
        wrappings: the new stages, one per stage at most.
        target: folder of the new pack.
        name: of the new pack; None for the target's.
        overwrite: replace a pack that is there.

    Raises:
        ExportError: a model cannot be wrapped as declared. It may keep weights in files beside it; the pack does not.
        PackError: the base is no valid pack, or the new stages do not fit the others.
    """
    pack = Pack.load(base)
    new = {w.stage: w for w in wrappings}
    weights = {k: dict(v) for k, v in pack.weights.items()}
    with PackWriter(target, overwrite=overwrite) as writer:
        for stage in pack.stages.values():
            if stage.name not in new:
                writer.copy(stage)
        for wrapping in new.values():
            writer.add(*wrap(wrapping))
            for key, file in _files(wrapping.model).items():
                weights[key] = {"sha256": sha256_of(file), "url": wrapping.url, "licence": wrapping.licence}
        changed = ", ".join(f"{stage} by {w.model.name}" for stage, w in new.items())
        return writer.finish(
            name=name or target.name,
            version=pack.version,
            licence=strictest([pack.licence, *(f"{w.licence} ({w.model.name})" for w in new.values())]),
            description=f"{pack.name} with {changed}.",
            weights=weights,
        )


def _files(model: Path) -> dict[str, Path]:
    """A model and the files that it keeps weights in, by the name under which pack.toml has their hashes."""
    return {model.stem: model} | {name: model.parent / name for name in outside_files(model)}


def wrap(wrapping: Wrapping) -> tuple[StageSpec, ModelProto]:
    """A foreign model as a graph that keeps the contract.

    Raises:
        ExportError: the model is not what was declared, has no operator set that trtswap exports, or gives other
            results in a batch than alone.
    """
    model = _load(wrapping.model)
    faces, latents, output = _tensors(model.graph, wrapping)
    latent = latents if latents is not None else output if STAGES[wrapping.stage].gives == "latents" else None
    stage = replace(
        spec(wrapping.stage, size=wrapping.size, templates=wrapping.template),
        latent=0 if latent is None else math.prod(_dims(latent)[1:]),
        threshold=wrapping.threshold if isinstance(wrapping.threshold, float | int) else 0.0,
        precision=_precision(model),
    )
    _free_batch(model.graph)
    (result,) = stage.contract[1]
    joined = _spliced(model, stage, _front(wrapping, faces, latents), _behind(wrapping, output, result.name))
    joined = checked(joined, f"{wrapping.stage} of {wrapping.model}")
    _check_rows(joined, stage, wrapping.model)
    return stage, joined


def _load(path: Path) -> ModelProto:
    """The model in opset ``OPSET``, its names free for what is put around it."""
    try:
        model = onnx.load(path)
    except (OSError, DecodeError, ValueError, onnx.checker.ValidationError) as e:
        raise ExportError(f"{path} cannot be read as an ONNX model: {e}.") from e
    if foreign := sorted({entry.domain for entry in model.opset_import} - {"", "ai.onnx"}):
        raise ExportError(f"{path} needs operators of {', '.join(foreign)}; only ONNX's own can go into a pack.")
    version = max((entry.version for entry in model.opset_import), default=0)
    if version != OPSET:
        try:
            model = versions.convert_version(model, OPSET)
        except (RuntimeError, versions.ConvertError) as e:
            raise ExportError(f"{path} is opset {version} and cannot be converted to {OPSET}: {e}") from e
    weights = {t.name for t in model.graph.initializer}
    inputs = [v for v in model.graph.input if v.name not in weights]  # old exporters list weights as inputs, too
    del model.graph.input[:], model.graph.value_info[:]
    model.graph.input.extend(inputs)
    model.doc_string = model.graph.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
    return compose.add_prefix(model, "model/")


def _tensors(graph: GraphProto, w: Wrapping) -> tuple[ValueInfoProto, ValueInfoProto | None, ValueInfoProto]:
    """The model's picture input, identity input (swap only) and output."""
    faces = _pick(w, "input", graph.input, w.faces, 4)
    latents = _pick(w, "latent", graph.input, w.latents, 2) if STAGES[w.stage].takes_latents else None
    output = _pick(w, "result", graph.output, w.output, None if STAGES[w.stage].gives == "latents" else 4)
    named = [faces] if latents is None else [faces, latents]
    if extra := [v.name.removeprefix("model/") for v in graph.input if v not in named]:
        raise ExportError(f"{w.model} has the inputs {', '.join(extra)}, which a {w.stage} model is not given.")
    side = _dims(faces)[2:]
    if _dims(faces)[1] not in (0, 3) or any(d not in (0, w.size) for d in side):
        raise ExportError(f"{w.model}: input {_shown(faces)}, expected [N,3,{w.size},{w.size}].")
    return faces, latents, output


def _pick(
    w: Wrapping, option: str, values: Sequence[ValueInfoProto], name: str | None, rank: int | None
) -> ValueInfoProto:
    fitting = [v for v in values if rank is None or len(_dims(v)) == rank]
    if name is not None:
        fitting = [v for v in fitting if v.name == f"model/{name}"]
    if len(fitting) == 1 or (fitting and option == "result"):
        return fitting[0]
    have = ", ".join(map(_shown, values))
    raise ExportError(f"{w.model}: no single tensor that --{option} {name or ''} can mean; the model has {have}.")


def _dims(value: ValueInfoProto) -> tuple[int, ...]:
    """Dimensions; 0 for dynamic ones."""
    return tuple(d.dim_value for d in value.type.tensor_type.shape.dim)


def _shown(value: ValueInfoProto) -> str:
    return f"{value.name.removeprefix('model/')} [{','.join(str(d or '?') for d in _dims(value))}]"


def _precision(model: ModelProto) -> str:
    constants = [a.t for node in model.graph.node if node.op_type == "Constant" for a in node.attribute]
    tensors = (*model.graph.initializer, *constants)
    return "fp16" if any(t.data_type == TensorProto.FLOAT16 for t in tensors) else "fp32"


def _free_batch(graph: GraphProto) -> None:
    """Make the first dimension dynamic, also in the constants that Reshape nodes take for a batch of one.

    Whether that was all that fixed the batch is seen when the graph runs at two batch sizes.
    """
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    constants = {t.name: t for t in graph.initializer}
    constants |= {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant"}
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants:
            shape = numpy_helper.to_array(constants[node.input[1]]).copy()
            if len(shape) > 1 and shape[0] == 1:
                shape[0] = 0 if -1 in shape else -1  # 0 takes the dimension over from the input
                name = f"{node.output[0]}/shape"
                graph.initializer.append(numpy_helper.from_array(shape, name))
                node.input[1] = name


class _Nodes:
    """A graph under construction; ``add`` appends a node, whose output is then ``last``."""

    def __init__(self, prefix: str) -> None:
        self.prefix, self.last = prefix, ""
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, operator: str, *inputs: str | NDArray[Any], **attributes: Any) -> None:
        self.last = f"{self.prefix}/{operator}_{len(self.nodes)}"
        names = [i if isinstance(i, str) else self._constant(i) for i in inputs]
        self.nodes.append(helper.make_node(operator, names, [self.last], name=self.last, **attributes))

    def finish(self, name: str) -> None:
        """Give the last output its name in the whole graph."""
        self.nodes[-1].output[0] = self.last = name

    def _constant(self, value: NDArray[Any]) -> str:
        name = f"{self.prefix}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name


def _affine(mean: Triple, std: Triple, value_range: tuple[float, float]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(scale, shift) such that a model's value is scale p + shift for a pixel p in 0..1: float32 [3, 1, 1] each."""
    low, high = value_range
    m, s = np.reshape(mean, (3, 1, 1)), np.reshape(std, (3, 1, 1))
    return ((high - low) / s).astype(np.float32), ((low - m) / s).astype(np.float32)


_REVERSED = np.array([2, 1, 0], np.int64)


def _front(w: Wrapping, faces: ValueInfoProto, latents: ValueInfoProto | None) -> _Nodes:
    """From the contract's inputs to the model's."""
    nodes = _Nodes("front")
    scale, shift = _affine(w.mean, w.std, w.range)
    nodes.add("Gather", "faces", _REVERSED, axis=1) if w.colour == "bgr" else nodes.add("Identity", "faces")
    nodes.add("Mul", nodes.last, scale)
    nodes.add("Add", nodes.last, shift)
    nodes.add("Cast", nodes.last, to=faces.type.tensor_type.elem_type)
    nodes.finish(faces.name)
    if latents is not None:
        nodes.add("Cast", "latents", to=latents.type.tensor_type.elem_type)
        nodes.finish(latents.name)
    return nodes


def _behind(w: Wrapping, output: ValueInfoProto, name: str) -> _Nodes:
    """From the model's output to the contract's, called ``name``."""
    nodes = _Nodes("behind")
    nodes.add("Cast", output.name, to=TensorProto.FLOAT)
    if STAGES[w.stage].gives == "latents":
        _unit_length(nodes)
    elif STAGES[w.stage].gives == "labels":
        nodes.add("ArgMax", nodes.last, axis=1, keepdims=0)
        if w.classes:
            nodes.add("Gather", np.array(w.classes, np.int64), nodes.last)
        nodes.add("Cast", nodes.last, to=TensorProto.UINT8)
    else:
        scale, shift = _affine(w.out_mean, w.out_std, w.out_range)
        # p = (value std + mean - low) / (high - low), which undoes what _affine describes.
        nodes.add("Sub", nodes.last, shift)
        nodes.add("Div", nodes.last, scale)
        if w.out_colour == "bgr":
            nodes.add("Gather", nodes.last, _REVERSED, axis=1)
        nodes.add("Clip", nodes.last, np.array(0, np.float32), np.array(1, np.float32))
    nodes.finish(name)
    return nodes


def _unit_length(nodes: _Nodes) -> None:
    nodes.add("Flatten", nodes.last, axis=1)
    flat = nodes.last
    nodes.add("ReduceL2", flat, np.array([1], np.int64), keepdims=1)
    nodes.add("Max", nodes.last, np.array(1e-12, np.float32))
    nodes.add("Div", flat, nodes.last)


def _spliced(model: ModelProto, stage: StageSpec, front: _Nodes, behind: _Nodes) -> ModelProto:
    """One graph with the contract's inputs and outputs."""
    inputs, outputs = ([value_info(s) for s in specs] for specs in stage.contract)
    graph = helper.make_graph(
        [*front.nodes, *model.graph.node, *behind.nodes],
        stage.name,
        inputs,
        outputs,
        [*front.constants, *model.graph.initializer, *behind.constants],
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, producer_name="trtswap", opset_imports=[opset], ir_version=model.ir_version)


def _check_rows(model: ModelProto, stage: StageSpec, path: Path) -> None:
    """Three rows at once must be the same as each alone."""
    inputs = {name: tensor.numpy() for name, tensor in example_inputs(stage, 3).items()}
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        alone = [session.run(None, {k: v[i : i + 1] for k, v in inputs.items()})[0] for i in range(3)]
    except _ORT_ERRORS as e:
        raise ExportError(f"{path} does not run as a {stage.name} graph of size {stage.size}: {e}") from e
    try:
        together = session.run(None, inputs)[0]
    except _ORT_ERRORS as e:
        raise ExportError(f"{path} is made for a batch of one, in more places than Reshape constants: {e}") from e
    rows = np.concatenate(alone)
    if together.shape != rows.shape:
        raise ExportError(f"{path} is made for a batch of one: three give {together.shape}, expected {rows.shape}.")
    difference = float(np.abs(together.astype(np.float32) - rows).max() / max(1e-12, float(np.abs(rows).max())))
    share = float((together == rows).mean())
    if share < LABEL_AGREEMENT and (stage.kind.gives == "labels" or not difference <= ROW_TOLERANCE[stage.precision]):
        raise ExportError(
            f"{path}: a face in a batch of three differs from the same face alone by {difference:.1e} of the largest "
            "value; the model mixes faces."
        )
