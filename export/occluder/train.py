"""Trains the occluder: python -m export.occluder.train DATA WEIGHTS [--seed 0] [--go-on]

DATA is a folder of ``export.avatar.data``; 2,240 pictures, and 13,000 steps in four cycles, of which each saw richer
hands than the one before, made the graph that ships: 110 minutes on two cores.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from export.avatar import data, training

from .chance import Chance
from .network import OccluderNetwork
from .scenes import Batch, Scenes, measured

NAME = "occluder"
BATCH = 16
AROUND, EDGE = 0.05, 9  # how much what is far from the face counts, and from how many pixels on
FEW = 20.0  # hidden pixels below which overlap counts less


class Drawn(IterableDataset[Batch]):
    """Batches without end, drawn by a process of their own, which takes as long as learning from them."""

    def __init__(self, scenes: Scenes, seed: int) -> None:
        self.scenes, self.seed = scenes, seed

    def __iter__(self) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            yield self.scenes.batch(Chance(generator, BATCH))


def losses(scores: Tensor, hidden: Tensor, oval: Tensor) -> dict[str, Tensor]:
    """How wrong scores [N, 1, S, S] are: pixel by pixel, and by how little of what is hidden they overlap."""
    weight = AROUND + F.max_pool2d(oval, EDGE, 1, EDGE // 2)
    each = F.binary_cross_entropy_with_logits(scores, hidden, reduction="none") * weight
    found, true = scores.sigmoid() * oval, hidden * oval
    both, either = (x.sum((1, 2, 3)) for x in (found * true, found + true))
    return {"pixels": each.sum() / weight.sum(), "overlap": 0.3 * (1 - (2 * both + FEW) / (either + FEW)).mean()}


def main() -> None:
    options = training.parser(__doc__ or "", steps=5000).parse_args()
    training.start(options)
    drawn = Drawn(measured(data.load(options.data)), options.seed)
    batches = iter(DataLoader(drawn, batch_size=None, num_workers=1, prefetch_factor=4))
    network = OccluderNetwork()
    training.begin(network, options, NAME)

    def step(number: int) -> dict[str, Tensor]:
        batch = next(batches)
        scores = network(batch.faces.contiguous(memory_format=torch.channels_last), batch.points)
        return losses(scores, batch.hidden, batch.oval)

    training.descend(step, {NAME: network}, folder=options.weights, steps=options.steps, rate=3e-3)


if __name__ == "__main__":
    main()
