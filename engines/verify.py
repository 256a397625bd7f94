"""The proof of an engine: what it gives on example inputs against the FP32 graph on the CPU."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from trtswap.backends.engine import Engine
from trtswap.engines.recipe import Recipe
from trtswap.errors import EngineBuildError
from trtswap.pack import Pack, StageSpec

ROWS = 3
DRAWN_SIDE = 192  # pixels; the drawn faces are up to 128
# What PSNR says of pictures that are equal: 8 bits and more cannot show a difference.
EQUAL_DB = 120.0


@dataclass(frozen=True)
class Tolerance:
    """How far an engine may be from its reference.

    Attributes:
        picture_db: lowest PSNR of a picture, peak 1, in dB.
        latent_cosine: lowest cosine of two latents.
        label_agreement: lowest share of equal labels.
        landmark_pixels: most that a landmark may move, pixels of the picture that is searched.
        score: most that the score of a face may change.
    """

    picture_db: float = 45.0
    latent_cosine: float = 0.9999
    label_agreement: float = 0.995
    landmark_pixels: float = 0.5
    score: float = 0.03

    @staticmethod
    def of(pack: Pack, precision: str) -> "Tolerance":
        """What ``[tolerance.PRECISION]`` of a pack asks for; where it says nothing, what suits the precision."""
        default = _INT8 if precision == "int8" else Tolerance()
        asked = getattr(pack, "tolerance", {}).get(precision, {})
        return replace(default, **{key: value for key, value in asked.items() if key in _LIMITS})


_INT8 = Tolerance(picture_db=30.0, latent_cosine=0.98, label_agreement=0.97, landmark_pixels=2.0, score=0.1)
_LIMITS = tuple(f.name for f in fields(Tolerance))
_LOW_IS_GOOD = ("landmark_pixels", "score")

Figures = dict[str, float]


def compare(stage: StageSpec, engine: Engine, reference: Engine, recipe: Recipe, *, seed: int = 0) -> Figures:
    """Run both on example inputs and measure; the worst of all batches and inputs counts.

    Args:
        stage: of the pack.
        engine: what is to be proven.
        reference: the pack's own graph on the CPU.
        recipe: of the engine: the shapes that it takes.
        seed: of the random inputs.

    Returns:
        ``finite`` (1 or 0), and what :class:`Tolerance` has limits for, as far as the stage has it.
    """
    worst: Figures = {}
    for inputs in example_inputs(stage, recipe, seed):
        rows = len(next(iter(inputs.values())))
        for batch in sorted({1, rows}):
            given = {name: t[:batch].contiguous() for name, t in inputs.items()}
            wanted = {name: t.clone() for name, t in reference(**given).items()}
            found = engine(**{name: t.to(engine.device) for name, t in given.items()})
            for name, value in _figures(stage, {n: t.cpu() for n, t in found.items()}, wanted).items():
                worst[name] = _worse(name, worst.get(name, value), value)
    return worst


def _worse(name: str, one: float, other: float) -> float:
    return max(one, other) if name in _LOW_IS_GOOD else min(one, other)


def check(stage: StageSpec, figures: Mapping[str, float], tolerance: Tolerance) -> None:
    """Refuse an engine that is too far from its reference.

    Raises:
        EngineBuildError: with each figure and its limit.
    """
    wrong = []
    for name, value in figures.items():
        limit = 1.0 if name == "finite" else getattr(tolerance, name)
        low_is_good = name in _LOW_IS_GOOD
        if not (value <= limit if low_is_good else value >= limit):
            wrong.append(f"{name} is {value:.6g}, expected at {'most' if low_is_good else 'least'} {limit:g}")
    if wrong:
        raise EngineBuildError(
            f"the engine of graph {stage.name} differs from its FP32 reference: {'; '.join(wrong)}. It is refused and "
            "not kept. Build it with --precision fp32, or calibrate the pack with a clip like those it is used for."
        )


def _figures(stage: StageSpec, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Figures:
    finite = all(bool(t.isfinite().all()) for t in found.values() if t.is_floating_point())
    figures = {"finite": float(finite)}
    if not finite:
        return figures
    if stage.name == "detect":
        return figures | _faces(stage, found, wanted)
    ((name, expected),) = wanted.items()
    if stage.name == "identify":
        # The cosine of unit vectors; two zeros, which a graph may give for a picture without content, agree.
        apart = (found[name].double() - expected.double()).square().sum(1)
        return figures | {"latent_cosine": float(1 - apart.max() / 2)}
    if stage.name == "parse":
        return figures | {"label_agreement": float((found[name] == expected).double().mean())}
    return figures | {"picture_db": psnr(found[name], expected)}


def psnr(found: Tensor, wanted: Tensor) -> float:
    """Peak signal-to-noise ratio of the worst picture of a batch [N, 3, H, W], peak 1, in dB; at most ``EQUAL_DB``."""
    error = float((found.double() - wanted.double()).square().flatten(1).mean(1).max())
    return min(EQUAL_DB, -10 * math.log10(error)) if error > 0 else EQUAL_DB


def _faces(stage: StageSpec, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Figures:
    """Each face of the reference against the nearest one found; none of them may be missing or new.

    Faces whose score is so near to the threshold that the tolerance of scores decides may come and go.
    """
    margin = Tolerance().score
    figures = {"landmark_pixels": 0.0, "score": 0.0}
    pairs = ((wanted, found, stage.threshold + margin), (found, wanted, stage.threshold + 2 * margin))
    for one, other, limit in pairs:
        for frame, row in (one["scores"] >= limit).nonzero().tolist():
            moved = (other["landmarks"][frame] - one["landmarks"][frame, row]).square().sum(-1).sqrt().amax(-1)
            nearest = int(moved.argmin())
            change = (other["scores"][frame, nearest] - one["scores"][frame, row]).abs()
            figures["landmark_pixels"] = max(figures["landmark_pixels"], float(moved[nearest]))
            figures["score"] = max(figures["score"], float(change))
    return figures


def example_inputs(stage: StageSpec, recipe: Recipe, seed: int = 0) -> list[dict[str, Tensor]]:
    """Inputs that try a stage: pictures that resemble photos, and black, white, noise and saturated ones.

    Returns:
        Named inputs as the pack contract has them, on the CPU, of at most ``ROWS`` rows; for detection one of the best
        shape of each profile, with drawn faces where there is room for them.
    """
    rows = min(ROWS, *(profile[dim].most for profile in recipe.profiles for dim in ("B", "N") if dim in profile))
    generator = torch.Generator().manual_seed(seed)
    if stage.name == "detect":
        sides = [(profile["H"].best, profile["W"].best) for profile in recipe.profiles]
        return [{"images": picture} for side in sides for picture in _detect_pictures(rows, side, generator)]
    shape = (ROWS, 3, stage.size, stage.size)
    smooth, noise = _smooth(shape, generator), torch.rand(shape, generator=generator)
    pictures = [
        (smooth + 0.05 * (noise - 0.5)).clamp(0, 1),
        torch.tensor([0.0, 1.0, 0.5]).view(ROWS, 1, 1, 1).expand(shape),
        torch.cat([noise[:1], (noise[1:2] > 0.5).float(), smooth[2:].mul(4).sub(1.5).clamp(0, 1)]),
    ]
    inputs = [{"faces": picture[:rows]} for picture in pictures]
    if stage.name == "swap":
        for given in inputs:
            given["latents"] = F.normalize(torch.randn(rows, stage.latent, generator=generator))
    return inputs


def _smooth(shape: tuple[int, int, int, int], generator: torch.Generator) -> Tensor:
    """Colour fields without details, float32, about 0..1."""
    coarse = torch.rand(*shape[:2], 7, 7, generator=generator)
    return F.interpolate(coarse, shape[2:], mode="bicubic", align_corners=False)


def _detect_pictures(rows: int, sides: tuple[int, int], generator: torch.Generator) -> list[Tensor]:
    from trtswap.export.standin import drawn_faces  # noqa: PLC0415 - export's, needed here alone

    shape = (rows, 3, *sides)
    pictures = [torch.rand(shape, generator=generator), _smooth(shape, generator).clamp(0, 1)]
    return [*pictures, drawn_faces(shape, generator)] if min(sides) >= DRAWN_SIDE else pictures
