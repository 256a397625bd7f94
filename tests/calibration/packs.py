"""Small packs to convert, and graphs that are hard to."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from trtswap.calibration import CalibrationTable, TensorRange, pack_hash
from trtswap.calibration.prepared import prepared
from trtswap.calibration.ranges import extents
from trtswap.calibration.samples import adversarial, generated
from trtswap.export.writer import PackWriter
from trtswap.model.pack import Pack, StageSpec

GAIN = 1e6


def loud(stage: StageSpec) -> ModelProto:
    """A stage's graph with weights under which features reach millions; in FP32 it works as well as before."""
    model = prepared(stage)
    convolutions = [n for n in model.graph.node if n.op_type == "Conv"]
    gains = {convolutions[0].input[1]: GAIN}  # latents are divided by their length, of scores only the largest counts
    if stage.name == "swap":
        gains[convolutions[-1].input[1]] = 1 / GAIN
    elif stage.name == "restore":  # demodulation takes it back
        gains = {n.input[1]: GAIN for n in _demodulated(model)}
        gains |= {n.input[1]: GAIN**2 for n in model.graph.node if n.op_type == "MatMul"}
    for tensor in model.graph.initializer:
        if tensor.name in gains:
            louder = numpy_helper.to_array(tensor) * np.float32(gains[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(louder, tensor.name))
    return model


def _demodulated(model: ModelProto) -> list[NodeProto]:
    """Convolutions whose result is multiplied by a reciprocal."""
    made = {n.output[0]: n for n in model.graph.node}
    inverse = {n.output[0] for n in model.graph.node if n.op_type == "Reciprocal"}
    wide = {n.output[0] for n in model.graph.node if n.op_type == "Unsqueeze" and n.input[0] in inverse}
    products = [n for n in model.graph.node if n.op_type == "Mul" and wide.intersection(n.input)]
    return [made[t] for n in products for t in n.input if t not in wide]


def ranges_of(model: ModelProto, stage: StageSpec) -> Mapping[str, TensorRange]:
    """Measured on generated and on adversarial pictures."""
    rows = generated(stage), [*adversarial(stage, seed=0).values()]
    usual, rare = (extents(model, some, threads=1) for some in rows)
    return {t: TensorRange(low, high, max(map(abs, rare[t]))) for t, (low, high) in usual.items()}


def table_of(pack: Pack) -> CalibrationTable:
    """For packs whose detector finds no faces."""
    stages = {name: ranges_of(prepared(stage), stage) for name, stage in pack.stages.items()}
    return CalibrationTable(pack_hash(pack), "0" * 64, (), 0, stages)


def with_detector(pack: Pack, detector: Pack, target: Path) -> Pack:
    """A copy of a pack with another's detect stage."""
    with PackWriter(target, overwrite=False) as writer:
        for name, stage in pack.stages.items():
            writer.copy(detector.stages["detect"] if name == "detect" else stage)
        return writer.finish(
            name=target.name, version="1", licence=pack.licence, description="Narrow networks.", weights={}
        )
