"""The swap that nothing was trained for."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from trtswap import Swapper
from trtswap.export.meshswap.controls import CONTROLS
from trtswap.export.meshswap.graphs import CELLS, Encode, MeshSwap, code_length
from trtswap.export.meshswap.light import blurred, lit, spread
from trtswap.faces.dense import in_crop
from trtswap.packs import sample_sources
from trtswap.pictures.arrays import frames_from_rgb, read_image
from trtswap.pixels.geometry import align

SIZE = 320
PLAIN = torch.zeros(1)


@pytest.fixture(scope="module")
def crop() -> Any:
    """Crop and points of the face of a picture."""
    with Swapper("avatar", backend="onnxruntime", device="cpu") as swapper:

        def cut(path: Path) -> tuple[Tensor, Tensor]:
            frames, faces = swapper._faces_of_source(frames_from_rgb([read_image(path)]))
            transform = align(faces.landmarks, ("ffhq_512",), SIZE)
            picture = frames.sample(faces.frame_index, transform, SIZE).clamp(0, 1)
            return picture, in_crop(faces.points, transform)

        yield cut


@pytest.fixture(scope="module")
def real(crop: Any, data: Path) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = crop(data / "astronaut.png")
    return found


@pytest.fixture(scope="module")
def rendered(crop: Any) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = crop(sample_sources("avatar")[0])
    return found


def swapped(
    target: tuple[Tensor, Tensor], source: tuple[Tensor, Tensor], likeness: float = 0, visible: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        made: tuple[Tensor, Tensor] = MeshSwap(SIZE)(
            target[0],
            Encode(SIZE)(*source),
            target[1],
            torch.ones(1, 1, SIZE, SIZE) if visible is None else visible,
            torch.tensor([float(likeness)]),
        )
    return made


def apart(a: Tensor, b: Tensor, mask: Tensor) -> float:
    """Mean distance where a mask shows something, levels of 255."""
    return float(((a - b).abs() * mask).sum() / (3 * mask.sum())) * 255


def test_a_face_swapped_with_itself_stays(real: tuple[Tensor, Tensor]) -> None:
    made, mask = swapped(real, real)
    assert float(mask.mean()) > 0.1
    assert apart(made, real[0], mask) < 2


def test_somebody_else_is_shown_in_the_targets_light(
    real: tuple[Tensor, Tensor], rendered: tuple[Tensor, Tensor]
) -> None:
    dark = (rendered[0] * torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1), rendered[1])
    made, mask = swapped(dark, real)
    assert apart(made, dark[0], mask) > 4
    tone, wanted = ((x * mask).sum((0, 2, 3)) / mask.sum() for x in (made, dark[0]))
    assert (tone / wanted - 1).abs().max() < 0.15


def test_hair_of_the_source_is_left_out(real: tuple[Tensor, Tensor]) -> None:
    """The astronaut's fringe hangs over her forehead: the top of the oval is hers, and not skin."""
    with torch.no_grad():
        shown = Encode(SIZE).skin(*real)[0, 0]
    points = real[1][0] * (CELLS / SIZE)
    row = lambda number: (int(points[number, 1]), int(points[number, 0]))  # noqa: E731 - a place in the map
    assert float(shown[row(10)]) < 0.1
    for bare in (50, 280, 1, 199):  # cheeks, nose, chin
        assert float(shown[row(bare)]) > 0.5


def test_shut_eyes_stay_the_targets(real: tuple[Tensor, Tensor]) -> None:
    shut = real[1].clone()
    for upper, lower in ((159, 145), (386, 374)):
        shut[:, upper] = shut[:, lower] = (shut[:, upper] + shut[:, lower]) / 2
    _, mask = swapped((real[0], shut), real)
    for lid in (159, 386):
        x, y = (int(v) for v in shut[0, lid, :2])
        assert float(mask[0, 0, y, x]) < 0.05
        assert float(swapped(real, real)[1][0, 0, y, x]) > 0.8


def test_profiles_and_faces_without_points_stay(real: tuple[Tensor, Tensor]) -> None:
    def most(degrees: float) -> float:
        return float(swapped((real[0], turned(real[1], degrees)), real)[1].max())

    assert float(swapped((real[0], torch.zeros_like(real[1])), real)[1].max()) == 0
    for side in (-1, 1):
        assert most(side * 70.0) == 0
        assert most(side * 20.0) > 0.9


def turned(points: Tensor, degrees: float) -> Tensor:
    """Points of a head turned about its vertical axis."""
    middle, angle = points[0, :, :2].mean(0), torch.tensor(degrees).deg2rad()
    x = (points[..., 0] - middle[0]) * angle.cos() + points[..., 2] * angle.sin() + middle[0]
    z = points[..., 2] * angle.cos() - (points[..., 0] - middle[0]) * angle.sin()
    return torch.stack([x, points[..., 1], z], 2)


def test_a_hidden_half_of_the_source_is_the_other_one_mirrored(real: tuple[Tensor, Tensor]) -> None:
    """Half of the source is squeezed into a strip and painted green: none of it is seen."""
    picture, points = real[0].clone(), real[1].clone()
    middle = float(points[0, 1, 0])
    right = points[..., 0] > middle
    points[..., 0] = torch.where(right, middle + (points[..., 0] - middle) * 0.05, points[..., 0])
    picture[:, :, :, round(middle) + 1 :] = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1)
    made, mask = swapped(real, (picture, points))
    x = int(real[1][0, 280, 0])
    y = int(real[1][0, 280, 1])
    patch = made[0, :, y - 4 : y + 5, x - 4 : x + 5].mean((1, 2))
    assert float(patch[1]) < float(patch[0])
    assert float(mask[0, 0, y, x]) > 0.5


def test_grey_targets_get_grey_faces(real: tuple[Tensor, Tensor], rendered: tuple[Tensor, Tensor]) -> None:
    grey = rendered[0].mean(1, keepdim=True).expand(-1, 3, -1, -1)
    made, _ = swapped((grey, rendered[1]), real)
    assert float((made.amax(1) - made.amin(1)).max()) < 1 / 255


def test_likeness_leaves_more_of_the_sources_shading(
    real: tuple[Tensor, Tensor], rendered: tuple[Tensor, Tensor]
) -> None:
    """Half of the target is in the dark: without likeness so is what is made of it."""
    width = torch.linspace(1, 0.3, SIZE)
    uneven = (rendered[0] * width, rendered[1])

    def slope(likeness: float) -> float:
        made, mask = swapped(uneven, real, likeness)
        halves = [
            float((made * mask)[..., part].sum() / mask[..., part].sum()) for part in (slice(0, 150), slice(170, 320))
        ]
        return halves[0] / halves[1]

    assert slope(0.0) > slope(1.0)


def test_what_lies_in_front_lends_no_light(real: tuple[Tensor, Tensor], rendered: tuple[Tensor, Tensor]) -> None:
    """A blue bar before the right cheek: beside it the face is as blue as before, if somebody says that it is a bar."""
    bar = torch.zeros(1, 1, SIZE, SIZE)
    bar[..., 150:, 195:225] = 1
    covered = torch.lerp(rendered[0], torch.tensor([0.05, 0.1, 0.9]).view(1, 3, 1, 1), bar)
    beside = torch.zeros_like(bar)
    beside[..., 160:220, 182:194] = 1
    bare, _ = swapped(rendered, real)
    told, _ = swapped((covered, rendered[1]), real, visible=1 - bar)
    untold, _ = swapped((covered, rendered[1]), real)
    assert apart(told, bare, beside) < 3
    assert apart(untold, bare, beside) > 3 * apart(told, bare, beside)


def test_rows_do_not_depend_on_each_other(real: tuple[Tensor, Tensor], rendered: tuple[Tensor, Tensor]) -> None:
    with torch.no_grad():
        codes = torch.cat([Encode(SIZE)(*real), Encode(SIZE)(*rendered)])
        faces, points = torch.cat([rendered[0], real[0]]), torch.cat([rendered[1], real[1]])
        visible = torch.rand(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
        together = MeshSwap(SIZE)(faces, codes, points, visible, PLAIN)
        for row in range(2):
            one = slice(row, row + 1)
            alone = MeshSwap(SIZE)(faces[one], codes[one], points[one], visible[one], PLAIN)
            for a, b in zip(together, alone, strict=True):
                assert torch.allclose(a[one], b, atol=1e-5)
    assert codes.shape == (2, code_length(SIZE))
    assert len(CONTROLS) == (codes.shape[1] - 3 * SIZE**2 - 2 * CELLS**2) // 2


def test_blurred_is_opencvs() -> None:
    x = torch.rand(1, 1, 40, 50, generator=torch.Generator().manual_seed(0))
    wanted = cv2.GaussianBlur(x[0, 0].numpy(), (13, 13), 2.0, borderType=cv2.BORDER_CONSTANT)
    inside = np.s_[6:-6, 6:-6]
    assert np.abs(blurred(x, 2.0)[0, 0].numpy() - wanted)[inside].max() < 1e-5


def test_light_spreads_beyond_what_is_weighed() -> None:
    weight = torch.zeros(1, 1, 32, 32)
    weight[..., 10:20, 10:20] = 1
    x = torch.where(weight > 0, 0.7, -5.0)
    assert (spread(x, weight, 1.5)[..., 8:22, 8:22] - 0.7).abs().max() < 1e-4


def test_a_picture_in_its_own_light_stays() -> None:
    face = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.05 + torch.tensor(
        [0.6, 0.4, 0.3]
    ).view(1, 3, 1, 1)
    assert (lit(face, face, torch.ones(1, 1, 16, 16), PLAIN) - face).abs().max() < 2e-3
