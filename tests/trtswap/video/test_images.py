"""Pictures of every mode become what a viewer shows, and arrays become frames without a copy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trtswap.errors import InputError, SourceError
from trtswap.video.images import frames_from_rgb, read_image

COLORS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [200, 100, 50], [90, 90, 90]]], np.uint8)


def test_rgb_png(tmp_path: Path) -> None:
    Image.fromarray(COLORS).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == torch.uint8
    assert np.array_equal(image.numpy(), COLORS)


# EXIF orientation -> what has to be done to the stored picture, by the standard's table.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", TURNS)
def test_convention_exif_orientation(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLORS).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png").numpy(), TURNS[orientation](COLORS))


def test_modes(tmp_path: Path) -> None:
    gray = np.array([[0, 100, 255]], np.uint8)
    deep = gray.astype(np.uint16) * 257
    alpha = np.array([[[0, 0, 0, 0], [200, 100, 50, 255], [0, 0, 0, 51]]], np.uint8)
    cases = {
        "gray.png": (Image.fromarray(gray), np.repeat(gray[..., None], 3, 2)),
        "deep.png": (Image.fromarray(deep), np.repeat(gray[..., None], 3, 2)),
        "alpha.png": (Image.fromarray(alpha), [[[255, 255, 255], [200, 100, 50], [204, 204, 204]]]),
        "palette.png": (Image.fromarray(COLORS).quantize(6), COLORS),
        "cmyk.tif": (Image.new("CMYK", (2, 1), (0, 255, 255, 0)), [[[255, 0, 0], [255, 0, 0]]]),
        "bits.png": (Image.fromarray(gray > 50), [[[0] * 3, [255] * 3, [255] * 3]]),
    }
    for name, (image, expected) in cases.items():
        image.save(tmp_path / name)
        assert np.array_equal(read_image(tmp_path / name).numpy(), expected), name


def test_animation_gives_its_first_picture(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert (read_image(tmp_path / "a.gif").numpy() == [255, 0, 0]).all()


def test_unreadable(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:3000])
    for path, message in (
        (tmp_path / "text.png", "not a picture that can be read"),
        (tmp_path / "missing.png", "no such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "cut.png", "cannot be read: .*truncated"),
    ):
        with pytest.raises(SourceError, match=message):
            read_image(path)


def test_frames_are_views_of_the_array() -> None:
    array = np.stack([COLORS, COLORS[::-1]])
    frames = frames_from_rgb(array)
    assert np.array_equal(torch.stack(frames.planes, -1).numpy(), array)
    assert (frames.format.name, frames.display_size) == ("rgb24", (3, 2))
    frames.planes[1][1, 0, 2] = 77
    assert array[1, 0, 2, 1] == 77
    frames_from_rgb(array, copy=True).planes[1].zero_()
    assert array[1, 0, 2, 1] == 77


def test_kinds_of_arrays() -> None:
    class Foreign:
        """Speaks DLPack and nothing else."""

        def __init__(self, tensor: torch.Tensor) -> None:
            self.__dlpack__, self.__dlpack_device__ = tensor.__dlpack__, tensor.__dlpack_device__

    read_only = COLORS[None].copy()
    read_only.flags.writeable = False
    for images in (
        read_only,
        COLORS[None, ::-1][:, ::-1],
        torch.from_numpy(COLORS[None]),
        Foreign(torch.from_numpy(COLORS[None])),
    ):
        assert np.array_equal(torch.stack(frames_from_rgb(images).planes, -1).numpy(), COLORS[None])


@pytest.mark.parametrize("wrong", [COLORS, COLORS[None].astype(np.float32), COLORS[None, ..., :2], "text", None])
def test_wrong_arrays(wrong: object) -> None:
    with pytest.raises(InputError, match="images are"):
        frames_from_rgb(wrong)
