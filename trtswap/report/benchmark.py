"""How fast a pack swaps here: end to end on a video, or without codecs on frames that are made up."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import torch

from trtswap.faces import Faces
from trtswap.faces.identity import Identity
from trtswap.model.stages import STAGES
from trtswap.pixels.color import PixelFormat
from trtswap.pixels.frames import Frames
from trtswap.pixels.geometry import TEMPLATES, identity_transform
from trtswap.session.flow import Role
from trtswap.session.session import Session, detector
from trtswap.session.stopwatch import Span, Stopwatch
from trtswap.session.video import run_roles, session_roles
from trtswap.swapper import Swapper
from trtswap.video.download import Download


@dataclass(frozen=True)
class Run:
    """What one run took.

    Attributes:
        frames, seconds: how many, and the wall time.
        stage_seconds: wall time by stage; stages of a pipelined run overlap.
        latency_seconds: from the moment a batch is asked for until it is encoded or thrown away, the median.
        cpu_seconds: time of all cores together.
        spans: when each stage was at work.
    """

    frames: int
    seconds: float
    stage_seconds: Mapping[str, float]
    latency_seconds: float
    cpu_seconds: float
    spans: Sequence[Span]

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.seconds

    @property
    def network_share(self) -> float:
        """Which part of the stages' time networks have, 0..1; detection counts with the work around it."""
        return sum(self.stage_seconds.get(name, 0.0) for name in STAGES) / sum(self.stage_seconds.values())


def somebody(swapper: Swapper) -> Identity:
    """An identity that nobody has, for speed alone."""
    latents = {
        name: torch.linspace(-1, 1, stage.latent, device=swapper.choice.device)
        for name, stage in swapper.pack.stages.items()
        if name in ("identify", "encode")
    }
    latent, code = latents["identify"], latents.get("encode")
    return Identity(latent / latent.norm(), code=None if code is None else code / code.norm())


def run_video(swapper: Swapper, source: Path, target: Path, who: Identity, **options: Any) -> Run:
    """One swap from file to file; ``options`` are :meth:`~trtswap.swapper.Swapper.swap_video`'s."""
    start, cpu = time.perf_counter(), time.process_time()
    result = swapper.swap_video(source, target, who, overwrite=True, **options)
    seconds = time.perf_counter() - start
    cpu = time.process_time() - cpu
    return Run(result.frames, seconds, result.seconds, latency(result.spans), cpu, result.spans)


def run_compute(
    swapper: Swapper, *, size: tuple[int, int], faces: int, frames: int, pipelined: bool = True, profile: bool = False
) -> Run:
    """Detect, track, swap and paste on frames that are on the device already; nothing is decoded or encoded.

    Args:
        size: (width, height) of the 8-bit 4:2:0 frames.
        faces: of each frame; the detector runs, and what it finds is replaced by as many faces in a grid.
        profile: wait for the GPU at the end of each stage, for true times by stage.
    """
    runtime, device, placed = swapper.runtime, swapper.choice.device, grid_of_faces(faces, size)
    find = detector(runtime, swapper.options)

    def found(batch: Frames) -> Faces:
        find(batch)
        return Faces.cat([placed.at(b) for b in range(len(batch))])

    watch = Stopwatch(synchronise=device if profile else None)
    options = replace(swapper.options, min_face=0.0)  # however small the cells of the grid are
    session = Session(runtime, somebody(swapper), options, stopwatch=watch, finder=found)
    batch = runtime.frames_at_once(size[0] * size[1] * 3 // 2)
    roles = (
        Role("decode", lambda _: _made_up(size, frames, batch, device, watch)),
        *session_roles(session),
        Role("encode", lambda batches: _thrown_away(batches, watch)),
    )
    start, cpu = time.perf_counter(), time.process_time()
    run_roles(runtime, roles, pipelined=pipelined)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return Run(frames, seconds, watch.seconds, latency(watch.spans), cpu, tuple(watch.spans))


def latency(spans: Sequence[Span]) -> float:
    """Median seconds from the beginning of a batch's decoding to the end of its encoding; batches keep their order."""
    decoded = [span.start for span in spans if span.stage == "decode"]
    encoded = [span.end for span in spans if span.stage == "encode"]
    return median([end - start for start, end in zip(decoded, encoded, strict=False)] or [0.0])


def grid_of_faces(count: int, size: tuple[int, int]) -> Faces:
    """Faces of one frame in rows and columns, upright, a third of a cell's shorter side high."""
    columns = max(1, round((count * size[0] / size[1]) ** 0.5))
    rows = -(-count // columns)
    cell = min(size[0] / columns, size[1] / rows)
    points = TEMPLATES["ffhq_512"].scaled(max(8, round(2 * cell / 3)))
    points = points - points.mean(0)
    centres = torch.tensor(
        [((n % columns + 0.5) * size[0] / columns, (n // columns + 0.5) * size[1] / rows) for n in range(count)]
    ).view(-1, 1, 2)
    landmarks = centres + points
    box = torch.cat([landmarks.amin(1), landmarks.amax(1)], 1)
    return Faces(torch.zeros(count, dtype=torch.int64), box, landmarks, torch.ones(count), torch.full((count,), -1))


def _made_up(size: tuple[int, int], count: int, batch: int, device: torch.device, watch: Stopwatch) -> Iterator[Frames]:
    """Noise; every batch has memory of its own, as it would from a decoder."""
    width, height = size
    noise = torch.Generator().manual_seed(0)
    shapes = ((height, width), (-(-height // 2), -(-width // 2)), (-(-height // 2), -(-width // 2)))
    y, u, v = (torch.randint(16, 236, (batch, *s), dtype=torch.uint8, generator=noise).to(device) for s in shapes)
    fmt = PixelFormat("yuv420p", 8, (1, 1), "bt709", False, (0.0, 0.5))
    for first in range(0, count, batch):
        number = min(batch, count - first)
        with watch.stage("decode"):
            planes = (y[:number].clone(), u[:number].clone(), v[:number].clone())
        pts = tuple(range(first, first + number))
        yield Frames(planes, fmt, identity_transform(), size, pts, (1,) * number, Fraction(1, 25))


def _thrown_away(batches: Iterator[Download], watch: Stopwatch) -> Iterator[None]:
    for batch in batches:
        with watch.stage("encode"):
            batch.wait()
    yield from ()
