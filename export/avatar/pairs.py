"""Batches for the swap: a target, another person's picture as the source, and the true result."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .data import Renders

SAME = 0.1  # share of the faces that are swapped with their own person's


@dataclass(frozen=True)
class Pairs:
    """N swaps.

    Attributes:
        target, truth: uint8 RGB [N, 3, H, W], the same scene.
        labels: of the target, uint8 [N, H, W].
        truth_labels: of the truth.
        landmarks: of the target, float32 [N, 5, 2].
        source: uint8 RGB [N, 3, H, W], the truth's person in another scene.
        source_landmarks: float32 [N, 5, 2].
        people: int64 [N], who the source is.
        source_at: scene and side of the sources among the renders, int64 [N] each.
    """

    target: Tensor
    truth: Tensor
    labels: Tensor
    truth_labels: Tensor
    landmarks: Tensor
    source: Tensor
    source_landmarks: Tensor
    people: Tensor
    source_at: tuple[Tensor, Tensor]


class PairSampler:
    """Draws swaps from renders; every scene serves in both directions."""

    def __init__(self, renders: Renders, generator: torch.Generator) -> None:
        self.renders, self.generator = renders, generator
        self.by_person: dict[int, list[tuple[int, int]]] = {}
        for scene, both in enumerate(renders.people.tolist()):
            for side, person in enumerate(both):
                self.by_person.setdefault(person, []).append((scene, side))

    def draw(self, count: int) -> Pairs:
        r = self.renders
        scenes = torch.randint(len(r), (count,), generator=self.generator)
        sides = torch.randint(2, (count,), generator=self.generator)
        same = torch.rand(count, generator=self.generator) < SAME
        truth_sides = torch.where(same, sides, 1 - sides)
        people = r.people[scenes, truth_sides]
        chosen = [self._source(p, s) for p, s in zip(people.tolist(), scenes.tolist(), strict=True)]
        sources = torch.tensor([scene for scene, _ in chosen]), torch.tensor([side for _, side in chosen])
        return Pairs(
            r.images[scenes, sides], r.images[scenes, truth_sides], r.labels[scenes, sides],
            r.labels[scenes, truth_sides], r.landmarks[scenes, sides], r.images[sources], r.landmarks[sources], people,
            sources,
        )  # fmt: skip

    def _source(self, person: int, scene: int) -> tuple[int, int]:
        """A picture of the person in another scene, if there is one."""
        renders = self.by_person[person]
        others = [r for r in renders if r[0] != scene] or renders
        return others[int(torch.randint(len(others), (1,), generator=self.generator))]
