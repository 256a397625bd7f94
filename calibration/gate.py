"""How far a converted pack is from the original, and whether that is near enough.

Graphs in FP16 are run as :mod:`trtswap.calibration.rounding` has them, because ONNX Runtime on a CPU would not round.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trtswap.backends import open_engine
from trtswap.calibration.clip import Still
from trtswap.calibration.samples import Row
from trtswap.errors import PrecisionError
from trtswap.pack import Pack, StageSpec

Outputs = Mapping[str, NDArray[Any]]
EXACT_DB = 200.0
"""PSNR that is reported for equal pictures."""


@dataclass(frozen=True)
class Tolerance:
    """What a converted pack has to reach.

    Attributes:
        picture_db: PSNR of each swapped or restored crop, dB.
        latent_cosine: of each latent to the original's.
        label_agreement: share of equal labels, 0..1.
        landmark_pixels: largest distance of a landmark, pixels of the picture that is searched.
        frame_db: PSNR of each finished frame where a face was pasted, dB.
    """

    picture_db: float
    latent_cosine: float
    label_agreement: float
    landmark_pixels: float
    frame_db: float

    @staticmethod
    def of(pack: Pack, precision: str) -> "Tolerance":
        """What ``[tolerance.PRECISION]`` of a pack asks for; trtswap's own where it says nothing.

        Raises:
            PrecisionError: the pack asks for something that is not measured.
        """
        given = dict(pack.tolerance.get(precision, {}))
        if unknown := sorted(set(given) - {f.name for f in fields(Tolerance)}):
            raise PrecisionError(
                f"{pack.path}: [tolerance.{precision}] has {', '.join(unknown)}; known: "
                f"{', '.join(f.name for f in fields(Tolerance))}."
            )
        return Tolerance(
            **{f.name: given.get(f.name, getattr(TOLERANCES[precision], f.name)) for f in fields(Tolerance)}
        )


TOLERANCES: Mapping[str, Tolerance] = MappingProxyType(
    {
        "fp16": Tolerance(45.0, 0.9999, 0.995, 0.5, 45.0),
        "int8": Tolerance(30.0, 0.98, 0.97, 2.0, 35.0),
    }
)


@dataclass
class Figures:
    """The worst of what was seen of one graph, or of the frames.

    Attributes:
        values: ``picture_db``, ``latent_cosine``, ``label_agreement``, ``landmark_pixels`` or ``frame_db``, as far as
            they apply; and ``max_error`` and ``mean_error`` of float outputs.
        lost: faces that one of two detectors found alone.
    """

    values: dict[str, float] = field(default_factory=dict)
    lost: int = 0

    def add(self, name: str, value: float) -> None:
        worst = max if name in _HIGH_IS_BAD else min
        self.values[name] = worst(self.values.get(name, value), value)

    def failures(self, tolerance: Tolerance) -> Iterator[str]:
        """What misses the tolerance, in words."""
        for name, value in self.values.items():
            limit = getattr(tolerance, name, None)
            if limit is None:
                continue
            high = name in _HIGH_IS_BAD
            if not (value <= limit if high else value >= limit):
                yield f"{name} is {value:.6g}, expected at {'most' if high else 'least'} {limit:g}"
        if self.lost:
            yield f"{self.lost} faces are found by one of the two detectors alone"

    def rounded(self) -> dict[str, float]:
        """For pack.toml."""
        return {name: float(f"{value:.6g}") for name, value in self.values.items()}


_HIGH_IS_BAD = frozenset(("landmark_pixels", "max_error", "mean_error"))


def answers_of(graph: Path, rows: Sequence[Row], *, threads: int | None = None) -> list[Outputs]:
    """What a graph gives for each row, in ONNX Runtime on the CPU."""
    answers: list[Outputs] = []
    with open_engine(graph, backend="onnxruntime", device="cpu", threads=threads) as engine:
        for row in rows:
            outputs = engine(**{name: torch.from_numpy(values) for name, values in row.items()})
            answers.append({name: value.numpy().copy() for name, value in outputs.items()})
    return answers


def figures_of(stage: StageSpec, pairs: Sequence[tuple[Outputs, Outputs]]) -> Figures:
    """What the outputs of a stage say about each other: the worst over all rows."""
    figures = Figures()
    for wanted, found in pairs:
        if stage.name == "detect":
            _compare_faces(stage, wanted, found, figures)
            continue
        (name,) = wanted
        a, b = wanted[name], found[name]
        if stage.name == "parse":
            figures.add("label_agreement", float((a == b).mean()))
            continue
        error = np.abs(a.astype(np.float64) - b)
        figures.add("max_error", float(error.max()))
        figures.add("mean_error", float(error.mean()))
        if stage.name == "identify":
            figures.add("latent_cosine", cosine(a, b))
        else:
            figures.add("picture_db", psnr(a, b, peak=1.0))
    return figures


def not_finite(outputs: Mapping[str, Outputs]) -> Iterator[str]:
    """Which of the inputs, by name, a graph answers with NaN or infinity."""
    for kind, found in outputs.items():
        for name, values in found.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                yield f"{name} is not finite for {kind}"


def psnr(a: NDArray[Any], b: NDArray[Any], *, peak: float) -> float:
    """Peak signal-to-noise ratio, dB; ``EXACT_DB`` where nothing differs, -infinity where something is not finite."""
    error = float(np.square(a.astype(np.float64) - b.astype(np.float64)).mean()) if a.size else 0.0
    if not math.isfinite(error):
        return -math.inf
    return EXACT_DB if error == 0 else min(EXACT_DB, 10 * math.log10(peak**2 / error))


def cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Of two arrays as vectors; 1 where both are zero."""
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    length = float(np.linalg.norm(x) * np.linalg.norm(y))
    if not math.isfinite(length):
        return -1.0
    return float(x @ y) / length if length else float(not x.any() and not y.any())


def _compare_faces(stage: StageSpec, wanted: Outputs, found: Outputs, figures: Figures) -> None:
    """Match faces above the pack's threshold by their landmarks.

    A face whose score lies so near the threshold that rounding decides is not counted as lost.
    """
    near = 0.02
    for image in range(len(wanted["scores"])):
        sure = [_faces(side, image, stage.threshold + near) for side in (wanted, found)]
        every = [_faces(side, image, stage.threshold - near) for side in (wanted, found)]
        for mine, others in ((sure[0], every[1]), (sure[1], every[0])):
            for points in mine:
                distance = min((float(np.linalg.norm(points - p, axis=1).max()) for p in others), default=math.inf)
                width = float(np.ptp(points[:, 0])) + 1
                if distance > width / 2:
                    figures.lost += 1
                else:
                    figures.add("landmark_pixels", distance)


def _faces(outputs: Outputs, image: int, threshold: float) -> list[NDArray[Any]]:
    scores = outputs["scores"][image]
    return [outputs["landmarks"][image, i] for i in np.flatnonzero(scores >= max(threshold, 1e-6))]


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
