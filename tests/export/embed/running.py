"""Embedded graphs in ONNX Runtime, as somebody without trtswap runs them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


class Graphs:
    """What a folder of embedded graphs does.

    Args:
        folder: with ``embed.json``.
    """

    def __init__(self, folder: Path) -> None:
        self.about = json.loads((folder / "embed.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._sessions = {
            name: onnxruntime.InferenceSession(folder / graph["file"], options, providers=["CPUExecutionProvider"])
            for name, graph in self.about["graphs"].items()
        }

    def run(self, name: str, **tensors: NDArray[Any]) -> Arrays:
        """Outputs by name; tensors that the graph does not take are left out."""
        session = self._sessions[name]
        names = [tensor.name for tensor in session.get_outputs()]
        return dict(zip(names, session.run(None, {t.name: tensors[t.name] for t in session.get_inputs()}), strict=True))

    def latent(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Of the first face of an RGB picture in the corner of a black frame of 1280x720, as in the library: [D]."""
        frame = np.zeros((1, 720, 1280, 3), np.uint8)
        frame[0, : picture.shape[0], : picture.shape[1]] = picture
        latents: NDArray[np.float32] = self.run("identify", frames=frame, **self.run("find", frames=frame))["latents"]
        return latents[0, 0]

    def swap(self, frames: Arrays, source: NDArray[np.float32]) -> Arrays:
        """All faces that are found get the identity [D]: frames by the names of their inputs."""
        found = self.run("find", **frames)
        batch, slots = found["scores"].shape
        sides = max(64, int(found["sides"].max()))
        made = self.run(
            "swap",
            **frames,
            **{name: found[name] for name in ("landmarks", "points") if name in found},
            **{self.about["source"]["tensor"]: np.tile(source, (batch, slots, 1))},
            strengths=(found["scores"] > 0).astype(np.float32),
            window=np.zeros(sides, np.float32),
        )
        return {name.removeprefix("swapped_"): value for name, value in made.items()}


def decibels(found: NDArray[np.uint8], wanted: NDArray[np.uint8], original: NDArray[np.uint8]) -> float:
    """Of the pixels that either has changed; pictures [..., 3]."""
    changed = ((found != original) | (wanted != original)).any(-1)
    off = (found[changed].astype(np.float64) - wanted[changed]) ** 2
    return float(10 * np.log10(255**2 / max(off.mean(), 1e-6)))
