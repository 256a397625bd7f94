"""What the occluder learns from: drawn hands, things, and what real faces have."""

import numpy as np
import pytest
import torch
from torch import Tensor

from export.occluder import skin, things
from export.occluder.chance import Chance, capsule
from export.occluder.hands import hands
from export.occluder.network import SIZE, OccluderNetwork, Visible
from export.occluder.pack import fused
from export.occluder.scenes import HIDING, Scenes
from export.occluder.train import losses
from trtswap.canvas.parse import CLASSES
from trtswap.export.standin import drawn_points
from trtswap.pixels.geometry import TEMPLATES

N = 6


@pytest.fixture
def chance() -> Chance:
    return Chance(torch.Generator().manual_seed(3), N)


@pytest.fixture
def faces() -> Tensor:
    return torch.full((N, 3, SIZE, SIZE), 0.6)


@pytest.fixture
def oval() -> Tensor:
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return (((x - 64) / 37) ** 2 + ((y - 66) / 48) ** 2 < 1).float().expand(N, 1, -1, -1)


def test_a_capsule_is_a_line_with_round_ends() -> None:
    start, end = torch.tensor([[20.0, 30.0]]), torch.tensor([[60.0, 30.0]])
    inside = capsule(start, end, torch.tensor([5.0]), torch.tensor([9.0]))[0]
    assert inside[30, 40] == pytest.approx(49.0)
    assert inside[30, 15] == pytest.approx(0.0)
    assert inside[39, 60] == pytest.approx(0.0)
    assert inside[34, 20] == pytest.approx(9.0)
    assert (inside[:, :14] < 0).all()


def test_hands_differ_and_come_again(chance: Chance) -> None:
    first = hands(chance).amax(1)
    assert ((first > 0).flatten(1).float().mean(1) > 0.02).sum() >= N - 1  # some are all but out of the picture
    assert not torch.equal(first[0], first[1])
    again = hands(Chance(torch.Generator().manual_seed(3), N)).amax(1)
    assert torch.equal(first, again)


def test_what_is_not_covered_is_the_face_in_a_shadow(chance: Chance, faces: Tensor, oval: Tensor) -> None:
    made, alpha = things.covered(faces, oval, chance)
    assert made.shape == faces.shape
    assert alpha.shape == (N, 1, SIZE, SIZE)
    assert 0 <= float(made.min()) <= float(made.max()) <= 1
    free = (alpha == 0).expand_as(made)
    assert (made[free] <= faces[free]).all()
    assert (made[free] >= 0.5 * faces[free]).all()
    assert ((made - faces).abs().amax(1, keepdim=True)[alpha > 0.99] > 0.02).float().mean() > 0.8
    assert float((alpha > 0.5).float().mean()) > 0.03


def test_folds_are_where_faces_have_them(chance: Chance, faces: Tensor) -> None:
    points = drawn_points(N, SIZE, "mesh_192")
    made = skin.folded(faces, points, chance)
    change = (faces - made).amax(1)
    assert (change >= 0).all()
    assert (change > 0.1).any()
    lashes = points[:, [468, 473], :2].round().long()  # the irises stay
    for row, places in enumerate(lashes.tolist()):
        assert all(float(change[row, y, x]) < 0.15 for x, y in places)
    for other in (skin.weathered(faces, chance), skin.photographed(faces, chance)):
        assert 0 <= float(other.min()) <= float(other.max()) <= 1
        assert float(other.std()) > 0.01


@pytest.fixture
def scenes() -> Scenes:
    """Two pictures of a square of skin, hair above it."""
    images = torch.randint(90, 160, (2, 3, 192, 192), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, 192, 192, dtype=torch.uint8)
    labels[:, 40:170, 50:140] = CLASSES.index("skin")
    labels[:, 20:60, 50:140] = CLASSES.index("hair")
    landmarks = TEMPLATES["mesh_192"].scaled(192).expand(2, -1, -1)
    return Scenes(images, labels, landmarks, drawn_points(2, 192, "mesh_192"))


def test_batches_say_what_is_hidden(chance: Chance, scenes: Scenes) -> None:
    batch = scenes.batch(chance)
    assert batch.faces.shape == (N, 3, SIZE, SIZE)
    assert batch.points.shape == (N, 478, 3)
    assert batch.oval.mean() > 0.1
    assert float(batch.hidden.min()) == 0
    assert float(batch.hidden[..., :4, :].mean()) > 0.9  # above the head there is none
    assert torch.equal(batch.faces, scenes.batch(Chance(torch.Generator().manual_seed(3), N)).faces)
    assert {"hair", "glasses", "hat", "background"} <= set(HIDING)
    assert not {"skin", "nose", "mouth", "left eye"} & set(HIDING)


def test_the_network_learns(chance: Chance, scenes: Scenes) -> None:
    torch.manual_seed(0)
    network = OccluderNetwork().train()
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    batch, seen = scenes.batch(chance), []
    for _ in range(12):
        parts = losses(network(batch.faces, batch.points), batch.hidden, batch.oval)
        optimiser.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
        optimiser.step()
        seen.append(float(parts["pixels"].detach()))
    assert seen[-1] < 0.7 * seen[0]


def test_convolutions_swallow_what_normalises_them(chance: Chance, scenes: Scenes) -> None:
    torch.manual_seed(0)
    network, batch = OccluderNetwork().train(), scenes.batch(chance)
    network(batch.faces, batch.points)  # for the statistics
    graph = Visible(network).eval()
    with torch.no_grad():
        before = graph(batch.faces, batch.points)
        after = Visible(fused(network)).eval()(batch.faces, batch.points)
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in network.modules())
    assert before.shape == (N, 1, SIZE, SIZE)
