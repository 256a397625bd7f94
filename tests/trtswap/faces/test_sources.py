"""What is said against a picture as a source."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from trtswap import Swapper
from trtswap.faces import Faces, sources
from trtswap.packs import sample_sources
from trtswap.pictures.arrays import frames_from_rgb


@pytest.fixture(scope="module")
def swapper() -> Any:
    with Swapper("avatar", backend="onnxruntime", device="cpu") as opened:
        yield opened


def portrait(blur: float = 0, size: int = 512) -> np.ndarray[Any, np.dtype[np.uint8]]:
    image = Image.open(sample_sources("avatar")[0]).convert("RGB")
    image = image.filter(ImageFilter.GaussianBlur(blur)) if blur else image
    canvas = Image.new("RGB", (512, 512), (90, 90, 90))
    canvas.paste(image.resize((size, size), Image.Resampling.BOX), (0, 0))
    return np.asarray(canvas)


def test_good_pictures_are_taken_without_a_word(swapper: Swapper, data: Path) -> None:
    assert swapper.identity(*sample_sources("avatar")).doubts == ()
    assert swapper.identity(data / "astronaut.png").doubts == ()


def test_small_and_blurred_faces_are_told(swapper: Swapper) -> None:
    who = swapper.identity(portrait(blur=7), portrait(), portrait(size=64))
    assert who.doubts[0] == "picture 1: the face is blurred."
    assert len(who.doubts) == 2
    assert who.doubts[1].startswith("picture 3: the face is only ")


def test_what_is_said_reaches_the_result(swapper: Swapper, tmp_path: Path) -> None:
    Image.fromarray(portrait()).save(tmp_path / "in.png")
    Image.fromarray(portrait(blur=7)).save(tmp_path / "face.png")
    who = swapper.identity(tmp_path / "face.png")
    result = swapper.swap_picture(tmp_path / "in.png", tmp_path / "out.png", who)
    assert f"{tmp_path / 'face.png'}: the face is blurred." in result.warnings
    pairs = [(who, swapper.identity(portrait()))]
    result = swapper.swap_picture(tmp_path / "in.png", tmp_path / "out.png", pairs, overwrite=True)
    assert sum("blurred" in warning for warning in result.warnings) == 1


@pytest.mark.parametrize(
    ("yaw", "lids", "said"),
    [
        (0, 9, ()),
        (27, 9, ()),
        (-30, 9, ("the face is turned away by 30 degrees; one from the front is surer",)),
        (60, 9, ("the face is turned away by 60 degrees; one from the front is surer",)),
        (-70, 9, ("the face is turned away by 70 degrees; one from the front is surer",)),
        (0, 2, ("the eyes are closed",)),
    ],
)
def test_profiles_and_closed_eyes_are_told(yaw: float, lids: float, said: tuple[str, ...]) -> None:
    from .test_dense import canonical, faces, turned

    points = canonical()
    points[[159, 386], 1], points[[145, 374], 1] = -20.0, -20.0 + lids
    found = faces(1)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 255, (1, 120, 120, 3), generator=generator, dtype=torch.uint8)
    measured = Faces(found.frame_index, found.box, found.landmarks, found.score, found.track,
                     turned(points, yaw=yaw)[None], torch.ones(1))  # fmt: skip
    assert sources.doubts(frames_from_rgb(noise), measured) == said


def test_an_even_picture_has_no_details() -> None:
    from .test_dense import faces

    even = frames_from_rgb(torch.full((1, 120, 120, 3), 77, dtype=torch.uint8))
    assert sources.sharpness(even, faces(1)).tolist() == [0]
    assert math.isfinite(float(sources.sharpness(even, faces(1))[0]))
