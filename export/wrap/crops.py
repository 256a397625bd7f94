"""Models that work on aligned crops of faces: what is spliced in front of them and behind them."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
from onnx import ModelProto, TensorProto

from trtswap.errors import ExportError
from trtswap.export.build import example_inputs
from trtswap.export.compare import LABEL_AGREEMENT
from trtswap.export.graph import OPSET
from trtswap.export.recipes import spec
from trtswap.export.wrap.declaration import ALL, Wrapping
from trtswap.export.wrap.surgery import (
    EMBEDDINGS,
    ORT_ERRORS,
    check_all_used,
    dims,
    feed,
    finished,
    free_batch,
    imported,
    latent_matrix,
    mask_out,
    node,
    own_name,
    pick,
    picture_in,
    picture_out,
    precision,
    read,
    session_of,
    shown,
    unit_length,
    unused_weights,
)
from trtswap.model.pack import StageSpec

ROW_TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}  # of the largest value: a row alone against the same row in a batch
_VECTORS = ("latents", "codes")


def wrap_crops(w: Wrapping) -> Iterator[tuple[StageSpec, ModelProto]]:
    """A model as a graph that keeps the contract of its stage; two where the source is a picture.

    Raises:
        ExportError: the model is not what was declared, has no operator set that trtswap exports, or gives other
            results in a batch than alone.
    """
    model = read(w.model)
    graph, spare = imported(model, w.model), unused_weights(model)
    matrix = latent_matrix(w, spare)
    faces, latents, further = _inputs(graph, w)
    output, mask = _outputs(graph, w)
    used = [v for v in (output, mask) if v is not None]
    check_all_used(w, list(spare), [own_name(v) for v in graph.outputs if all(v is not one for one in used)])
    stage = _stage(graph, w, latents, output)
    if not w.single:
        free_batch(graph)
    graph.inputs = [gs.Variable("faces")]
    picture_in(graph, w, graph.inputs[0], faces)
    if latents is not None:
        graph.inputs.append(gs.Variable("latents"))
        _source_in(graph, w, graph.inputs[-1], latents, matrix)
    for name, tensor in further.items():
        _further_in(graph, w, name, tensor)
    graph.outputs = [_behind(graph, w, output)] + ([] if mask is None else [mask_out(graph, w, mask)])
    joined = finished(graph, stage, w.model)
    check_rows(joined, stage, w.model)
    if w.takes_picture_of_source:
        yield picture_encoder(w)
    yield stage, joined


def _stage(graph: gs.Graph, w: Wrapping, latents: gs.Variable | None, output: gs.Variable) -> StageSpec:
    vector = output if w.kind.gives in _VECTORS else latents
    length = 0 if vector is None else math.prod(dims(vector)[1:])
    return replace(
        spec(w.stage, size=w.size, templates=w.template),
        latent=3 * w.source_size**2 if w.takes_picture_of_source else length,
        threshold=w.lowest,
        precision=precision(graph),
        average=w.average,
        mask=w.mask is not None,
        fidelity=w.fidelity_default if w.fidelity is not None else None,
        single=w.single,
    )


def _inputs(graph: gs.Graph, w: Wrapping) -> tuple[gs.Variable, gs.Variable | None, dict[str, gs.Variable]]:
    """The model's picture input, identity input (swap only), and further ones of a number each, by name."""
    numbers = {n for n in (*w.constants, w.fidelity) if n is not None}
    further = {own_name(v): v for v in graph.inputs if own_name(v) in numbers}
    if missing := sorted(numbers - set(further)):
        raise ExportError(f"{w.model} has no input {', '.join(missing)}; it has {', '.join(map(shown, graph.inputs))}.")
    others = [v for v in graph.inputs if own_name(v) not in further]
    latents = None
    if w.kind.takes_latents:
        latents = pick(w, "latent", others, w.latents, (4,) if w.takes_picture_of_source else (2,))
        others = [v for v in others if v is not latents]
    faces = pick(w, "input", others, w.faces, (4,))
    if extra := [own_name(v) for v in others if v is not faces]:
        raise ExportError(
            f"{w.model} has the inputs {', '.join(extra)}, which a {w.stage} model is not given. A number that is "
            "always the same is declared with --constant NAME=NUMBER."
        )
    _check_picture(w, faces, w.size)
    if latents is not None and w.takes_picture_of_source:
        _check_picture(w, latents, w.source_size)
    return faces, latents, further


def _check_picture(w: Wrapping, tensor: gs.Variable, size: int) -> None:
    channels, *sides = dims(tensor)[1:] if w.layout == "nchw" else (dims(tensor)[3], *dims(tensor)[1:3])
    if channels not in (0, 3) or any(d not in (0, size) for d in sides):
        wanted = f"[N,3,{size},{size}]" if w.layout == "nchw" else f"[N,{size},{size},3]"
        raise ExportError(f"{w.model}: input {shown(tensor)}, expected {wanted}.")


def _outputs(graph: gs.Graph, w: Wrapping) -> tuple[gs.Variable, gs.Variable | None]:
    """What the model gives, and its mask."""
    mask = None if w.mask is None else pick(w, "mask", graph.outputs, w.mask, (3, 4))
    ranks = () if w.kind.gives in _VECTORS else (3, 4) if w.kind.gives == "masks" else (4,)
    others = [v for v in graph.outputs if v is not mask]
    if w.output is None and len(others) > 1 and ALL in w.ignore:
        others = others[:1]
    return pick(w, "result", others, w.output, ranks), mask


def _source_in(
    graph: gs.Graph, w: Wrapping, given: gs.Variable, tensor: gs.Variable, matrix: np.ndarray | None
) -> None:
    """The identity as the model takes it: a latent, one times a matrix, or the source's picture."""
    x = given
    if w.takes_picture_of_source:
        x = node(graph, "Reshape", x, np.array([-1, 3, w.source_size, w.source_size], np.int64))
        as_source = replace(w, mean=(0, 0, 0), std=(1, 1, 1), range=w.source_range)
        return picture_in(graph, as_source, x, tensor)
    if matrix is not None:
        x = unit_length(graph, node(graph, "MatMul", x, matrix))
    return feed(graph, x, tensor)


def _further_in(graph: gs.Graph, w: Wrapping, name: str, tensor: gs.Variable) -> None:
    shape = np.array([d or 1 for d in dims(tensor)], np.int64)
    if math.prod(shape.tolist()) != 1:
        raise ExportError(f"{w.model}: the input {shown(tensor)} is more than one number.")
    if name == w.fidelity:
        graph.inputs.append(gs.Variable("fidelity"))
        feed(graph, node(graph, "Reshape", graph.inputs[-1], shape), tensor)
    else:
        feed(graph, np.full(shape.tolist(), w.constants[name], np.float32), tensor)


def _behind(graph: gs.Graph, w: Wrapping, output: gs.Variable) -> gs.Variable:
    """From the model's output to the contract's."""
    if w.kind.gives in _VECTORS:
        x = node(graph, "Cast", output, to=TensorProto.FLOAT)
        raw = node(graph, "Flatten", x, axis=1, gives=gs.Variable(EMBEDDINGS, dtype=np.float32))
        return unit_length(graph, raw) if w.kind.gives == "latents" or w.average == "unit" else raw
    if w.kind.gives == "labels":
        x = node(graph, "ArgMax", node(graph, "Cast", output, to=TensorProto.FLOAT), axis=1, keepdims=0)
        if w.classes:
            x = node(graph, "Gather", np.array(w.classes, np.int64), x)
        return node(graph, "Cast", x, to=TensorProto.UINT8)
    return mask_out(graph, w, output) if w.kind.gives == "masks" else picture_out(graph, w, output)


def picture_encoder(w: Wrapping) -> tuple[StageSpec, ModelProto]:
    """An encoder whose code is the source's picture itself."""
    side = w.source_size
    stage = replace(spec("encode", size=side, templates=w.source_template, latent=3 * side**2), average="none")
    graph = gs.Graph(inputs=[gs.Variable("faces", np.float32, ("N", 3, side, side))], opset=OPSET)
    graph.outputs = [node(graph, "Flatten", graph.inputs[0], axis=1)]
    return stage, finished(graph, stage, w.model)


def check_rows(model: ModelProto, stage: StageSpec, path: Path) -> None:
    """Three rows at once must be the same as each alone.

    Raises:
        ExportError: they are not, or the graph does not run.
    """
    inputs = {name: tensor.numpy() for name, tensor in example_inputs(stage, 3).items()}
    rows = [{k: v if len(v) == 1 else v[i : i + 1] for k, v in inputs.items()} for i in range(3)]
    try:
        session = session_of(model)
        alone = [session.run(None, row)[0] for row in (rows[:1] if stage.single else rows)]
    except ORT_ERRORS as e:
        raise ExportError(f"{path} does not run as a {stage.name} graph of size {stage.size}: {e}") from e
    if stage.single:
        return
    hint = "Declare that it takes one face at a time (--single), which is slower"
    try:
        together = session.run(None, inputs)[0]
    except ORT_ERRORS as e:
        raise ExportError(
            f"{path} is made for a batch of one, in more places than Reshape constants. {hint}: {e}"
        ) from e
    wanted = np.concatenate(alone)
    if together.shape != wanted.shape:
        raise ExportError(
            f"{path} is made for a batch of one: three give {together.shape}, expected {wanted.shape}. {hint}."
        )
    difference = float(np.abs(together.astype(np.float32) - wanted).max() / max(1e-12, float(np.abs(wanted).max())))
    share = float((together == wanted).mean())
    if share < LABEL_AGREEMENT and (stage.kind.gives == "labels" or not difference <= ROW_TOLERANCE[stage.precision]):
        raise ExportError(
            f"{path}: a face in a batch of three differs from the same face alone by {difference:.1e} of the largest "
            f"value; the model mixes faces. {hint}."
        )
