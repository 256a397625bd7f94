"""What a converted pack and the original answer, side by side, and the refusal where they are too far apart.

Graphs in FP16 are run as :mod:`trtswap.calibration.rounding` has them, because ONNX Runtime on a CPU would not round.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trtswap.backends import OnnxRuntimeOptions, open_engine
from trtswap.calibration.clip import Still
from trtswap.calibration.samples import Row
from trtswap.errors import PrecisionError
from trtswap.export.closeness import Figures, Outputs, psnr


def answers_of(graph: Path, rows: Sequence[Row], *, threads: int | None = None) -> list[Outputs]:
    """What a graph gives for each row, in ONNX Runtime on the CPU."""
    answers: list[Outputs] = []
    with open_engine(graph, backend="onnxruntime", device="cpu", options=OnnxRuntimeOptions(threads=threads)) as engine:
        for row in rows:
            outputs = engine(**{name: torch.from_numpy(values) for name, values in row.items()})
            answers.append({name: value.numpy().copy() for name, value in outputs.items()})
    return answers


def not_finite(outputs: Mapping[str, Outputs]) -> Iterator[str]:
    """Which of the inputs, by name, a graph answers with NaN or infinity."""
    for kind, found in outputs.items():
        for name, values in found.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                yield f"{name} is not finite for {kind}"


def compare_frames(stills: Sequence[Still], wanted: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]]) -> Figures:
    """PSNR of finished frames over the pixels that either pipeline changed: the face area."""
    figures = Figures()
    for still, a, b in zip(stills, wanted, found, strict=True):
        before = still.frames.rgb(0).numpy()
        changed = (a != before).any(-1) | (b != before).any(-1)
        if changed.any():
            figures.add("frame_db", psnr(a[changed], b[changed], peak=255.0))
    return figures


def refuse(what: str, precision: str, problems: Sequence[str]) -> None:
    """Raise where there are problems.

    Raises:
        PrecisionError: names the graph, the precision and the figures.
    """
    if problems:
        raise PrecisionError(
            f"{what} in {precision} is too far from FP32: {'; '.join(problems)}. No pack was written; use the FP32 "
            f"one, or, if that is good enough for it, say so in [tolerance.{precision}] of its pack.toml."
        )
