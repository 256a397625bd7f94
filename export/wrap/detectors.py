"""Detectors that give numbers for each cell of a picture: what makes faces of these is spliced behind them."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
import torch
from onnx import ModelProto, TensorProto, compose

from trtswap.backends.engine import TensorSpec
from trtswap.errors import ExportError
from trtswap.export.graph import export_graph
from trtswap.export.recipes import spec
from trtswap.export.standin import drawn_faces
from trtswap.export.wrap.declaration import Wrapping
from trtswap.export.wrap.decoders import DECODER_OF, Decoder, FoundFaces
from trtswap.export.wrap.surgery import (
    ORT_ERRORS,
    check_all_used,
    dims,
    free_batch,
    imported,
    node,
    own_name,
    pick,
    picture_in,
    precision,
    read,
    session_of,
    shown,
    unused_weights,
)
from trtswap.export.wrap.surgery import finished as finish
from trtswap.model.pack import StageSpec

TRIED_SIDES = ((320, 256), (256, 416))
"""Height and width of the pictures that a wrapped detector is tried on."""

TOLERANCE = 1e-3  # pixels, and of scores: pictures alone against the same in a batch


def wrap_detector(w: Wrapping) -> tuple[StageSpec, ModelProto]:
    """A detector as a graph that keeps the contract.

    Raises:
        ExportError: the model is not what was declared, or takes pictures of one size alone.
    """
    decoder = DECODER_OF[w.decoder]
    model = read(w.model)
    graph = imported(model, w.model)
    found = spec("detect", size=w.size)
    stage = replace(found, threshold=w.lowest, max_faces=w.max_faces, precision=precision(graph))
    picture = pick(w, "input", graph.inputs, w.faces, (4,))
    outputs = _outputs(w, decoder, graph.outputs)
    check_all_used(w, list(unused_weights(model)), [own_name(v) for v in graph.outputs if v not in outputs])
    free_batch(graph, cells=True)
    graph.inputs = [gs.Variable("images")]
    picture_in(graph, w, graph.inputs[0], picture)
    _behind(graph, _side_by_side(graph, decoder, outputs), _tail(decoder, stage))
    joined = finish(graph, stage, w.model)
    _check_sizes(joined, w.model)
    return stage, joined


def _outputs(w: Wrapping, decoder: Decoder, found: Sequence[gs.Variable]) -> list[gs.Variable]:
    """Those that the decoder reads, in their order: all that are not ignored."""
    taken = [v for v in found if own_name(v) not in w.ignore]
    columns = [dims(v)[1] if decoder.transposed else dims(v)[-1] for v in taken if len(dims(v)) in (2, 3)]
    wanted = [count for count in decoder.columns for _ in range(decoder.levels)]
    if len(columns) != len(wanted) or any(c not in (0, w) for c, w in zip(columns, wanted, strict=True)):
        raise ExportError(
            f"{w.model} gives {', '.join(map(shown, taken))}; decoder {w.decoder} reads {len(wanted)} outputs with "
            f"{', '.join(map(str, wanted))} numbers a cell, in this order."
        )
    return taken


def _side_by_side(graph: gs.Graph, decoder: Decoder, outputs: Sequence[gs.Variable]) -> gs.Variable:
    """All outputs as one: [B, cells, C]."""
    kinds = []
    for i, columns in enumerate(decoder.columns):
        of_kind = outputs[i * decoder.levels : (i + 1) * decoder.levels]
        levels = [_as_rows(graph, decoder, output, columns) for output in of_kind]
        kinds.append(node(graph, "Concat", *levels, axis=1))
    return node(graph, "Concat", *kinds, axis=2)


def _as_rows(graph: gs.Graph, decoder: Decoder, output: gs.Variable, columns: int) -> gs.Variable:
    """An output as [B, cells, C]. One of [cells, C], whose cells have all pictures' anchors in them, is sorted out."""
    rank = len(dims(output))
    x = node(graph, "Cast", output, to=TensorProto.FLOAT)
    if rank == 3:
        return node(graph, "Transpose", x, perm=[0, 2, 1]) if decoder.transposed else x
    shape = node(graph, "Shape", graph.inputs[0], start=0, end=1)
    mixed = node(
        graph, "Concat", np.array([-1], np.int64), shape, np.array([decoder.anchors, columns], np.int64), axis=0
    )
    x = node(graph, "Transpose", node(graph, "Reshape", x, mixed), perm=[1, 0, 2, 3])
    return node(graph, "Reshape", x, np.array([0, -1, columns], np.int64))


def _tail(decoder: Decoder, stage: StageSpec) -> ModelProto:
    """The decoder and what chooses faces, as a graph of their own."""
    (images,), outputs = stage.contract
    numbers = TensorSpec("numbers", ("B", "A", sum(decoder.columns)), torch.float32)
    module = FoundFaces(decoder, threshold=stage.threshold / 2, max_faces=stage.max_faces).eval()
    return export_graph(module, (images, numbers), outputs, name="decode")


def _behind(graph: gs.Graph, numbers: gs.Variable, tail: ModelProto) -> None:
    """The nodes of the tail become the graph's."""
    behind = gs.import_onnx(compose.add_prefix(tail, "decode/"))
    given = dict(zip((v.name for v in behind.inputs), (graph.inputs[0], numbers), strict=True))
    for one in behind.nodes:
        one.inputs = [given.get(tensor.name, tensor) for tensor in one.inputs]
    graph.nodes.extend(behind.nodes)
    graph.outputs = behind.outputs


def _check_sizes(model: ModelProto, path: Path) -> None:
    """Pictures of two sizes, alone and two at once.

    Raises:
        ExportError: the model takes one size alone, or mixes pictures.
    """
    generator = torch.Generator().manual_seed(0)
    try:
        session = session_of(model)
        for sides in TRIED_SIDES:
            pictures = drawn_faces((2, 3, *sides), generator).numpy()
            together = session.run(None, {"images": pictures})
            alone = [session.run(None, {"images": pictures[i : i + 1]}) for i in range(2)]
            for i, (output, whole) in product(range(2), enumerate(together)):
                if not np.allclose(whole[i], alone[i][output][0], atol=TOLERANCE):
                    raise ExportError(f"{path}: a picture in a batch of two gives other faces than alone.")
    except ORT_ERRORS as e:
        sizes = ", ".join(f"{height}x{width}" for height, width in TRIED_SIDES)
        raise ExportError(
            f"{path} does not run on pictures of {sizes}; a detector of a pack takes every size. Take a file that was "
            f"exported with a free height, width and batch: {e}"
        ) from e
