"""The proof of an engine that was made elsewhere: once, on the first GPU of a kind that runs it."""

import torch

from trtswap.backends.onnxruntime import OnnxRuntimeEngine
from trtswap.backends.trt.engine import TensorRtEngine
from trtswap.engines.config import BuildConfig
from trtswap.engines.verify import check, compare
from trtswap.errors import EngineBuildError
from trtswap.export.closeness import Tolerance
from trtswap.model.pack import Pack, StageSpec


def prove_once(pack: Pack, stage: StageSpec, engine: TensorRtEngine) -> None:
    """Compare an engine with its FP32 graph on the CPU, if that has not been done on a GPU of this kind.

    The figures are kept in the plan's record. An engine that is built on the GPU itself was compared before it was
    kept.

    Args:
        pack: whose tolerances count.
        stage: the graph.
        engine: opened from a stored plan.

    Raises:
        EngineBuildError: it is too far from the graph; it is removed.
    """
    stored = engine.stored
    if stored is None or stored.record.place.gpu or engine.here in stored.record.proofs:
        return
    config = BuildConfig.from_table(stored.record.config)
    with OnnxRuntimeEngine(stage.path, device=torch.device("cpu"), precision=stage.precision) as reference:
        figures = compare(stage, engine, reference, config)
    try:
        check(stage, figures, Tolerance.of(pack, stored.record.precision))
    except EngineBuildError:
        stored.remove()
        raise
    engine.stored = stored.proven(engine.here, figures.limited())
