"""A pack's engines on this GPU: there or built, compared with the FP32 graphs, and timed."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from trtswap.backends.device import Gpu
from trtswap.backends.onnxruntime import OnnxRuntimeEngine
from trtswap.backends.trt.engine import TensorRtEngine
from trtswap.engines.aim import aim
from trtswap.engines.build import Built, Listener, Options, build_engines
from trtswap.engines.config import BuildConfig
from trtswap.engines.verify import check, compare, example_inputs
from trtswap.errors import TrtswapError
from trtswap.export.closeness import Tolerance
from trtswap.model.pack import Pack, StageSpec

WARM_UP, REPEATS = 3, 20


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one batch size: median, and the range of the middle half.

    Attributes:
        batch: rows.
        shape: of the first input.
    """

    batch: int
    shape: tuple[int, ...]
    median_ms: float
    low_ms: float
    high_ms: float


@dataclass(frozen=True)
class Examined:
    """What was found out about the engine of one stage.

    Attributes:
        stage: whose.
        problem: why there is no engine, or what is wrong with it; None if all is well.
        built_because: why it was built; None: it was there.
        record: of its plan; empty where there is none.
        difference: against the pack's graph on the CPU, measured now.
        timings: by batch size.
        captured: how many of the timed shapes run from a CUDA graph.
    """

    stage: str
    problem: str | None = None
    built_because: str | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    difference: Mapping[str, float] = field(default_factory=dict)
    timings: tuple[Timing, ...] = ()
    captured: int = 0


def examine(
    pack: Pack, gpu: Gpu, options: Options, *, listener: Listener | None = None, folder: Path | None = None
) -> list[Examined]:
    """Have an engine of every stage, and look at each; what fails for one stage does not keep the others from it.

    Args:
        pack, gpu, options, listener, folder: as :func:`~trtswap.engines.build.build_engines` takes them.
    """
    refused: dict[str, TrtswapError] = {}
    built = build_engines(pack, aim(gpu), options, listener=listener, folder=folder, refused=refused)
    found = {b.stage: _examine(pack, b, gpu) for b in built}
    found |= {stage: Examined(stage, problem=str(error)) for stage, error in refused.items()}
    return [found[name] for name in options.stages or pack.graphs]


def _examine(pack: Pack, built: Built, gpu: Gpu) -> Examined:
    stage, record = pack.graphs[built.stage], built.plan.record
    with (
        TensorRtEngine(stage.path, record, built.plan.read(), gpu=gpu) as engine,
        OnnxRuntimeEngine(stage.path, device=torch.device("cpu"), precision=stage.precision) as reference,
    ):
        config = BuildConfig.from_table(record.config)
        figures = compare(stage, engine, reference, config)
        problem = None
        try:
            check(stage, figures, Tolerance.of(pack, record.precision))
        except TrtswapError as e:
            problem = str(e)
        timings = tuple(_time(stage, config, engine, gpu, batch) for batch in _batches(config))
        return Examined(stage.name, problem, built.reason, asdict(record), figures.limited(), timings, engine.captured)


def _batches(config: BuildConfig) -> list[int]:
    """One row, and the number of rows that the first profile is tuned for."""
    profile = config.profiles[0]
    return sorted({1, *(profile[dim].best for dim in ("B", "N") if dim in profile)})


def _time(stage: StageSpec, config: BuildConfig, engine: TensorRtEngine, gpu: Gpu, batch: int) -> Timing:
    inputs = {
        name: t[:1].repeat(batch, *[1] * (t.ndim - 1)).to(engine.device)
        for name, t in example_inputs(stage, config)[0].items()
    }
    engine.prepare(**{name: tuple(t.shape) for name, t in inputs.items()})
    stream = gpu.new_stream()
    times = []
    with gpu.on(stream):
        for repeat in range(WARM_UP + REPEATS):
            stream.synchronize()
            started = time.perf_counter()
            engine(**inputs)
            stream.synchronize()
            if repeat >= WARM_UP:
                times.append((time.perf_counter() - started) * 1e3)
    low, median, high = statistics.quantiles(times, n=4)
    shape = tuple(next(iter(inputs.values())).shape)
    return Timing(batch, shape, *(round(value, 4) for value in (median, low, high)))
