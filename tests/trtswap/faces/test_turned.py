"""Faces that lie on their side or stand on their head, on a real photograph."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from trtswap import Faces, RuntimeOptions, SwapOptions, Swapper
from trtswap.faces.turned import DOUBTFUL, set_upright
from trtswap.pictures.arrays import frames_from_rgb


@pytest.fixture(scope="module")
def swapper(paste_pack: Path) -> Iterator[Swapper]:
    options, runtime = SwapOptions(detect_threshold=0.5), RuntimeOptions(threads=1)
    with Swapper(paste_pack, backend="onnxruntime", device="cpu", options=options, runtime=runtime) as opened:
        yield opened


def turned(data: Path, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The astronaut turned to the left, and the 2 x 3 matrix from upright pixels to the turned picture's."""
    image = Image.open(data / "astronaut.png").convert("RGB")
    made = image.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=(120, 120, 120))
    angle = np.deg2rad(-degrees)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = np.array(made.size) / 2 - linear @ (np.array(image.size) / 2)
    return np.array(made)[None], np.column_stack([linear, shift])


def off_by(found: Faces, upright: Faces, transform: np.ndarray) -> float:
    """Mean distance of the best face's landmarks from where they are, as a share of the distance between the eyes."""
    expected = upright.landmarks[0].numpy() @ transform[:, :2].T + transform[:, 2]
    eyes = float((upright.landmarks[0, 0] - upright.landmarks[0, 1]).norm())
    return float(np.linalg.norm(found.landmarks[0].numpy() - expected, axis=1).mean()) / eyes


@pytest.mark.parametrize(("degrees", "least"), [(90, 0.1), (120, 0.2), (180, 0.1), (210, 0.2), (270, 0.1)])
def test_turned_faces_have_their_landmarks(degrees: int, least: float, swapper: Swapper, data: Path) -> None:
    picture, transform = turned(data, degrees)
    upright = swapper.detect(turned(data, 0)[0])
    found = swapper.detect(picture)
    assert len(found) == len(upright) == 1
    assert off_by(found, upright, transform) < least  # 0.6 to 1.3 without the second look
    assert float(found.score) > 0.9


def test_a_swap_is_pasted_as_the_head_stands(swapper: Swapper, data: Path) -> None:
    """Its own face pasted onto a head that stands on its head gives the same picture, turned."""
    picture, _ = turned(data, 180)
    who = swapper.identity(data / "astronaut.png")
    straight = swapper.swap(turned(data, 0)[0], who)[0].astype(int)
    back = swapper.swap(picture, who)[0][::-1, ::-1].astype(int)
    assert np.abs(straight - back).mean() < 1.5


def test_upright_faces_are_not_looked_at_again(swapper: Swapper, data: Path) -> None:
    frames = frames_from_rgb(turned(data, 0)[0])
    faces = swapper.detect(turned(data, 0)[0])
    assert float(faces.score) >= DOUBTFUL

    def refuse(_: torch.Tensor) -> tuple[torch.Tensor, ...]:
        raise AssertionError

    assert set_upright(frames, faces, refuse) is faces


def test_the_look_does_not_depend_on_the_batch(swapper: Swapper, data: Path) -> None:
    picture, _ = turned(data, 180)
    one = swapper.detect(picture)
    two = swapper.detect(np.concatenate([picture, picture]))
    for half in (two.of_frame(0), two.of_frame(1)):
        assert torch.equal(half.landmarks, one.landmarks)
        assert torch.equal(half.score, one.score)


def test_what_is_no_better_turned_stays_as_it_was() -> None:
    """A detector that sees the same everywhere, as random ones do."""
    frames = frames_from_rgb(np.full((1, 240, 320, 3), 90, np.uint8))
    faces = Faces(
        torch.zeros(1, dtype=torch.int64), torch.tensor([[50.0, 60.0, 150.0, 180.0]]), torch.rand(1, 5, 2) * 50 + 80,
        torch.tensor([0.6]), torch.tensor([-1]),
    )  # fmt: skip

    def same(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        box = torch.tensor([70.0, 70.0, 120.0, 120.0]).expand(len(images), 1, 4)
        return torch.full((len(images), 1), 0.7), box, torch.rand(len(images), 1, 5, 2) * 50 + 70

    again = set_upright(frames, faces, same)
    assert torch.equal(again.landmarks, faces.landmarks)
    assert torch.equal(again.score, faces.score)


@pytest.mark.parametrize("degrees", [90, 180])
def test_a_source_whose_face_is_found_only_upright_is_turned(degrees: int, swapper: Swapper, data: Path) -> None:
    with av.open(str(data / "presenter.mp4")) as container:
        upright = next(container.decode(video=0)).to_image()
    lying = np.array(upright.rotate(degrees, expand=True))
    assert not len(swapper.detect(lying[None]))
    one, other = swapper.identity(np.array(upright)), swapper.identity(lying)
    assert float(one.latent @ other.latent) > 0.9  # two people of these pictures: -0.06
