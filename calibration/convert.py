"""From an FP32 pack and its calibration table to a pack in lower precision, compared before it is written."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import onnx
import torch
from onnx import ModelProto

from trtswap.calibration.clip import Still, choose_stills
from trtswap.calibration.gate import answers_of, compare_frames, not_finite, refuse
from trtswap.calibration.half import half_graph
from trtswap.calibration.islands import FloatGraph, find_islands, ruled
from trtswap.calibration.prepared import full_precision, prepared
from trtswap.calibration.quantise import quantised_graph
from trtswap.calibration.rounding import rounding_graph
from trtswap.calibration.samples import PICTURES, Seen, adversarial, generated, opened, watch
from trtswap.calibration.table import CalibrationTable, TensorRange
from trtswap.export.arithmetic import full_precision_share, multiply_adds, sizes_of
from trtswap.export.closeness import Tolerance, figures_of
from trtswap.export.graph import checked
from trtswap.export.writer import PackWriter
from trtswap.model.pack import Pack, StageSpec
from trtswap.options import SwapOptions
from trtswap.session.session import detector

GATE_SEED = 1
HELD_OUT = 2
Report = Callable[[str], None]


@dataclass(frozen=True)
class Held:
    """What converted graphs are compared on.

    Attributes:
        seen: the original at work on frames that it was not calibrated on, or on generated pictures.
        stills: those frames; none where there is no clip.
        adversaries: how many pictures that no clip has.
    """

    seen: Seen
    stills: list[Still]
    adversaries: int


class Settings(TypedDict, total=False):
    """What conversions can be told.

    Attributes:
        held_out: a clip, or uint8 RGB frames [B, H, W, 3], whose frames (other ones than those of the table) the graphs
            and the finished frames are compared on. None, the default, compares the graphs on generated pictures alone.
        frames: how many frames of it; 2.
        adversaries: how many pictures that no clip has, at most 5, the default: on these a graph must stay finite.
        name: of the new pack; the old one's with the precision behind it.
        overwrite: replace a pack that is there.
        threads: CPU threads; every core where None, the default.
        report: called with one line of text after each graph.
    """

    held_out: Path | str | Any | None
    frames: int
    adversaries: int
    name: str | None
    overwrite: bool
    threads: int | None
    report: Report


def to_half(pack: Pack, table: CalibrationTable, folder: Path, **settings: Unpack[Settings]) -> Pack:
    """A pack whose FP32 graphs are FP16 with FP32 islands; TensorRT builds engines of just that precision from them.

    Graphs of the pack that are in another precision already are taken over as they are. Which nodes stay in FP32:
    :mod:`trtswap.calibration.islands`. Inputs and outputs stay as the pack contract has them.
    Every graph is compared with the original before the pack is written, in FP16's own rounding.

    Args:
        pack: with at least one graph in FP32.
        table: measured on it.
        folder: of the new pack.
        settings: see :class:`Settings`.

    Raises:
        CalibrationError: the table is of another pack, or no graph is in FP32.
        PrecisionError: a graph or a finished frame misses the pack's tolerance; has the figures.
        ExportError: the folder cannot be written, or a graph would not become an engine.
    """
    return _convert("fp16", half_stage, pack, table, folder, **settings)


def to_int8(pack: Pack, table: CalibrationTable, folder: Path, **settings: Unpack[Settings]) -> Pack:
    """A pack whose convolutions work on 8 bits: explicit Q/DQ, symmetric, weights per channel, the rest in FP32.

    Arguments and errors as in :func:`to_half`.
    """
    return _convert("int8", int8_stage, pack, table, folder, **settings)


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


def ruled_share(stage: StageSpec) -> float:
    """Share of a stage's multiply-adds, 0..1, that the rules leave in FP32 in an FP16 graph, before any calibration.

    What is measured adds nothing to it where weights and biases of convolutions and products are constants, as they are
    in all graphs that are exported here: their ranges only scale them.

    Raises:
        CalibrationError, ExportError: the graph is not in FP32, or has tensors of unknown shape.
    """
    model = prepared(stage)
    counted, full = multiply_adds(model, sizes_of(stage)), ruled(FloatGraph(model, {}), stage.name)
    return sum(count for node, count in counted.items() if node in full) / max(1, sum(counted.values()))


def _convert(
    precision: str,
    convert: Callable[[StageSpec, Mapping[str, TensorRange]], ModelProto],
    pack: Pack,
    table: CalibrationTable,
    folder: Path,
    *,
    held_out: Any = None,
    frames: int = HELD_OUT,
    adversaries: int = len(PICTURES),
    name: str | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    report: Report = lambda line: None,
) -> Pack:
    table.check(pack)
    convertible = full_precision(pack)
    tolerance = Tolerance.of(pack, precision)
    with PackWriter(folder, overwrite=overwrite) as writer, tempfile.TemporaryDirectory() as scratch:
        held = _held(pack, table, held_out, frames=frames, adversaries=adversaries, threads=threads)
        judge = _Judge(precision, tolerance, held, threads)
        twins = dict(pack.stages)
        for stage in pack.stages.values():
            if stage.name not in convertible:
                writer.copy(stage)
                report(f"{stage.name}: stays in {stage.precision}")
                continue
            model = convert(stage, table.stages.get(stage.name, {}))
            twins[stage.name] = replace(stage, path=Path(scratch) / f"{stage.name}.onnx")
            onnx.save(rounding_graph(model), twins[stage.name].path)
            figures = judge.graph(stage, twins[stage.name].path)
            figures["full_precision_share"] = float(f"{full_precision_share(model, sizes_of(stage)):.3g}")
            writer.add(replace(stage, precision=precision, figures=dict(stage.figures) | {precision: figures}), model)
            report(f"{stage.name}: {in_words(figures)}")
        if held.stills:
            report(f"finished frames: {in_words(judge.frames(replace(pack, stages=twins)))}")
        return writer.finish(
            name=name or f"{pack.name}-{precision}",
            version=pack.version,
            licence=pack.licence,
            description=f"{pack.description} Converted to {precision}.",
            weights=pack.weights,
            tolerance=pack.tolerance,
            random=pack.random,
            landmarks=pack.landmarks,
        )


def _held(
    pack: Pack, table: CalibrationTable, clip: Any, *, frames: int, adversaries: int, threads: int | None
) -> Held:
    if clip is None:
        rows = {name: generated(stage) for name, stage in pack.stages.items()}
        answers = {name: answers_of(stage.path, rows[name], threads=threads) for name, stage in pack.stages.items()}
        return Held(Seen(rows, answers, []), [], adversaries)
    with torch.inference_mode(), opened(pack, threads) as runtime:
        stills = choose_stills(clip, detector(runtime, SwapOptions()), frames, without=table.times)
        return Held(watch(runtime, stills), stills, adversaries)


@dataclass(frozen=True)
class _Judge:
    """Compares with FP32 and refuses what is too far from it."""

    precision: str
    tolerance: Tolerance
    held: Held
    threads: int | None

    def graph(self, stage: StageSpec, converted: Path) -> dict[str, Any]:
        """Figures of a converted graph.

        Raises:
            PrecisionError: it misses the tolerance, or is not finite on an adversarial input.
        """
        rows, rare = self.held.seen.rows[stage.name], adversarial(stage, seed=GATE_SEED, count=self.held.adversaries)
        wanted = [*self.held.seen.answers[stage.name], *answers_of(stage.path, [*rare.values()], threads=self.threads)]
        given = answers_of(converted, [*rows, *rare.values()], threads=self.threads)
        pairs = list(zip(wanted, given, strict=True))
        usual, unusual = pairs[: len(rows)], pairs[len(rows) :]
        found, answers = figures_of(stage, usual), given[len(rows) :]
        problems = [*not_finite(dict(zip(rare, answers, strict=True))), *found.failures(self.tolerance)]
        refuse(f"graph {stage.name}", self.precision, problems)
        figures: dict[str, Any] = {"rows": len(rows), **found.rounded()}
        return figures | ({"adversarial": figures_of(stage, unusual).rounded()} if unusual else {})

    def frames(self, twin: Pack) -> dict[str, float]:
        """Figures of the finished frames of a converted pack.

        Raises:
            PrecisionError: they miss the tolerance.
        """
        with torch.inference_mode(), opened(twin, self.threads) as runtime:
            frames = watch(runtime, self.held.stills).frames
        found = compare_frames(self.held.stills, self.held.seen.frames, frames)
        refuse("the finished frame", self.precision, list(found.failures(self.tolerance)))
        return found.rounded()


_WORDS = {
    "picture_db": "pictures {:.1f} dB", "latent_cosine": "latents cosine {:.6f}",
    "label_agreement": "labels agree {:.2%}",
    "landmark_pixels": "landmarks within {:.2f} px", "frame_db": "face area {:.1f} dB",
    "full_precision_share": "{:.3%} of the multiply-adds in FP32",
}  # fmt: skip


def in_words(figures: Mapping[str, Any]) -> str:
    """The figures that people ask for, in one line."""
    return ", ".join(text.format(figures[key]) for key, text in _WORDS.items() if key in figures)
