"""From an FP32 pack and its calibration table to a pack in lower precision, compared before it is written."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import ModelProto

from trtswap.backends import choose
from trtswap.calibration.clip import Still, choose_stills
from trtswap.calibration.gate import (
    Tolerance,
    compare_frames,
    compare_graphs,
    figures_of,
    finished,
    not_finite,
    refuse,
)
from trtswap.calibration.half import half_graph
from trtswap.calibration.islands import find_islands
from trtswap.calibration.prepared import prepared
from trtswap.calibration.quantise import quantised_graph
from trtswap.calibration.rounding import rounding_graph
from trtswap.calibration.samples import PICTURES, Row, TappedPipeline, adversarial, generated, rows_of
from trtswap.calibration.table import CalibrationTable, TensorRange
from trtswap.errors import PrecisionError
from trtswap.export.arithmetic import full_precision_share, sizes_of
from trtswap.export.graph import checked
from trtswap.export.writer import PackWriter
from trtswap.options import SwapOptions
from trtswap.pack import Pack, StageSpec

GATE_SEED = 1
HELD_OUT = 2
Report = Callable[[str], None]


@dataclass(frozen=True)
class Held:
    """What converted graphs are compared on.

    Attributes:
        rows: per stage, inputs as the pipeline gives them on frames that were not calibrated on.
        stills: those frames; none where there is no clip.
        adversaries: how many pictures that no clip has.
    """

    rows: Mapping[str, list[Row]]
    stills: list[Still]
    adversaries: int


def to_half(
    pack: Pack,
    table: CalibrationTable,
    folder: Path,
    *,
    held_out: Path | str | Any | None = None,
    frames: int = HELD_OUT,
    adversaries: int = len(PICTURES),
    name: str | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    report: Report = lambda line: None,
) -> Pack:
    """A pack whose graphs are FP16 with FP32 islands; TensorRT builds engines of just that precision from them.

    Which nodes stay in FP32: :mod:`trtswap.calibration.islands`. Inputs and outputs stay as the pack contract has them.
    Every graph is compared with the original before the pack is written, in FP16's own rounding.

    Args:
        pack: an FP32 pack.
        table: measured on it.
        folder: of the new pack.
        held_out: a clip, or uint8 RGB frames [B, H, W, 3], whose frames (other ones than those of the table) the graphs
            and the finished frames are compared on. None compares the graphs on generated pictures alone.
        frames: how many frames of it.
        adversaries: how many pictures that no clip has, at most 5: on these a graph must stay finite.
        name: of the new pack; None for the old one's with ``-fp16``.
        overwrite: replace a pack that is there.
        threads: CPU threads; every core where None.
        report: called with one line of text after each graph.

    Raises:
        CalibrationError: the table is of another pack, or the pack is not FP32.
        PrecisionError: a graph or a finished frame misses the pack's tolerance; has the figures.
        ExportError: the folder cannot be written, or a graph would not become an engine.
    """
    return _convert("fp16", half_stage, pack, table, folder, held_out, frames, adversaries, name, overwrite, threads, report)


def to_int8(
    pack: Pack,
    table: CalibrationTable,
    folder: Path,
    *,
    held_out: Path | str | Any | None = None,
    frames: int = HELD_OUT,
    adversaries: int = len(PICTURES),
    name: str | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    report: Report = lambda line: None,
) -> Pack:
    """A pack whose convolutions work on 8 bits: explicit Q/DQ, symmetric, weights per channel, the rest in FP32.

    Arguments and errors as in :func:`to_half`.
    """
    return _convert("int8", int8_stage, pack, table, folder, held_out, frames, adversaries, name, overwrite, threads, report)


def half_stage(stage: StageSpec, ranges: Mapping[str, TensorRange]) -> ModelProto:
    """The FP16 graph of a stage, checked.

    Raises:
        CalibrationError, ExportError: see :func:`to_half`.
    """
    model = prepared(stage)
    return checked(half_graph(model, find_islands(model, ranges, stage.name)), stage.name)


def int8_stage(stage: StageSpec, ranges: Mapping[str, TensorRange]) -> ModelProto:
    """The quantised graph of a stage, checked.

    Raises:
        CalibrationError, ExportError: see :func:`to_int8`.
    """
    return checked(quantised_graph(prepared(stage), ranges, stage.name), stage.name)


def _convert(
    precision: str,
    convert: Callable[[StageSpec, Mapping[str, TensorRange]], ModelProto],
    pack: Pack,
    table: CalibrationTable,
    folder: Path,
    clip: Any,
    frames: int,
    adversaries: int,
    name: str | None,
    overwrite: bool,
    threads: int | None,
    report: Report,
) -> Pack:
    table.check(pack)
    tolerance = Tolerance.of(pack, precision)
    held = _held(pack, table, clip, frames, adversaries, threads)
    with PackWriter(folder, overwrite=overwrite) as writer, tempfile.TemporaryDirectory() as scratch:
        judged = {}
        for stage in pack.stages.values():
            model = convert(stage, table.stages[stage.name])
            path = Path(scratch) / f"{stage.name}.onnx"
            onnx.save(rounding_graph(model), path)
            figures = _judge(stage, path, held, precision, tolerance, threads)
            figures["full_precision_share"] = float(f"{full_precision_share(model, sizes_of(stage)):.3g}")
            writer.add(replace(stage, precision=precision, figures=dict(stage.figures) | {precision: figures}), model)
            judged[stage.name] = replace(stage, path=path)
            report(f"{stage.name}: {in_words(figures)}")
        if held.stills:
            twin = replace(pack, stages=judged)
            found = compare_frames(held.stills, *(finished(p, held.stills, threads=threads) for p in (pack, twin)))
            refuse("the finished frame", precision, list(found.failures(tolerance)))
            report(f"finished frames: {in_words(found.rounded())}")
        return writer.finish(
            name=name or f"{pack.name}-{precision}",
            version=pack.version,
            licence=pack.licence,
            description=f"{pack.description} Converted to {precision}.",
            weights=pack.weights,
            tolerance=pack.tolerance,
        )


def _held(
    pack: Pack, table: CalibrationTable, clip: Any, frames: int, adversaries: int, threads: int | None
) -> Held:
    if clip is None:
        return Held({name: generated(stage) for name, stage in pack.stages.items()}, [], adversaries)
    with torch.inference_mode(), TappedPipeline(
        pack, choose("onnxruntime", "cpu"), SwapOptions(), threads=threads
    ) as pipeline:
        stills = choose_stills(clip, pipeline, frames, without=table.times)
        return Held(rows_of(pipeline, stills), stills, adversaries)


def _judge(
    stage: StageSpec, converted: Path, held: Held, precision: str, tolerance: Tolerance, threads: int | None
) -> dict[str, Any]:
    """Figures of a converted graph.

    Raises:
        PrecisionError: it misses the tolerance, or is not finite on an adversarial input.
    """
    rows = held.rows[stage.name]
    rare = adversarial(stage, seed=GATE_SEED, count=held.adversaries)
    pairs = compare_graphs(stage, stage.path, converted, [*rows, *rare.values()], threads=threads)
    usual, unusual = pairs[: len(rows)], pairs[len(rows) :]
    found = figures_of(stage, usual)
    answers = {kind: pair[1] for kind, pair in zip(rare, unusual, strict=True)}
    refuse(f"graph {stage.name}", precision, [*not_finite(stage, answers), *found.failures(tolerance)])
    rows_figures: dict[str, Any] = {"rows": len(rows), **found.rounded()}
    return rows_figures | ({"adversarial": figures_of(stage, unusual).rounded()} if unusual else {})


_WORDS = {
    "picture_db": "pictures {:.1f} dB", "latent_cosine": "latents cosine {:.6f}", "label_agreement": "labels agree {:.2%}",
    "landmark_pixels": "landmarks within {:.2f} px", "frame_db": "face area {:.1f} dB",
    "full_precision_share": "{:.3%} of the multiply-adds in FP32",
}  # fmt: skip


def in_words(figures: Mapping[str, Any]) -> str:
    """The figures that people ask for, in one line."""
    return ", ".join(text.format(figures[key]) for key, text in _WORDS.items() if key in figures)


__all__ = ["PrecisionError", "half_stage", "int8_stage", "to_half", "to_int8"]
