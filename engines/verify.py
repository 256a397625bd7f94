"""The proof of an engine: what it gives on example inputs against the FP32 graph on the CPU."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trtswap.backends.engine import Engine
from trtswap.engines.config import BuildConfig
from trtswap.errors import EngineBuildError
from trtswap.export.closeness import Figures, Outputs, Tolerance, measure
from trtswap.model.pack import StageSpec
from trtswap.model.stages import Port

ROWS = 3
DRAWN_SIDE = 192  # pixels; the drawn faces are up to 128


def compare(stage: StageSpec, engine: Engine, reference: Engine, config: BuildConfig, *, seed: int = 0) -> Figures:
    """Run both on example inputs and measure; the worst of all batches and inputs counts.

    Args:
        stage: of the pack.
        engine: what is to be proven.
        reference: the pack's own graph on the CPU.
        config: of the engine: the shapes that it takes.
        seed: of the random inputs.

    Returns:
        ``finite`` (1 or 0), and as long as they are, the figures of the stage.
    """
    worst = Figures()
    for inputs in example_inputs(stage, config, seed):
        rows = len(next(iter(inputs.values())))
        for batch in sorted({1, rows}):
            given = {name: t[:batch].contiguous() for name, t in inputs.items()}
            wanted = _arrays(reference(**given))
            found = _arrays(engine(**{name: t.to(engine.device) for name, t in given.items()}))
            finite = all(np.isfinite(a).all() for a in found.values())
            worst.add("finite", float(finite))
            if finite:
                measure(stage, wanted, found, worst)
    return worst


def _arrays(outputs: Mapping[str, Tensor]) -> Outputs:
    """On the host, apart from the engine's own buffers."""
    return {name: t.cpu().numpy().copy() for name, t in outputs.items()}


def check(stage: StageSpec, figures: Figures, tolerance: Tolerance) -> None:
    """Refuse an engine that is too far from its reference.

    Raises:
        EngineBuildError: with each figure and its limit.
    """
    if wrong := list(figures.failures(tolerance)):
        raise EngineBuildError(
            f"the engine of graph {stage.name} differs from its FP32 reference: {'; '.join(wrong)}. It is refused and "
            "not kept. Build it with --precision fp32, or calibrate the pack with a clip like those it is used for."
        )


def example_inputs(stage: StageSpec, config: BuildConfig, seed: int = 0) -> list[dict[str, Tensor]]:
    """Inputs that try a stage: pictures that resemble photos, and black, white, noise and saturated ones.

    Returns:
        Named inputs as the pack contract has them, on the CPU, of at most ``ROWS`` rows; for detection one of the best
        shape of each profile, with drawn faces where there is room for them.
    """
    rows = min(ROWS, *(profile[dim].most for profile in config.profiles for dim in ("B", "N") if dim in profile))
    generator = torch.Generator().manual_seed(seed)
    if stage.kind.searches:
        sides = [(profile["H"].best, profile["W"].best) for profile in config.profiles]
        (images,) = stage.inputs
        return [{images.name: picture} for side in sides for picture in _detect_pictures(rows, side, generator)]
    shape = (ROWS, 3, stage.size, stage.size)
    smooth, noise = _smooth(shape, generator), torch.rand(shape, generator=generator)
    pictures = [
        (smooth + 0.05 * (noise - 0.5)).clamp(0, 1),
        torch.tensor([0.0, 1.0, 0.5]).view(ROWS, 1, 1, 1).expand(shape),
        torch.cat([noise[:1], (noise[1:2] > 0.5).float(), smooth[2:].mul(4).sub(1.5).clamp(0, 1)]),
    ]
    return [
        {port.name: _filled(port, stage, picture[:rows], generator) for port in stage.inputs} for picture in pictures
    ]


def _filled(port: Port, stage: StageSpec, picture: Tensor, generator: torch.Generator) -> Tensor:
    if port.content == "shares":
        return torch.full((1,), 0.5)
    if port.content == "masks":
        return picture.mean(1, keepdim=True)
    if port.content == "points":
        from trtswap.export.standin import drawn_points  # noqa: PLC0415 - export's, needed here alone

        return drawn_points(len(picture), stage.size, stage.templates[0])
    if port.content == "latents" and stage.points:
        from trtswap.export.meshswap.examples import (  # noqa: PLC0415 - export's, needed here alone
            example_codes,
            takes_codes,
        )

        if takes_codes(stage):
            return example_codes(stage, picture)
    if port.content == "latents":
        return F.normalize(torch.randn(len(picture), stage.latent, generator=generator))
    return picture


def _smooth(shape: tuple[int, int, int, int], generator: torch.Generator) -> Tensor:
    """Colour fields without details, float32, about 0..1."""
    coarse = torch.rand(*shape[:2], 7, 7, generator=generator)
    return F.interpolate(coarse, shape[2:], mode="bicubic", align_corners=False)


def _detect_pictures(rows: int, sides: tuple[int, int], generator: torch.Generator) -> list[Tensor]:
    from trtswap.export.standin import drawn_faces  # noqa: PLC0415 - export's, needed here alone

    shape = (rows, 3, *sides)
    pictures = [torch.rand(shape, generator=generator), _smooth(shape, generator).clamp(0, 1)]
    return [*pictures, drawn_faces(shape, generator)] if min(sides) >= DRAWN_SIDE else pictures
