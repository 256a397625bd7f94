"""Trains the swap network against the rendered truth.

    python -m export.avatar.swap DATA WEIGHTS [--seed 0]          # on latents as the renderer knows them
    python -m export.avatar.swap DATA WEIGHTS --seen              # goes on with latents as the identity network sees them

The first needs no other network, so it can run beside ``export.avatar.identify``. The second trains both together, for
what a latent holds is what the swap has to work with.
"""

from argparse import Namespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trtswap.stages.parse import FACE

from . import data, narrow, training
from .crops import cut, mirrored, noisy, pictures, recoloured, swap_transforms
from .identify import likeness, normalised
from .pairs import Pairs, PairSampler

BATCH = 16
SURROUNDINGS = 0.25  # weight of pixels that are not the face's


def face_weight(labels: Tensor, truth_labels: Tensor) -> Tensor:
    """1 where either picture shows the face, SURROUNDINGS elsewhere: float32 [N, 1, H, W]."""
    table = torch.full((256,), SURROUNDINGS)
    table[list(FACE)] = 1.0
    return torch.maximum(table[labels.int()], table[truth_labels.int()])[:, None]


def edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]


def pixel_losses(made: Tensor, truth: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Differences of colours and of their slopes, weighted means."""
    norm = weight.mean()
    slopes = [
        ((a - b).abs() * w).mean()
        for a, b, w in zip(edges(made), edges(truth), (weight[..., 1:], weight[..., 1:, :]), strict=True)
    ]
    return {
        "colour": ((made - truth).abs() * weight).mean() / norm * 4,
        "squared": ((made - truth).square() * weight).mean() / norm * 10,
        "slope": torch.stack(slopes).sum() / norm * 2,
    }


def swap_crops(pairs: Pairs, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Target crops, true crops [N, 3, S, S] and their weight [N, 1, S, S]."""
    transforms = swap_transforms(noisy(pairs.landmarks, generator), narrow.SWAP)
    weight = face_weight(pairs.labels, pairs.truth_labels)
    stack = torch.cat([pictures(pairs.target), pictures(pairs.truth), weight], 1)
    crops = cut(stack, transforms, narrow.SWAP, oversample=2)
    return crops[:, :3], crops[:, 3:6], crops[:, 6:]


def source_faces(pairs: Pairs, generator: torch.Generator) -> Tensor:
    """Identify crops of the sources [N, 3, 112, 112]."""
    transforms = swap_transforms(noisy(pairs.source_landmarks, generator), narrow.IDENTIFY)
    return cut(pictures(pairs.source), transforms, narrow.IDENTIFY, oversample=2)


def main() -> None:
    parser = training.parser(__doc__ or "", steps=4000)
    parser.add_argument("--seen", action="store_true", help="go on from swap.pt, together with identify.pt")
    options = parser.parse_args()
    generator = training.start(options)
    pairs, network = PairSampler(data.load(options.data), generator), narrow.swapper()
    if options.seen:
        _together(pairs, network, options)
    else:
        _alone(pairs, network, options)


def _alone(pairs: PairSampler, network: nn.Module, options: Namespace) -> None:
    training.channels_last(network)
    latents = F.normalize(likeness(torch.arange(data.PEOPLE)))

    def step(number: int) -> dict[str, Tensor]:
        batch = pairs.draw(BATCH)
        turned = torch.rand(BATCH, generator=pairs.generator) < 0.5
        target, truth, weight = (mirrored(crops, turned) for crops in swap_crops(batch, pairs.generator))
        return pixel_losses(network(target, latents[batch.people]), truth, weight)

    training.descend(step, {"swap": network}, folder=options.weights, steps=options.steps, rate=3e-3)


def _together(pairs: PairSampler, network: nn.Module, options: Namespace) -> None:
    network = narrow.trained(network, options.weights, "swap").train()
    identifier = narrow.trained(narrow.identifier(), options.weights, "identify").train()
    for part in (identifier, network):
        training.channels_last(part)
    wanted = likeness(torch.arange(data.PEOPLE))

    def step(number: int) -> dict[str, Tensor]:
        batch = pairs.draw(BATCH)
        turned = torch.rand(BATCH, generator=pairs.generator) < 0.5
        target, truth, weight = (mirrored(crops, turned) for crops in swap_crops(batch, pairs.generator))
        sources = mirrored(recoloured(source_faces(batch, pairs.generator), pairs.generator, 0.03), turned)
        found = identifier(normalised(sources))
        made = network(target, F.normalize(found))
        return pixel_losses(made, truth, weight) | {"likeness": F.mse_loss(found, wanted[batch.people])}

    networks = {"swap_seen": network, "identify_seen": identifier}
    training.descend(step, networks, folder=options.weights, steps=options.steps, rate=1e-3)


if __name__ == "__main__":
    main()
