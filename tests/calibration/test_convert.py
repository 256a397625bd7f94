"""Whole packs in lower precision."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from trtswap.calibration import CalibrationTable, calibrate, ruled_share, to_half, to_int8
from trtswap.calibration.half import half_graph
from trtswap.calibration.islands import Islands, find_islands
from trtswap.calibration.prepared import prepared
from trtswap.calibration.rounding import rounding_graph
from trtswap.calibration.samples import adversarial, generated
from trtswap.errors import CalibrationError, ExportError, InputError, PrecisionError
from trtswap.export.arithmetic import full_precision_share, multiply_adds, sizes_of
from trtswap.export.closeness import figures_of
from trtswap.model.pack import Pack

from .graphs import inferred, run
from .packs import loud, ranges_of, table_of

NETWORKS = ("identify", "swap", "parse", "restore")
Record = Callable[[str, object], None]


def test_multiply_adds_are_those_that_pytorch_counts(small: Pack) -> None:
    for stage in small.stages.values():
        counted = sum(multiply_adds(onnx.load(stage.path), sizes_of(stage)).values())
        assert 2 * counted / 1e9 == pytest.approx(stage.figures["gflop"], abs=6e-4)


def cut(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with weights that FP16 can hold."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for tensor in made.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = np.clip(onnx.numpy_helper.to_array(tensor), -65504, 65504)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return made


@pytest.mark.parametrize("name", NETWORKS)
def test_where_plain_fp16_overflows_the_islands_hold(small: Pack, name: str, record_property: Record) -> None:
    stage = small.stages[name]
    model, rows = loud(stage), [*generated(stage), *adversarial(stage, seed=1).values()]
    ranges = ranges_of(model, stage)
    made = half_graph(model, find_islands(model, ranges, name))
    plain = half_graph(cut(model), Islands({}, {}))
    wanted, found, overflowed = (run(m, rows) for m in (model, rounding_graph(made), rounding_graph(plain)))
    record_property(f"{name}: largest feature", f"{max(r.bound for r in ranges.values()):.3g}")
    assert full_precision_share(inferred(made), sizes_of(stage)) <= 0.02
    if name == "parse":  # NaN in every score shows as labels that have nothing to do with the right ones
        assert (overflowed[0] == wanted[0]).mean() < 0.5
        assert (found[0] == wanted[0]).mean() >= 0.995
        return
    assert not np.isfinite(overflowed[0]).all()
    assert all(np.isfinite(values).all() for values in found)
    (output,) = (v.name for v in made.graph.output)
    values = figures_of(stage, [({output: a}, {output: b}) for a, b in zip(wanted, found, strict=True)]).values
    record_property(f"{name}: with islands", {key: round(value, 7) for key, value in values.items()})
    assert values["latent_cosine"] >= 0.9999 if name == "identify" else values["picture_db"] >= 45


def test_a_pack_becomes_fp16(seeing: Pack, data: Path, tmp_path: Path, record_property: Record) -> None:
    clip, lines = data / "presenter.mp4", list[str]()
    table = calibrate(seeing, clip, frames=2, threads=1)
    assert table.faces == len(table.times) == 2
    made = to_half(seeing, table, tmp_path / "half", held_out=clip, frames=1, threads=1, report=lines.append)
    record_property("figures", "; ".join(lines))
    assert [line.split(":")[0] for line in lines] == [*seeing.stages, "finished frames"]
    assert {stage.precision for stage in made.stages.values()} == {"fp16"}
    assert made.name == "seeing-fp16"
    for name, stage in seeing.stages.items():  # nothing that was measured adds to what the rules leave in FP32
        share = made.stages[name].figures["fp16"]["full_precision_share"]
        # but for demodulation, whose small products become sums
        assert ruled_share(stage) == pytest.approx(share, rel=1e-2, abs=1e-4)
    for name in NETWORKS:
        before, after = (pack.stages[name].path.stat().st_size for pack in (seeing, made))
        assert after < 0.7 * before  # names of nodes weigh in graphs this small
        assert onnx.load(made.stages[name].path).opset_import[0].version == 19
        assert made.stages[name].figures["fp16"]["full_precision_share"] <= 0.02
    again = to_half(seeing, table, tmp_path / "again", frames=1, adversaries=0, threads=1)
    assert [s.sha256 for s in again.stages.values()] == [s.sha256 for s in made.stages.values()]
    with pytest.raises(CalibrationError, match="Measure it again"):
        to_half(made, table, tmp_path / "twice")
    none = r"no graph of pack seeing-fp16 .* is in FP32, all are fp16: nothing is left to measure or convert"
    with pytest.raises(CalibrationError, match=none):
        calibrate(made, clip, frames=2, threads=1)


def test_a_pack_becomes_int8(seeing: Pack, data: Path, tmp_path: Path) -> None:
    clip = data / "presenter.mp4"
    table = calibrate(seeing, clip, frames=2, adversaries=1, threads=1)
    lenient = replace(seeing, tolerance={"int8": {"frame_db": 20.0, "picture_db": 25.0}})
    made = to_int8(lenient, table, tmp_path / "int8", held_out=clip, frames=1, adversaries=1, threads=1)
    kinds = {n: {node.op_type for node in onnx.load(s.path).graph.node} for n, s in made.stages.items()}
    assert {n for n, found in kinds.items() if "QuantizeLinear" in found} == {"swap", "restore"}
    assert Pack.load(made.path).tolerance["int8"]["frame_db"] == 20
    assert made.stages["restore"].figures["int8"]["picture_db"] >= 25


def test_what_is_too_far_away_is_refused_and_nothing_is_written(small: Pack, tmp_path: Path) -> None:
    table = table_of(small)
    strict = replace(small, tolerance={"fp16": {"picture_db": 150.0}})
    with pytest.raises(PrecisionError, match=r"graph swap in fp16 .*picture_db is [\d.]+, expected at least 150"):
        to_half(strict, table, tmp_path / "half", adversaries=0)
    assert list(tmp_path.iterdir()) == []


def test_other_packs_and_tables_are_refused(small: Pack, tmp_path: Path, data: Path) -> None:
    table = table_of(small)
    with pytest.raises(CalibrationError, match="Measure it again"):
        to_half(small, CalibrationTable("0" * 64, table.clip, (), 0, table.stages), tmp_path / "half")
    swap = replace(small.stages["swap"], precision="fp16")
    with pytest.raises(CalibrationError, match=r"swap\.onnx is in fp16; expected a graph in FP32"):
        prepared(swap)
    half = half_graph(prepared(small.stages["swap"]), Islands({}, {}))
    onnx.save(half, tmp_path / "swap.onnx")
    with pytest.raises(CalibrationError, match=r"swap\.onnx is in FP16, in part; .*say the graph's precision"):
        prepared(replace(small.stages["swap"], path=tmp_path / "swap.onnx"))
    (tmp_path / "there").mkdir()
    with pytest.raises(ExportError, match="exists"):
        to_half(small, table, tmp_path / "there")
    with pytest.raises(InputError, match="frames is 0"):
        calibrate(small, data / "presenter.mp4", frames=0)
