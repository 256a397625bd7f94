"""The full architectures, with random weights and the real detector, on frames of a real clip."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from trtswap import Swapper
from trtswap.export.arithmetic import multiply_adds, sizes_of
from trtswap.model.pack import Pack

Record = Callable[[str, object], None]
SHARE = 0.02  # of a graph's multiply-adds that may stay in FP32
SIZE = 0.52  # of an FP16 pack, of the FP32 pack's


pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def full(full_pack: Path) -> Pack:
    return Pack.load(full_pack)


def test_full_size_networks_swap_three_frames(full: Pack, data: Path, tmp_path: Path, record_property: Record) -> None:
    for name, stage in full.stages.items():
        worst = max(stage.figures.get("max_relative_difference", [0.0]))
        record_property(name, f"{stage.figures['parameters']} parameters, {worst:.1e} from PyTorch")
        assert worst <= 1e-4
    with Swapper(full.path, backend="onnxruntime", device="cpu") as swapper:
        who = swapper.identity(data / "astronaut.png")
        assert who.latent.shape == (512,)
        assert np.isfinite(who.latent.numpy()).all()
        result = swapper.swap_video(data / "presenter.mp4", tmp_path / "out.mp4", who, end=0.12, preset="ultrafast")
    assert result.faces_per_frame == (1, 1, 1)
    record_property("ms per frame", {name: round(s / 3 * 1e3, 1) for name, s in result.seconds.items()})


def test_multiply_adds_of_full_size_networks_are_those_that_pytorch_counts(full: Pack) -> None:
    for name, stage in full.stages.items():
        if name == "detect":  # counted by PyTorch on a smaller picture
            continue
        counted = sum(multiply_adds(onnx.load(stage.path), sizes_of(stage)).values())
        assert 2 * counted / 1e9 == pytest.approx(stage.figures["gflop"], abs=1e-3)


def test_full_size_networks_in_fp16(full: Pack, full_half_pack: Path, record_property: Record) -> None:
    """The gate itself holds graphs and finished frames against the tolerance: 45 dB, cosine 0.9999, labels 99.5 %."""
    half, lines = Pack.load(full_half_pack), (full_half_pack / "report.txt").read_text().splitlines()
    for line in lines:
        record_property(*line.split(": ", 1))
    assert lines[-1].startswith("finished frames: face area")
    before, after = (sum(s.path.stat().st_size for s in pack.stages.values()) for pack in (full, half))
    record_property("size of the FP16 pack", f"{after / before:.2%} of FP32")
    assert after / before <= SIZE
    for stage in half.stages.values():
        assert stage.figures["fp16"]["full_precision_share"] <= SHARE
