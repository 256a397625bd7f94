"""Embedded graphs through NVIDIA's compiler."""

from pathlib import Path
from typing import Any

import pytest

from trtswap.backends.trt.library import AMPERE_ON, find_library
from trtswap.engines.child import compile_apart
from trtswap.engines.progress import Silent
from trtswap.engines.request import Request
from trtswap.export.embed import Embedded

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: its wheels are for Linux and Windows")
pytestmark = pytest.mark.timeout(900)

SIZES = {"B": (1, 1, 2), "F": (1, 1, 2), "K": (64, 384, 640), "height": (480, 720, 1080), "width": (640, 1280, 1920)}
SIZES |= {"half_height": (240, 360, 540), "half_width": (320, 640, 960)}


@pytest.mark.parametrize("name", ["find", "identify", "swap"])
@pytest.mark.parametrize("folder", ["embedded", "embedded_planes", "embedded_mesh"])
def test_every_graph_compiles(folder: str, name: str, request: pytest.FixtureRequest) -> None:
    embedded = Embedded.load(Path(request.getfixturevalue(folder)))

    def shape(tensor: dict[str, Any], which: int) -> tuple[int, ...]:
        return tuple(dim if isinstance(dim, int) else SIZES[dim][which] for dim in tensor["shape"])

    profile = {
        tensor["name"]: (shape(tensor, 0), shape(tensor, 1), shape(tensor, 2))
        for tensor in embedded.description["graphs"][name]["inputs"]
    }
    wanted = Request(
        graph=str(embedded.graph(name)), profiles=[profile], targets=AMPERE_ON, workspace_bytes=None,
        optimisation_level=3, hardware_compatibility="none", version_compatible=False, tf32=False,
    )  # fmt: skip
    made = compile_apart(find_library("rtx"), wanted, Silent())
    assert made.plan
    assert all("window" in warning for warning in made.warnings)  # only its length counts
