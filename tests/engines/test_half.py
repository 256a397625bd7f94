"""Engines in half precision: converted from what was measured, only when something has to be built."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from trtswap.backends import device as gpus
from trtswap.backends import open_engine
from trtswap.backends.trt.plans import stored_plans
from trtswap.errors import PackError, TrtswapError
from trtswap.model.pack import Pack, sha256_of

from ..trt_emulator.machine import Machine
from .packs import write_pack

calibration = pytest.importorskip("trtswap.calibration")


@pytest.fixture
def frames() -> Any:
    """Pictures in which the hand-written detector sees faces: uint8 RGB [B, H, W, 3]."""
    smooth = torch.rand(8, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(smooth, (192, 320), mode="bicubic").clamp(0.05, 1)
    return (large * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


@pytest.fixture
def table(hand: Pack, frames: Any) -> Path:
    path = hand.path / "calibration.json"
    calibration.calibrate(hand, frames, frames=2).save(path)
    return path


def build(pack: Pack, **options: Any) -> dict[str, str | None]:
    from trtswap.engines.aim import aim
    from trtswap.engines.build import Options, build_engines

    return {b.stage: b.reason for b in build_engines(pack, aim(gpus.find_gpu()), Options(**options))}


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes every conversion of a pack."""
    real, seen = calibration.to_half, []

    def to_half(pack: Pack, *arguments: Any, **options: Any) -> Pack:
        seen.append(pack.name)
        converted: Pack = real(pack, *arguments, **options)
        return converted

    monkeypatch.setattr(calibration, "to_half", to_half)
    return seen


def test_the_packs_own_table_is_used(
    hand: Pack, table: Path, emulator: Machine, conversions: list[str], tmp_path: Path
) -> None:
    assert build(hand) == dict.fromkeys(hand.stages, "not built yet")
    records = {p.record.stage: p.record for p in stored_plans()}
    for name, record in records.items():
        assert record.precision == "fp16"
        assert record.source_sha256 == hand.stages[name].sha256 != record.graph_sha256
    assert conversions == ["hand"]
    assert build(hand) == dict.fromkeys(hand.stages)
    assert conversions == ["hand"]  # nothing had to be built
    inputs = {"faces": torch.rand(3, 3, 16, 16), "latents": torch.rand(3, 3)}
    with (
        open_engine(hand.stages["swap"], backend="tensorrt") as engine,
        open_engine(hand.stages["swap"], backend="onnxruntime", device="cpu") as reference,
    ):
        assert engine.precision == "fp16"
        found, wanted = engine(**inputs)["swapped"], reference(**inputs)["swapped"]
        assert 0 < float((found - wanted).abs().max()) < 2e-3


def test_another_table_makes_them_stale(
    hand: Pack, table: Path, emulator: Machine, frames: Any, tmp_path: Path
) -> None:
    build(hand, stages=("swap",))
    other = tmp_path / "other.json"
    calibration.calibrate(hand, frames, frames=3).save(other)
    reason = build(hand, stages=("swap",), calibration=other)["swap"]
    assert reason == "stale: the graph is converted otherwise: with another calibration or another version of trtswap"
    reason = build(hand, stages=("swap",), precision="fp32")["swap"]
    assert reason == "stale: the one that is there is fp16, wanted is fp32"
    with open_engine(hand.stages["swap"], backend="tensorrt") as engine:
        assert engine.precision == "fp32"  # asked for last
    build(hand, stages=("swap",))
    with open_engine(hand.stages["swap"], backend="tensorrt") as engine:
        assert engine.precision == "fp16"


def test_a_table_of_another_pack_is_refused(hand: Pack, table: Path, emulator: Machine, tmp_path: Path) -> None:
    from .packs import GRAPHS

    other = write_pack(tmp_path / "other", swap=GRAPHS["swap"].replace("0.5", "0.25"))
    with pytest.raises(TrtswapError, match=r"another pack|of pack"):
        build(other, calibration=table)
    assert stored_plans() == []


def test_a_pack_that_is_in_half_precision_already_is_compiled_as_it_is(
    hand: Pack, table: Path, emulator: Machine, tmp_path: Path, conversions: list[str]
) -> None:
    half = calibration.to_half(hand, calibration.CalibrationTable.load(table), tmp_path / "half")
    conversions.clear()
    assert set(build(half).values()) == {"not built yet"}
    assert conversions == []
    assert {p.record.precision for p in stored_plans()} == {"fp16"}
    assert all(p.record.source_sha256 == p.record.graph_sha256 for p in stored_plans())


def test_of_a_pack_that_mixes_precisions_what_is_left_in_full_is_measured_and_converted(
    hand: Pack, table: Path, emulator: Machine, frames: Any, tmp_path: Path, conversions: list[str]
) -> None:
    from trtswap.export.writer import PackWriter

    half = calibration.to_half(hand, calibration.CalibrationTable.load(table), tmp_path / "half")
    with PackWriter(tmp_path / "mixed", overwrite=False) as writer:
        for stage in ({**hand.stages} | {"swap": half.stages["swap"]}).values():
            writer.copy(stage)
        mixed = writer.finish(name="mixed", version="1", licence="none", description="", weights={})
    conversions.clear()
    own, lines = calibration.calibrate(mixed, frames, frames=2), list[str]()
    assert set(own.stages) == {"detect", "identify", "parse"}
    made = calibration.to_half(mixed, own, tmp_path / "all", report=lines.append)
    assert {stage.precision for stage in made.stages.values()} == {"fp16"}
    assert made.stages["swap"].sha256 == half.stages["swap"].sha256
    assert "swap: stays in fp16" in lines
    own.save(mixed.path / "calibration.json")
    assert set(build(mixed).values()) == {"not built yet"}
    assert conversions == ["mixed", "mixed"]
    records = {p.record.stage: p.record for p in stored_plans()}
    assert {record.precision for record in records.values()} == {"fp16"}
    as_it_was = {name for name, record in records.items() if record.source_sha256 == record.graph_sha256}
    assert as_it_was == {"landmarks", "occlude", "swap"}


def test_a_clip_takes_the_place_of_a_table(
    hand: Pack, emulator: Machine, frames: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"stands for the frames")
    real, half = calibration.calibrate, calibration.to_half
    monkeypatch.setattr(calibration, "calibrate", lambda pack, source: real(pack, frames, frames=2))
    asked: list[Any] = []

    def to_half(pack: Pack, table: Any, folder: Path, **options: Any) -> Pack:
        asked.append(options)
        converted: Pack = half(pack, table, folder)
        return converted

    monkeypatch.setattr(calibration, "to_half", to_half)
    assert set(build(hand, video=clip).values()) == {"not built yet"}
    assert [one["held_out"] for one in asked] == [clip]


def test_every_architecture_becomes_an_engine_within_tolerance(
    small: Pack, hand: Pack, emulator: Machine, frames: Any, tmp_path: Path, record_property: Any
) -> None:
    """The narrow pack with the hand-written detector, which sees a face in the frames."""
    folder = tmp_path / "narrow"
    shutil.copytree(small.path, folder)
    toml = (folder / "pack.toml").read_text().replace(sha256_of(folder / "detect.onnx"), hand.stages["detect"].sha256)
    (folder / "pack.toml").write_text(toml)
    shutil.copy(hand.stages["detect"].path, folder / "detect.onnx")
    pack = Pack.load(folder)
    calibration.calibrate(pack, frames, frames=2).save(folder / "calibration.json")
    assert set(build(pack)) == {"detect", "landmarks", "identify", "swap", "parse", "occlude", "restore"}
    for plan in stored_plans():
        assert plan.record.precision == "fp16"
        record_property(plan.record.stage, dict(plan.record.difference))


def test_without_the_tools_it_says_what_to_install(
    hand: Pack, table: Path, emulator: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.delattr("trtswap.calibration")
    monkeypatch.setitem(sys.modules, "trtswap.calibration", None)
    with pytest.raises(PackError, match=r'needs the calibration tools: .*pip install "trtswap\[tensorrt\]"'):
        build(hand)
