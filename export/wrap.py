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
import onnx_graphsurgeon as gs
import onnxruntime
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, compose, helper
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
from trtswap.model.stages import STAGES, StageKind

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
        if self.kind.gives != "latents":
            if self.threshold is not None:
                raise InputError(
                    f"threshold is {self.threshold}, but a {self.stage} model has none; only identify has."
                )
        elif self.threshold is None:
            known = ", ".join(f"{cosine} for {name}" for name, cosine in SIMILARITY.items())
            raise InputError(
                f"stage {self.stage}: no threshold. Say with --threshold from which cosine on two faces are the same "
                f"person ({known}; for another model what its authors publish, or what you measure on pairs of "
                "pictures), or --threshold none if the model cannot tell people apart."
            )
        elif self.threshold != "none" and (isinstance(self.threshold, str) or not 0 < self.threshold <= 1):
            raise InputError(f"threshold is {self.threshold}, expected a cosine above 0, at most 1, or none.")

    @property
    def kind(self) -> StageKind:
        """What is true of every graph of the stage."""
        return STAGES[self.stage]

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
    graph = _load(wrapping.model)
    faces, latents, output = _tensors(graph, wrapping)
    latent = latents if latents is not None else output if wrapping.kind.gives == "latents" else None
    stage = replace(
        spec(wrapping.stage, size=wrapping.size, templates=wrapping.template),
        latent=0 if latent is None else math.prod(_dims(latent)[1:]),
        threshold=wrapping.threshold if isinstance(wrapping.threshold, float | int) else 0.0,
        precision=_precision(graph),
    )
    _free_batch(graph)
    _front(graph, wrapping, faces, latents)
    _behind(graph, wrapping, output)
    joined = checked(_finished(graph, stage), f"{wrapping.stage} of {wrapping.model}")
    _check_rows(joined, stage, wrapping.model)
    return stage, joined


def _load(path: Path) -> gs.Graph:
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
    graph = gs.import_onnx(compose.add_prefix(model, "model/"))
    # Old exporters list weights as inputs, too.
    graph.inputs = [tensor for tensor in graph.inputs if isinstance(tensor, gs.Variable)]
    return graph


def _tensors(graph: gs.Graph, w: Wrapping) -> tuple[gs.Variable, gs.Variable | None, gs.Variable]:
    """The model's picture input, identity input (swap only) and output."""
    faces = _pick(w, "input", graph.inputs, w.faces, 4)
    latents = _pick(w, "latent", graph.inputs, w.latents, 2) if w.kind.takes_latents else None
    output = _pick(w, "result", graph.outputs, w.output, None if w.kind.gives == "latents" else 4)
    if extra := [v.name.removeprefix("model/") for v in graph.inputs if v is not faces and v is not latents]:
        raise ExportError(f"{w.model} has the inputs {', '.join(extra)}, which a {w.stage} model is not given.")
    side = _dims(faces)[2:]
    if _dims(faces)[1] not in (0, 3) or any(d not in (0, w.size) for d in side):
        raise ExportError(f"{w.model}: input {_shown(faces)}, expected [N,3,{w.size},{w.size}].")
    return faces, latents, output


def _pick(w: Wrapping, option: str, values: Sequence[gs.Variable], name: str | None, rank: int | None) -> gs.Variable:
    fitting = [v for v in values if rank is None or len(_dims(v)) == rank]
    if name is not None:
        fitting = [v for v in fitting if v.name == f"model/{name}"]
    if len(fitting) == 1 or (fitting and option == "result"):
        return fitting[0]
    have = ", ".join(map(_shown, values))
    raise ExportError(f"{w.model}: no single tensor that --{option} {name or ''} can mean; the model has {have}.")


def _dims(value: gs.Variable) -> tuple[int, ...]:
    """Dimensions; 0 for dynamic ones."""
    return tuple(d if isinstance(d, int) else 0 for d in value.shape or ())


def _shown(value: gs.Variable) -> str:
    return f"{value.name.removeprefix('model/')} [{','.join(str(d or '?') for d in _dims(value))}]"


def _precision(graph: gs.Graph) -> str:
    constants = [tensor for tensor in graph.tensors().values() if isinstance(tensor, gs.Constant)]
    constants += [node.attrs["value"] for node in graph.nodes if node.op == "Constant" and "value" in node.attrs]
    return "fp16" if any(constant.dtype == np.float16 for constant in constants) else "fp32"


def _free_batch(graph: gs.Graph) -> None:
    """Reshape nodes that take a constant for a batch of one take any batch.

    Whether that was all that fixed the batch is seen when the graph runs at two batch sizes.
    """
    for node in graph.nodes:
        if node.op == "Reshape" and (values := _constant(node.inputs[1])) is not None:
            shape = values.copy()
            if len(shape) > 1 and shape[0] == 1:
                shape[0] = 0 if -1 in shape else -1  # 0 takes the dimension over from the input
                node.inputs[1] = gs.Constant(f"{node.outputs[0].name}/shape", shape)


def _constant(tensor: gs.Tensor) -> NDArray[Any] | None:
    """What a tensor always is: a weight, or what a Constant node gives."""
    if not isinstance(tensor, gs.Constant) and tensor.inputs and tensor.inputs[0].op == "Constant":
        tensor = tensor.inputs[0].attrs.get("value")
    return tensor.values if isinstance(tensor, gs.Constant) else None


def _affine(mean: Triple, std: Triple, value_range: tuple[float, float]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(scale, shift) such that a model's value is scale p + shift for a pixel p in 0..1: float32 [3, 1, 1] each."""
    low, high = value_range
    m, s = np.reshape(mean, (3, 1, 1)), np.reshape(std, (3, 1, 1))
    return ((high - low) / s).astype(np.float32), ((low - m) / s).astype(np.float32)


_REVERSED = np.array([2, 1, 0], np.int64)


def _front(graph: gs.Graph, w: Wrapping, faces: gs.Variable, latents: gs.Variable | None) -> None:
    """From the contract's inputs to the model's."""
    x = picture = gs.Variable("faces")
    if w.colour == "bgr":
        x = _node(graph, "Gather", x, _REVERSED, axis=1)
    scale, shift = _affine(w.mean, w.std, w.range)
    x = _node(graph, "Add", _node(graph, "Mul", x, scale), shift)
    _node(graph, "Cast", x, to=_number(faces), gives=faces)
    graph.inputs = [picture]
    if latents is not None:
        graph.inputs.append(gs.Variable("latents"))
        _node(graph, "Cast", graph.inputs[1], to=_number(latents), gives=latents)


def _behind(graph: gs.Graph, w: Wrapping, output: gs.Variable) -> None:
    """From the model's output to the contract's."""
    x = _node(graph, "Cast", output, to=TensorProto.FLOAT)
    if w.kind.gives == "latents":
        x = _unit_length(graph, x)
    elif w.kind.gives == "labels":
        x = _node(graph, "ArgMax", x, axis=1, keepdims=0)
        if w.classes:
            x = _node(graph, "Gather", np.array(w.classes, np.int64), x)
        x = _node(graph, "Cast", x, to=TensorProto.UINT8)
    else:
        scale, shift = _affine(w.out_mean, w.out_std, w.out_range)
        # p = (value std + mean - low) / (high - low), which undoes what _affine describes.
        x = _node(graph, "Div", _node(graph, "Sub", x, shift), scale)
        if w.out_colour == "bgr":
            x = _node(graph, "Gather", x, _REVERSED, axis=1)
        x = _node(graph, "Clip", x, np.array(0, np.float32), np.array(1, np.float32))
    graph.outputs = [x]


def _unit_length(graph: gs.Graph, x: gs.Variable) -> gs.Variable:
    flat = _node(graph, "Flatten", x, axis=1)
    length = _node(graph, "ReduceL2", flat, np.array([1], np.int64), keepdims=1)
    return _node(graph, "Div", flat, _node(graph, "Max", length, np.array(1e-12, np.float32)))


def _node(
    graph: gs.Graph,
    operator: str,
    *inputs: gs.Tensor | NDArray[Any],
    gives: gs.Variable | str = "around/",
    **attributes: Any,
) -> gs.Variable:
    """A new node of a graph, and what it gives: a tensor that is there, or a new one."""
    name = f"around/{operator}_{len(graph.nodes)}"
    made: gs.Variable = graph.layer(op=operator, name=name, inputs=inputs, outputs=[gives], attrs=attributes)[0]
    return made


def _number(tensor: gs.Variable) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))


def _finished(graph: gs.Graph, stage: StageSpec) -> ModelProto:
    """The graph with the contract's inputs and outputs, without what leads to none of them."""
    inputs, outputs = stage.contract
    for tensor, declared in zip((*graph.inputs, *graph.outputs), (*inputs, *outputs), strict=True):
        tensor.name, tensor.shape = declared.name, declared.shape
        tensor.dtype = helper.tensor_dtype_to_np_dtype(value_info(declared).type.tensor_type.elem_type)
    graph.name, graph.doc_string, graph.producer_name, graph.producer_version = stage.name, "", "trtswap", ""
    made: ModelProto = gs.export_onnx(graph.cleanup(remove_unused_graph_inputs=False).toposort())
    return made


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
