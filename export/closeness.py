"""How near the answers of one graph are to those of another, and how near they have to be.

Conversions to lower precision and compiled engines are both held to this.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trtswap.errors import PrecisionError
from trtswap.model.pack import Pack, StageSpec

Outputs = Mapping[str, NDArray[Any]]
EXACT_DB = 120.0
"""PSNR that is reported for equal pictures; more than that, float32 cannot tell apart."""


@dataclass(frozen=True)
class Tolerance:
    """How far a graph, or the frames of a pack, may be from the original.

    Attributes:
        picture_db: lowest PSNR of a swapped or restored crop, peak 1, dB.
        latent_cosine: lowest cosine of a latent to the original's.
        label_agreement: lowest share of equal labels, 0..1.
        landmark_pixels: most that a landmark may move, pixels of the picture that is searched.
        score: most that the score of a face may change.
        frame_db: lowest PSNR of a finished frame where a face was pasted, dB.
    """

    finite: ClassVar[float] = 1.0  # no pack may ask for less

    picture_db: float
    latent_cosine: float
    label_agreement: float
    landmark_pixels: float
    score: float
    frame_db: float

    @staticmethod
    def of(pack: Pack, precision: str) -> "Tolerance":
        """What ``[tolerance.PRECISION]`` of a pack asks for; trtswap's own where it says nothing.

        FP32 engines are held to what FP16 has to reach: a GPU may round their products to TF32.

        Raises:
            PrecisionError: the pack asks for something that is not measured.
        """
        given, own = dict(pack.tolerance.get(precision, {})), TOLERANCES.get(precision, TOLERANCES["fp16"])
        known = [f.name for f in fields(Tolerance)]
        if unknown := sorted(set(given) - set(known)):
            raise PrecisionError(
                f"{pack.path}: [tolerance.{precision}] has {', '.join(unknown)}; known: {', '.join(known)}."
            )
        return Tolerance(**{name: given.get(name, getattr(own, name)) for name in known})


TOLERANCES: Mapping[str, Tolerance] = MappingProxyType(
    {
        "fp16": Tolerance(45.0, 0.9999, 0.995, 0.5, 0.03, 45.0),
        "int8": Tolerance(30.0, 0.98, 0.97, 2.0, 0.1, 35.0),
    }
)


@dataclass
class Figures:
    """The worst of what was seen of one graph, or of the frames.

    Attributes:
        values: what :class:`Tolerance` has limits for, as far as it applies; and ``max_error`` and ``mean_error`` of
            float outputs.
        lost: faces that one of two detectors found alone.
    """

    values: dict[str, float] = field(default_factory=dict)
    lost: int = 0

    def add(self, name: str, value: float) -> None:
        worst = max if name in _HIGH_IS_BAD else min
        self.values[name] = worst(self.values.get(name, value), value)

    def limited(self) -> dict[str, float]:
        """Those that have a limit."""
        return {name: value for name, value in self.values.items() if name not in _UNLIMITED}

    def failures(self, tolerance: Tolerance) -> Iterator[str]:
        """What misses the tolerance, in words."""
        for name, value in self.limited().items():
            limit, high = getattr(tolerance, name), name in _HIGH_IS_BAD
            if not (value <= limit if high else value >= limit):
                yield f"{name} is {value:.6g}, expected at {'most' if high else 'least'} {limit:g}"
        if self.lost:
            yield f"{self.lost} faces are found by one of the two detectors alone"

    def rounded(self) -> dict[str, float]:
        """For pack.toml."""
        return {name: float(f"{value:.6g}") for name, value in self.values.items()}


_UNLIMITED = frozenset(("max_error", "mean_error"))
_HIGH_IS_BAD = _UNLIMITED | {"landmark_pixels", "score"}


def figures_of(stage: StageSpec, pairs: Sequence[tuple[Outputs, Outputs]]) -> Figures:
    """What the outputs of a stage say about each other: the worst of all pairs, and of all rows of their batches.

    Args:
        stage: whose outputs.
        pairs: what was wanted and what was found, each [N, ...]. Labels are counted over the whole batch.
    """
    figures = Figures()
    for wanted, found in pairs:
        measure(stage, wanted, found, figures)
    return figures


def measure(stage: StageSpec, wanted: Outputs, found: Outputs, figures: Figures) -> None:
    """Add what one pair says; arguments as in :func:`figures_of`."""
    if stage.kind.searches:
        _compare_faces(stage.threshold, wanted, found, figures)
        return
    name = stage.kind.outputs[0].name
    a, b = wanted[name], found[name]
    if stage.kind.gives == "labels":
        figures.add("label_agreement", float((a == b).mean()))
        return
    if stage.kind.gives == "points":
        figures.add("landmark_pixels", float(np.linalg.norm(a.astype(np.float64) - b, axis=-1).max()))
        return
    error = np.abs(a.astype(np.float64) - b)
    figures.add("max_error", float(error.max()))
    figures.add("mean_error", float(error.mean()))
    for row, other in zip(a, b, strict=True):
        if stage.kind.gives == "latents":
            figures.add("latent_cosine", cosine(row, other))
        elif stage.kind.gives == "codes":
            length = max(float(np.linalg.norm(row)), 1e-12)
            figures.add("latent_cosine", cosine(row / length, other / length))
        else:
            figures.add("picture_db", psnr(row, other, peak=1.0))


def psnr(a: NDArray[Any], b: NDArray[Any], *, peak: float) -> float:
    """Peak signal-to-noise ratio, dB; ``EXACT_DB`` where nothing differs, -infinity where something is not finite."""
    error = float(np.square(a.astype(np.float64) - b.astype(np.float64)).mean()) if a.size else 0.0
    if not math.isfinite(error):
        return -math.inf
    return EXACT_DB if error == 0 else min(EXACT_DB, 10 * math.log10(peak**2 / error))


def cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Of two unit vectors; -1 where something is not finite.

    It is made from their distance, so a latent whose length is wrong counts as another one, and two zeros, which a
    graph may give for a picture without content, agree.
    """
    apart = float(np.square(a.astype(np.float64) - b.astype(np.float64)).sum())
    return 1 - apart / 2 if math.isfinite(apart) else -1.0


def _compare_faces(threshold: float, wanted: Outputs, found: Outputs, figures: Figures) -> None:
    """Match faces above the pack's threshold by their landmarks.

    A face whose score lies so near the threshold that rounding decides is not counted as lost.
    """
    near = TOLERANCES["fp16"].score
    for image in range(len(wanted["scores"])):
        sure = [_faces(side, image, threshold + near) for side in (wanted, found)]
        every = [_faces(side, image, threshold - near) for side in (wanted, found)]
        for mine, others in ((sure[0], every[1]), (sure[1], every[0])):
            for points, score in mine:
                apart = [(float(np.linalg.norm(points - p, axis=1).max()), abs(score - s)) for p, s in others]
                distance, change = min(apart, default=(math.inf, 0.0))
                width = float(np.ptp(points[:, 0])) + 1
                if distance > width / 2:
                    figures.lost += 1
                else:
                    figures.add("landmark_pixels", distance)
                    figures.add("score", change)


def _faces(outputs: Outputs, image: int, threshold: float) -> list[tuple[NDArray[Any], float]]:
    """Landmarks [5, 2] and score of each face."""
    scores = outputs["scores"][image]
    rows = np.flatnonzero(scores >= max(threshold, 1e-6))
    return [(outputs["landmarks"][image, i], float(scores[i])) for i in rows]
