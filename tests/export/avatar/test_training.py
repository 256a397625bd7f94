"""The scripts learn, stop and go on, and draw what they say they draw."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from export.avatar import detect, narrow, parse, training
from export.avatar.data import FIRST_PERSON, PEOPLE, Renders, people
from export.avatar.pairs import PairSampler
from trtswap.export.networks.yunet import STRIDES, Level

MEBIBYTE = 2**20


def renders(count: int = 6) -> Renders:
    """Noise in place of pictures: person 0 and 1 in turn."""
    g = torch.Generator().manual_seed(0)
    points = torch.tensor([[60.0, 80.0], [110.0, 80.0], [85.0, 105.0], [65.0, 130.0], [105.0, 130.0]])
    return Renders(
        images=torch.randint(256, (count, 2, 3, 192, 192), generator=g, dtype=torch.uint8),
        labels=torch.randint(19, (count, 2, 192, 192), generator=g, dtype=torch.uint8),
        landmarks=points.expand(count, 2, -1, -1).clone(),
        boxes=torch.tensor([40.0, 30.0, 130.0, 160.0]).expand(count, 2, -1).clone(),
        people=torch.tensor([[0, 1]]).expand(count, -1).clone(),
    )


def test_all_weights_fit_into_the_wheel() -> None:
    networks = (narrow.detector(), narrow.identifier(), narrow.swapper(), narrow.parser(), narrow.restorer())
    assert sum(p.numel() for n in networks for p in n.parameters()) * 4 < 15 * MEBIBYTE


def test_people_of_a_scene_are_two_and_stay_the_same() -> None:
    pairs = [people(n) for n in range(200)]
    assert pairs == [people(n) for n in range(200)]
    assert all(a != b and min(a, b) >= FIRST_PERSON and max(a, b) < FIRST_PERSON + PEOPLE for a, b in pairs)


def test_a_source_shows_the_truths_person_in_another_scene() -> None:
    found = PairSampler(renders(), torch.Generator().manual_seed(0)).draw(64)
    for i in range(64):
        assert not torch.equal(found.source[i], found.truth[i])
        own = torch.equal(found.target[i], found.truth[i])
        assert own == torch.equal(found.labels[i], found.truth_labels[i])
    assert set(found.people.tolist()) == {0, 1}


def linear(seed: int) -> tuple[nn.Module, training.Step]:
    torch.manual_seed(seed)
    network = nn.Linear(3, 1)
    x = torch.randn(64, 3)
    wanted = x @ torch.tensor([[1.0], [-2.0], [0.5]])

    def step(number: int) -> dict[str, Tensor]:
        return {"error": (network(x) - wanted).square().mean()}

    return network, step


def test_descending(tmp_path: Path) -> None:
    network, step = linear(0)
    first = float(step(0)["error"])
    training.descend(step, {"line": network}, folder=tmp_path, steps=200, rate=0.1)
    assert float(step(0)["error"]) < 0.05 * first
    saved = torch.load(tmp_path / "line.pt", weights_only=True)
    assert torch.equal(saved["weight"], network.weight)
    assert not list(tmp_path.glob("*.state"))


def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SAVE_SECONDS", -1.0)
    whole, step = linear(0)
    training.descend(step, {"line": whole}, folder=tmp_path, steps=40, rate=0.1)
    broken, step = linear(0)
    calls: list[int] = []

    def stopping(number: int) -> dict[str, Tensor]:
        calls.append(number)
        if len(calls) == 25:
            raise KeyboardInterrupt
        return step(number)

    with pytest.raises(KeyboardInterrupt):
        training.descend(stopping, {"line": broken}, folder=tmp_path, steps=40, rate=0.1)
    training.descend(stopping, {"line": broken}, folder=tmp_path, steps=40, rate=0.1)
    assert calls[25] == 24
    assert torch.allclose(whole.weight, broken.weight, atol=1e-6)


def perfect_levels(box: Tensor, points: Tensor) -> list[Level]:
    """What a flawless detector says of one face."""
    levels = []
    for stride in STRIDES:
        n = detect.SIDE // stride
        row, column = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
        at = torch.stack([column, row]).float()
        centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        bbox = torch.cat([centre[:, None, None] / stride - at, (size / stride).log()[:, None, None].expand(2, n, n)])
        kps = points.flatten()[:, None, None] / stride - at.repeat(5, 1, 1)
        near = ((at * stride - centre[:, None, None]).abs() < detect.RADIUS * stride).all(0)
        sure = torch.where(near & torch.tensor(_suits(box, stride)), 20.0, -20.0)[None, None]
        levels.append(Level(sure, sure, bbox[None], kps[None]))
    return levels


def _suits(box: Tensor, stride: int) -> bool:
    low, high = detect.RANGES[STRIDES.index(stride)]
    return low <= float((box[2:] - box[:2]).max()) < high


@pytest.mark.parametrize("side", [24.0, 60.0, 150.0])
def test_a_flawless_detector_has_no_loss_and_a_shifted_one_has(side: float) -> None:
    box = torch.tensor([90.0, 80.0, 90.0 + side, 80.0 + side])
    points = torch.tensor([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]) * side + box[:2]
    levels = perfect_levels(box, points)
    assert all(float(v) < 1e-3 for v in detect.losses_of(levels, [box[None]], [points[None]]).values())
    moved = detect.losses_of(levels, [box[None] + side / 4], [points[None] + side / 4])
    assert float(moved["bbox"]) > 0.2
    assert float(moved["kps"]) > 0.2


def test_collages_show_the_heads_that_they_claim() -> None:
    collages = detect.Collages(renders(), torch.Generator().manual_seed(2))
    counts = set()
    for _ in range(12):
        picture, boxes, landmarks = collages.draw()
        assert picture.shape == (3, detect.SIDE, detect.SIDE)
        assert len(boxes) == len(landmarks)
        counts.add(len(boxes))
        for box, points in zip(boxes, landmarks, strict=True):
            inside = (points >= box[:2] - 1) & (points <= box[2:] + 1)
            assert bool(inside.all())
            assert points[0, 0] < points[1, 0]
    assert len(counts) > 1


def test_overlap_loss_is_zero_for_certain_and_right_scores() -> None:
    labels = torch.randint(19, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    scores = torch.nn.functional.one_hot(labels, 19).movedim(-1, 1) * 50.0
    assert float(parse.overlap_loss(scores, labels)) < 1e-3
    assert float(parse.overlap_loss(scores.roll(1, 1), labels)) > 0.9
