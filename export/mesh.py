"""The graph ``landmarks`` that comes with trtswap: MediaPipe's face mesh, its weights in float16 as they are published.

``python -m trtswap.export.mesh face_landmark_with_attention.tflite trtswap/packs/shared`` writes it anew.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import tomli_w
from onnx import ModelProto, TensorProto, helper, numpy_helper

from trtswap.errors import CheckpointError
from trtswap.export.build import example_inputs
from trtswap.export.checkpoints import resolve
from trtswap.export.compare import compare
from trtswap.export.graph import export_graph
from trtswap.export.networks.mesh import SIZE, FaceMesh
from trtswap.export.rules import check_rules
from trtswap.export.writer import stage_table
from trtswap.model.pack import StageSpec, sha256_of

CHECKPOINT = "mediapipe_face_mesh"
CERTAIN = 0.5
"""Score from which on points are taken: none of 254 rendered and 150 photographed faces, up to a half profile, had
less; full profiles have 0."""
WORTH_HALVING = 32  # numbers of a tensor from which on it is kept in float16; the exact ones of arithmetic are fewer


def export_mesh(file: Path, folder: Path) -> StageSpec:
    """Write ``landmarks.onnx`` and ``stages.toml``.

    The weights are float16 in the file, and float16 in the graph; all arithmetic is float32.

    Args:
        file: ``face_landmark_with_attention.tflite``, as it lies in the package mediapipe.
        folder: where both are written.

    Raises:
        CheckpointError: it is another file.
        ExportError: the graph differs from the network, or TensorRT would not take it.
    """
    entry = resolve(CHECKPOINT)
    if problem := entry.mismatch(file):
        raise CheckpointError(f"checkpoint {entry.name}: {file} is not the published file: {problem}.")
    spec = StageSpec(
        "landmarks", folder / "landmarks.onnx", "", "fp16", size=SIZE, templates=("mesh_192",), threshold=CERTAIN
    )
    network = FaceMesh(file).eval()
    model = export_graph(network, *spec.contract, name=spec.name)
    in_half(model)
    check_rules(model, spec.name)
    found = compare(model, network, lambda batch: example_inputs(spec, batch))
    figures = {"parameters": sum(p.numel() for p in network.parameters())} | found.figures()
    onnx.save(model, spec.path)
    table = stage_table(spec) | {"sha256": sha256_of(spec.path), "figures": figures}
    licence = {entry.name: {"sha256": entry.sha256, "licence": entry.licence}}
    text = tomli_w.dumps({"stages": {spec.name: table}, "weights": licence})
    (folder / "stages.toml").write_text(text, encoding="utf-8", newline="\n")
    return spec


def in_half(model: ModelProto) -> None:
    """Keep weights that float16 holds exactly in float16, and make float32 of them where they are used."""
    nodes = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(tensor)
        half = value.astype(np.float16)
        if value.size < WORTH_HALVING or not np.array_equal(half.astype(np.float32), value):
            continue
        name, kept = tensor.name, f"{tensor.name}_half"
        tensor.CopyFrom(numpy_helper.from_array(half, kept))
        nodes.append(helper.make_node("Cast", [kept], [name], f"{name}/Cast", to=TensorProto.FLOAT))
    every = [*nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(every)


if __name__ == "__main__":
    export_mesh(Path(sys.argv[1]), Path(sys.argv[2]))
