"""The graph ``landmarks`` that comes with trtswap: MediaPipe's face mesh, its weights in float16 as they are published.

``python -m trtswap.export.mesh face_landmark_with_attention.tflite trtswap/packs/shared`` writes it anew.
"""

import sys
from pathlib import Path

from trtswap.errors import CheckpointError
from trtswap.export.checkpoints import resolve
from trtswap.export.networks.mesh import SIZE, FaceMesh
from trtswap.export.shared import write_shared
from trtswap.model.pack import StageSpec

CHECKPOINT = "mediapipe_face_mesh"
CERTAIN = 0.5
"""Score from which on points are taken: none of 254 rendered and 150 photographed faces, up to a half profile, had
less; full profiles have 0."""


def export_mesh(file: Path, folder: Path) -> StageSpec:
    """Write ``landmarks.onnx``, and its entry in ``stages.toml``.

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
    licence = {entry.name: {"sha256": entry.sha256, "licence": entry.licence}}
    write_shared(spec, FaceMesh(file).eval(), folder, weights=licence)
    return spec


if __name__ == "__main__":
    export_mesh(Path(sys.argv[1]), Path(sys.argv[2]))
