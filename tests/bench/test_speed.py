"""The speed benchmarks: what they say of results, and their counts of FLOPs, against figures worked out by hand."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from trtswap import Pack, Swapper
from trtswap.report.benchmark import grid_of_faces, run_compute, somebody

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(BENCH))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if (BENCH / f"{name}.py").is_file():
            del sys.modules[name]


def test_the_table_tells_losses_beside_wins() -> None:
    import speed_table
    from measure import case, result

    rows = [case("trtswap", "fps", [10.0, 12.0, 14.0]), case("trtswap / baseline", "x", [2.0])]
    made = speed_table.table({"throughput_avatar": result("throughput_avatar", rows)})
    assert "| avatar pack, end to end | 12 fps (10 to 14) |" in made
    assert "| 2 x | >= 2.5 **missed** |" in made
    assert speed_table.meets(1.15, "<= 1.15")
    assert not speed_table.meets(29.9, ">= 30")


def test_the_results_that_are_there_fit_the_table() -> None:
    import speed_table

    assert speed_table.table(speed_table.results()).count("\n") >= 2


def test_flops_are_those_of_the_layers(identity_pack: Path, paste_pack: Path) -> None:
    """YuNet at 640x384: three times the 0.218 GFLOP that the export counts at 320x256. An Identity node has none."""
    from roofline import cost

    stages = Pack.load(identity_pack).stages
    flops, moved = cost(stages["swap"])
    assert (flops, moved) == (0, 2 * 3 * 512 * 512 * 4)
    flops, _ = cost(stages["detect"])
    assert flops == pytest.approx(3 * 0.218e9, rel=0.02)
    assert cost(stages["detect"], batch=2)[0] == 2 * flops


def test_the_baseline_swaps_the_same_faces(
    paste_pack: Path, data: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """It is a fair opponent: it finds the face in every frame, changes it, and leaves the rest alone."""
    import av
    from baseline import Baseline

    source = cv2.cvtColor(cv2.imread(str(data / "astronaut.png")), cv2.COLOR_BGR2RGB)
    baseline = Baseline(Pack.load(paste_pack))
    run = baseline.swap_video(
        data / "presenter.mp4", tmp_path / "out.mp4", baseline.identity(source), preset="ultrafast", end=0.1
    )
    assert (run.frames, run.faces) == (3, 3)
    with av.open(str(data / "presenter.mp4")) as before, av.open(str(tmp_path / "out.mp4")) as after:
        old, new = (next(c.decode(video=0)).to_ndarray(format="rgb24").astype(int) for c in (before, after))
    difference = np.abs(old - new).mean(-1)
    (points,) = baseline.landmarks(old.astype(np.uint8))
    x, y = points.mean(0).round().astype(int)
    assert difference[y - 40 : y + 40, x - 40 : x + 40].mean() > 3 * difference[:200, :200].mean()


def test_made_up_faces_fill_the_frame(identity_pack: Path) -> None:
    faces = grid_of_faces(5, (640, 360))
    assert len(faces) == 5
    assert (faces.landmarks.amin((0, 1)) > 0).all()
    assert (faces.landmarks.amax((0, 1)) < torch.tensor([640.0, 360.0])).all()
    with Swapper(identity_pack, backend="onnxruntime", device="cpu") as swapper:
        assert float(somebody(swapper).latent.norm()) == pytest.approx(1, abs=1e-5)
        run = run_compute(swapper, size=(320, 192), faces=2, frames=3)
    assert run.frames == 3
    assert 0 < run.network_share < 1
    assert {"detect", "swap", "paste"} <= set(run.stage_seconds)
    assert run.latency_seconds > 0
