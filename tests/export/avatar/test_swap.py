"""What the swap is asked for."""

import torch
import torch.nn.functional as F
from torch import Tensor

from export.avatar.swap import EYES, SURROUNDINGS, face_weight, pixel_losses, strokes
from trtswap.canvas.parse import CLASSES


def edge_at(column: int) -> Tensor:
    """A picture, dark to the left of a column and light from there on: [1, 3, 64, 64]."""
    return (torch.arange(64) >= column).float().expand(1, 3, 64, 64) * 0.8


def test_strokes_prefer_a_sharp_line_near_by_to_a_blurred_one_in_place() -> None:
    truth, near = (edge_at(column) - edge_at(column + 2) for column in (30, 32))
    blurred = F.avg_pool2d(F.pad(truth, (3, 3, 0, 0), mode="replicate"), (1, 7), 1)
    made, weight = {"near": near, "blurred": blurred, "true": truth}, torch.ones(1, 1, 64, 64)
    losses = {name: pixel_losses(x, truth, weight) for name, x in made.items()}
    assert float(losses["near"]["colour"]) > float(losses["blurred"]["colour"])
    assert float(losses["near"]["fine"]) < float(losses["blurred"]["fine"])
    assert all(float(value) == 0 for value in losses["true"].values())


def test_strokes_tell_rising_from_falling() -> None:
    rising = strokes(edge_at(30)).sum((2, 3))[0]
    falling = strokes(0.8 - edge_at(30)).sum((2, 3))[0]
    assert torch.allclose(rising[:3], falling[3:6])
    assert float(rising[3:].abs().max()) == 0


def test_weights_of_pixels() -> None:
    labels = torch.tensor([[[0, CLASSES.index("skin"), CLASSES.index("left eye"), CLASSES.index("hair")]]]).byte()
    hair = torch.full_like(labels, CLASSES.index("hair"))
    assert face_weight(labels, hair).flatten().tolist() == [SURROUNDINGS, 1.0, EYES, SURROUNDINGS]
    assert torch.equal(face_weight(labels, hair), face_weight(hair, labels))
