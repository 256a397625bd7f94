"""What the graphs of a pack are run on: what the pipeline gives them on real frames, and what no clip has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from trtswap.backends.runtime import Runtime
from trtswap.calibration.clip import Still
from trtswap.canvas.pipeline import Opened, Pipeline
from trtswap.export.build import DETECT_SIDES, example_inputs
from trtswap.faces.identity import Identifier
from trtswap.model.pack import Pack, StageSpec
from trtswap.model.stages import Port
from trtswap.options import RuntimeOptions, SwapOptions
from trtswap.session.observers import Observer
from trtswap.session.session import detector
from trtswap.session.stopwatch import Stopwatch

Row = Mapping[str, NDArray[Any]]
"""Inputs or outputs of a graph by name, one row of a batch."""

PICTURES = ("black", "white", "noise", "saturated", "stripes")
LATENTS = ("zero", "one-hot", "uniform", "alternating", "random")


class Tap(Observer):
    """Keeps what graphs are given and what they give, row by row, by stage."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {}
        self.answers: dict[str, list[Row]] = {}

    def ran(self, stage: str, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> None:
        for kept, values in ((self.rows, inputs), (self.answers, outputs)):
            count = max(map(len, values.values()))
            for i in range(count):
                row = {n: t[i : i + 1] if len(t) == count else t for n, t in values.items()}
                kept.setdefault(stage, []).append({n: t.cpu().numpy().copy() for n, t in row.items()})


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


def opened(pack: Pack, threads: int | None) -> Runtime:
    """A pack on the CPU, in the precision of its graphs."""
    return Runtime(pack, backend="onnxruntime", device="cpu", options=RuntimeOptions(threads=threads))


def watch(runtime: Runtime, stills: Sequence[Still]) -> Seen:
    """Find and swap the faces of frames, and keep what every graph was given and gave on the way."""
    tap, options = Tap(), SwapOptions()
    find, identify = detector(runtime, options, [tap.ran]), Identifier(runtime.stage("identify", [tap.ran]))
    pipeline = Pipeline(Opened(runtime, options, [tap.ran]), Stopwatch())
    frames = []
    for still, latent in zip(stills, identities(runtime, stills), strict=True):
        fresh = still.fresh()
        faces = find(fresh)
        identify(fresh, faces)
        if swapped := pipeline.make(fresh, faces, latent.expand(len(faces), -1)):
            pipeline.paste(fresh, swapped)
        frames.append(fresh.rgb(0).numpy())
    names = runtime.engines
    return Seen({n: tap.rows.get(n, []) for n in names}, {n: tap.answers.get(n, []) for n in names}, frames)


def identities(runtime: Runtime, stills: Sequence[Still]) -> Tensor:
    """Whom the faces of each frame are given: float32 [frames, D], as the swap graph takes it; the same on every call.

    Every other frame gets the face of another frame, the rest random latents: a clip often shows one person, and will
    be swapped with anybody's face.
    """
    identify = Identifier(runtime.stage(runtime.pack.coder.name))
    own = torch.cat([identify(still.frames, still.faces)[:1] for still in stills]).cpu()
    others = own.roll(len(own) // 2, 0)
    random = F.normalize(torch.randn(own.shape, generator=torch.Generator().manual_seed(0)))
    random = random * own.norm(dim=1).mean()
    odd = torch.arange(len(own)) % 2 == 1
    return torch.where(odd[:, None], random, others).to(runtime.device)


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
    pictures, *rest = stage.inputs
    height, width = DETECT_SIDES if stage.kind.searches else (stage.size, stage.size)
    rows: dict[str, Row] = {}
    for kind, latent in list(zip(PICTURES, LATENTS, strict=True))[:count]:
        row = {pictures.name: _picture(kind, height, width, generator).numpy()}
        for port in rest:
            row[port.name] = _rest(port, stage, latent, generator).numpy()
        rows[f"{kind}, {latent} latent" if stage.kind.takes_latents else kind] = row
    return rows


def _rest(port: Port, stage: StageSpec, latent: str, generator: torch.Generator) -> Tensor:
    return torch.full((1,), 0.5) if port.content == "shares" else _latent(latent, stage.latent, generator)


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
