"""The full architectures, with random weights and the real detector, on three frames of a real clip."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trtswap import Swapper
from trtswap.export.build import Weights, export_pack
from trtswap.export.recipes import find_recipe


@pytest.mark.timeout(900)
def test_full_size_networks_swap_three_frames(
    data: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    pack = export_pack(find_recipe("simswap-224"), tmp_path / "full", Weights(data, seed=0))
    for name, stage in pack.stages.items():
        worst = max(stage.figures.get("max_relative_difference", [0.0]))
        record_property(name, f"{stage.figures['parameters']} parameters, {worst:.1e} from PyTorch")
        assert worst <= 1e-4
    with Swapper(pack.path, backend="onnxruntime", device="cpu") as swapper:
        who = swapper.identity(data / "astronaut.png")
        assert who.latent.shape == (512,)
        assert np.isfinite(who.latent.numpy()).all()
        result = swapper.swap_video(data / "presenter.mp4", tmp_path / "out.mp4", who, end=0.12, preset="ultrafast")
    assert result.faces_per_frame == (1, 1, 1)
    record_property("ms per frame", {name: round(s / 3 * 1e3, 1) for name, s in result.seconds.items()})
