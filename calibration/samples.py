"""What the graphs of a pack are run on: what the pipeline gives them on real frames, and what no clip has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from trtswap.backends.engine import Engine, TensorSpec
from trtswap.calibration.clip import Still
from trtswap.canvas.pipeline import Pipeline
from trtswap.export.build import DETECT_SIDES, example_inputs
from trtswap.model.pack import StageSpec
from trtswap.session.stopwatch import Clock

Row = Mapping[str, NDArray[Any]]
"""Inputs or outputs of a graph by name, one row of a batch."""

PICTURES = ("black", "white", "noise", "saturated", "stripes")
LATENTS = ("zero", "one-hot", "uniform", "alternating", "random")


class Tap:
    """An engine that keeps what it was given and what it gave."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.rows: list[Row] = []
        self.answers: list[Row] = []

    @property
    def backend(self) -> str:
        return self._engine.backend

    @property
    def precision(self) -> str:
        return self._engine.precision

    @property
    def device(self) -> torch.device:
        return self._engine.device

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        return self._engine.inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        return self._engine.outputs

    def __call__(self, **tensors: Tensor) -> dict[str, Tensor]:
        outputs = self._engine(**tensors)
        for kept, values in ((self.rows, tensors), (self.answers, outputs)):
            for i in range(min(map(len, values.values()))):
                kept.append({name: t[i : i + 1].cpu().numpy().copy() for name, t in values.items()})
        return outputs

    def close(self) -> None:
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class TappedPipeline(Pipeline):
    """The pipeline of a pack, which keeps what each of its graphs was given and gave."""

    def _build_stages(self) -> None:
        self.taps = {name: Tap(engine) for name, engine in self.engines.items()}
        self.engines = dict(self.taps)
        super()._build_stages()


@dataclass(frozen=True)
class Seen:
    """What happened while a pack swapped the faces of some frames.

    Attributes:
        rows: per stage, what its graph was given, row by row.
        answers: per stage, what it gave for each row.
        frames: the finished frames, uint8 RGB [H, W, 3] each.
    """

    rows: Mapping[str, list[Row]]
    answers: Mapping[str, list[Row]]
    frames: list[NDArray[Any]]


def watch(pipeline: TappedPipeline, stills: Sequence[Still]) -> Seen:
    """Find and swap the faces of frames, and keep what every graph was given and gave on the way."""
    latents = identities(pipeline, stills)
    for tap in pipeline.taps.values():
        tap.rows.clear()
        tap.answers.clear()
    frames = []
    for still, latent in zip(stills, latents, strict=True):
        fresh = still.fresh()
        faces = pipeline.detect(fresh)
        pipeline.identify(fresh, faces)
        pipeline.swap(fresh, faces, latent.expand(len(faces), -1), Clock())
        frames.append(fresh.rgb(0).numpy())
    taps = pipeline.taps
    return Seen({n: list(t.rows) for n, t in taps.items()}, {n: list(t.answers) for n, t in taps.items()}, frames)


def identities(pipeline: Pipeline, stills: Sequence[Still]) -> Tensor:
    """Whom the faces of each frame are given: float32 [frames, D], unit length; the same on every call.

    Every other frame gets the face of another frame, the rest random latents: a clip often shows one person, and will
    be swapped with anybody's face.
    """
    own = torch.cat([pipeline.identify(still.frames, still.faces)[:1] for still in stills]).cpu()
    others = own.roll(len(own) // 2, 0)
    random = F.normalize(torch.randn(own.shape, generator=torch.Generator().manual_seed(0)))
    odd = torch.arange(len(own)) % 2 == 1
    return torch.where(odd[:, None], random, others).to(pipeline.device)


def generated(stage: StageSpec) -> list[Row]:
    """Inputs that resemble real ones, made without a clip."""
    return [{name: t.numpy() for name, t in example_inputs(stage, 1).items()}]


def adversarial(stage: StageSpec, *, seed: int, count: int = len(PICTURES)) -> dict[str, Row]:
    """Pictures and latents that no clip has, by what they are.

    Args:
        stage: whose contract to fill.
        seed: of noise and colours.
        count: how many, the first of ``PICTURES``.
    """
    generator = torch.Generator().manual_seed(seed)
    (pictures, *rest), _ = stage.contract
    height, width = DETECT_SIDES if stage.kind.searches else (stage.size, stage.size)
    rows: dict[str, Row] = {}
    for kind, latent in list(zip(PICTURES, LATENTS, strict=True))[:count]:
        row = {pictures.name: _picture(kind, height, width, generator).numpy()}
        for spec in rest:
            row[spec.name] = _latent(latent, stage.latent, generator).numpy()
        rows[f"{kind}, {latent} latent" if rest else kind] = row
    return rows


def _picture(kind: str, height: int, width: int, generator: torch.Generator) -> Tensor:
    """float32 [1, 3, H, W], RGB 0..1."""
    shape = (1, 3, height, width)
    if kind == "black":
        return torch.zeros(shape)
    if kind == "white":
        return torch.ones(shape)
    if kind == "noise":
        return torch.rand(shape, generator=generator)
    if kind == "saturated":  # patches of the eight corners of the colour cube
        corners = torch.rand(1, 3, 8, 8, generator=generator).round()
        return F.interpolate(corners, (height, width), mode="nearest")
    return (torch.arange(width) % 2).float().expand(shape).contiguous()  # the strongest edges that there are


def _latent(kind: str, length: int, generator: torch.Generator) -> Tensor:
    """float32 [1, D] of unit length, or zeros."""
    value = torch.zeros(1, length)
    if kind == "one-hot":
        value[0, int(torch.randint(length, (), generator=generator))] = 1.0
    elif kind == "uniform":
        value += 1.0
    elif kind == "alternating":
        value = 1.0 - 2.0 * (torch.arange(length) % 2).float()[None]
    elif kind == "random":
        value = torch.randn(1, length, generator=generator)
    return F.normalize(value)
