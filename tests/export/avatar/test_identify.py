"""What the identity network learns to read."""

import torch
import torch.nn.functional as F

from export.avatar import narrow
from export.avatar.identify import CONSTANT, likeness


def test_likeness_tells_people_apart_and_keeps_the_scale() -> None:
    people = likeness(torch.arange(400))
    assert people.shape == (400, narrow.LATENT)
    assert bool((people[:, -1] == CONSTANT).all())
    traits = people[:, :-1]
    assert float(traits.mean(0).abs().max()) < 0.25
    assert float((traits.std(0) - 1).abs().max()) < 0.25
    unit = F.normalize(people)
    cosine = unit @ unit.T - 2 * torch.eye(400)
    assert float(cosine.max()) < 0.85


def test_likeness_is_that_of_the_person_whatever_the_others() -> None:
    assert torch.equal(likeness(torch.tensor([7, 3]))[1], likeness(torch.tensor([3]))[0])
