"""Models that turn the latents of one network into those of another: an encoder out of the two."""

import math
from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs
from onnx import ModelProto, TensorProto, compose

from trtswap.errors import ExportError
from trtswap.export.wrap.crops import check_rows
from trtswap.export.wrap.declaration import Wrapping
from trtswap.export.wrap.surgery import (
    EMBEDDINGS,
    check_all_used,
    dims,
    feed,
    finished,
    free_batch,
    imported,
    node,
    own_name,
    pick,
    precision,
    read,
    shown,
    unit_length,
    unused_weights,
)
from trtswap.model.pack import StageSpec


def takes_latents(w: Wrapping) -> bool:
    """An encoder that is given latents, not pictures."""
    return w.stage == "encode" and w.size == 0


def wrap_converter(w: Wrapping, stage: StageSpec, identify: ModelProto) -> tuple[StageSpec, ModelProto]:
    """The identify graph of a pack, and behind it a model that its embeddings are given to.

    Args:
        w: the converter.
        stage: identify's entry in the pack, whose crops it works on.
        identify: that graph, which trtswap has wrapped.

    Raises:
        ExportError: the model is not what was declared, or the identify graph was not wrapped.
    """
    model = read(w.model)
    graph = imported(model, w.model)
    if len(graph.inputs) != 1 or len(dims(graph.inputs[0])) != 2 or dims(graph.inputs[0])[1] not in (0, stage.latent):
        have = ", ".join(map(shown, graph.inputs))
        raise ExportError(f"{w.model}: takes {have}, expected one input [N,{stage.latent}]: the latents of identify.")
    output = pick(w, "result", graph.outputs, w.output, ())
    check_all_used(w, list(unused_weights(model)), [own_name(v) for v in graph.outputs if v is not output])
    made = replace(
        stage, name="encode", latent=math.prod(dims(output)[1:]), threshold=0.0, average=w.average, figures={},
        precision="fp16" if "fp16" in (stage.precision, precision(graph)) else "fp32",
    )  # fmt: skip
    free_batch(graph)
    _join(graph, _front(identify, w), w.embeddings)
    x = node(graph, "Flatten", node(graph, "Cast", output, to=TensorProto.FLOAT), axis=1)
    graph.outputs = [unit_length(graph, x) if w.average == "unit" else x]
    joined = finished(graph, made, w.model)
    check_rows(joined, made, w.model)
    return made, joined


def _front(identify: ModelProto, w: Wrapping) -> gs.Graph:
    front = gs.import_onnx(compose.add_prefix(identify, "identify/"))
    if f"identify/{EMBEDDINGS}" not in front.tensors():
        raise ExportError(
            f"{w.model} converts latents, but the pack's identify graph does not have them as its model gives them. "
            "Wrap the identify model that the converter was made for in the same call."
        )
    return front


def _join(graph: gs.Graph, front: gs.Graph, embeddings: str) -> None:
    """The nodes of ``front`` become the graph's, which takes what that takes."""
    converted = graph.inputs[0]
    graph.nodes.extend(front.nodes)
    x = front.tensors()[f"identify/{EMBEDDINGS}"]
    x.dtype = np.float32
    graph.inputs = [front.inputs[0]]
    feed(graph, unit_length(graph, x) if embeddings == "unit" else x, converted)
