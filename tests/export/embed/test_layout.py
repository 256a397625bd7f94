"""What frames may look like, and what is said of what they may not."""

from pathlib import Path
from typing import Any

import pytest

from trtswap import SwapOptions
from trtswap.errors import ExportError, InputError
from trtswap.export.embed import Layout, embed
from trtswap.model.pack import Pack
from trtswap.packs import find_pack


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"format": "yuyv"}, "format is 'yuyv'"),
        ({"faces": 0}, "faces is 0"),
        ({"faces": 17}, "faces is 17"),
        ({"size": (1280, 20)}, "size is 1280x20"),
        ({"size": (1281, 720), "format": "nv12"}, "even sides"),
        ({"format": "nv12"}, "need a matrix"),
        ({"format": "rgb", "matrix": "bt709"}, "rgb frames have none"),
        ({"format": "nv12", "size": (64, 64), "matrix": "rgb"}, "matrix is 'rgb'"),
        ({"format": "nv12", "size": (64, 64), "range": "wide"}, "range is 'wide'"),
        ({"window": 100}, "window is 100, expected a multiple of 8"),
        ({"window": 640, "size": (1280, 600)}, "64 to 600"),
    ],
)
def test_what_makes_no_sense_is_said(layout: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Layout(**layout)


def test_the_matrix_goes_with_the_height() -> None:
    assert Layout(format="nv12", size=(1280, 720)).pixels.matrix == "bt709"
    assert Layout(format="nv12", size=(640, 480)).pixels.matrix == "bt601"
    assert Layout(format="i420", size=(640, 480), matrix="bt2020", range="full").pixels.full_range


def test_a_network_runs_once_a_face(tmp_path: Path) -> None:
    pack = Pack.load(find_pack("avatar"))
    with pytest.raises(ExportError, match="boost is 2"):
        embed(pack, tmp_path / "graphs", Layout(), options=SwapOptions(boost=2))
    (tmp_path / "other").mkdir()
    with pytest.raises(ExportError, match="other"):
        embed(pack, tmp_path / "other", Layout(), overwrite=True)
