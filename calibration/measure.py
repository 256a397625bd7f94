"""Running a pack on a clip to learn the ranges of its tensors."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trtswap.calibration.clip import choose_stills, clip_hash
from trtswap.calibration.prepared import full_precision, prepared
from trtswap.calibration.ranges import Extent, extents
from trtswap.calibration.samples import PICTURES, Row, adversarial, generated, opened, watch
from trtswap.calibration.table import CalibrationTable, TensorRange, pack_hash
from trtswap.errors import InputError
from trtswap.limits import Limits
from trtswap.model.pack import Pack, StageSpec
from trtswap.options import SwapOptions
from trtswap.session.session import detector

FRAMES = 8
RANGE_SEED = 0  # of adversarial inputs that ranges are measured on; the gate has another


def calibrate(
    pack: Pack,
    source: Path | str | Any,
    *,
    frames: int = FRAMES,
    adversaries: int = len(PICTURES),
    threads: int | None = None,
    limits: Limits | None = None,
    report: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> CalibrationTable:
    """Measure the range of every tensor of a pack's FP32 graphs on the faces of a clip.

    Frames that are spread over the clip and differ from each other go through the whole pipeline in FP32, on the CPU;
    what each graph is given there, its tensors are measured on. Beside it, for safety, on pictures and latents that no
    clip has.

    Args:
        pack: with at least one graph in FP32.
        source: a video, or uint8 RGB frames [B, H, W, 3].
        frames: how many frames to take.
        adversaries: how many pictures that no clip has, at most 5.
        threads: CPU threads; every core where None.
        limits: of a video.
        report: called as things go on: ``frames`` or the stage, how much of it is done, of how much.

    Raises:
        CalibrationError: no face was found, no graph is in FP32, or one cannot be measured.
        InputError: ``frames`` or ``adversaries`` is out of range.
        ReadError: the video cannot be read.
    """
    if frames < 1 or not 0 <= adversaries <= len(PICTURES):
        raise InputError(
            f"frames is {frames}, adversaries {adversaries}; expected 1 or more, and 0 to {len(PICTURES)}."
        )
    measured = full_precision(pack)
    with torch.inference_mode(), opened(pack, threads) as runtime:
        find = detector(runtime, SwapOptions())
        stills = choose_stills(source, find, frames, limits=limits, looked=partial(report, "frames"))
        rows = watch(runtime, stills).rows
    stages = {}
    for name, stage in measured.items():
        rare = [*adversarial(stage, seed=RANGE_SEED, count=adversaries).values(), *generated(stage)]
        stages[name] = _ranges(stage, rows[name], rare if adversaries else [], threads, partial(report, name))
    return CalibrationTable(
        pack=pack_hash(pack),
        clip=clip_hash(source),
        times=tuple(sorted(still.time for still in stills)),
        faces=sum(len(still.faces) for still in stills),
        stages=stages,
    )


def _ranges(
    stage: StageSpec,
    real: Sequence[Row],
    rare: Sequence[Row],
    threads: int | None,
    ran: Callable[[int, int], None],
) -> dict[str, TensorRange]:
    model = prepared(stage)
    usual = extents(model, real, threads=threads, ran=ran)
    unusual: Mapping[str, Extent] = extents(model, rare, threads=threads, ran=ran) if rare else usual
    return {
        name: TensorRange(low, high, max(map(abs, unusual.get(name, (0.0, 0.0)))))
        for name, (low, high) in usual.items()
    }
