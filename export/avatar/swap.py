"""Trains the swap network against the rendered truth, and the identity network along with it.

    python -m export.avatar.swap DATA WEIGHTS [--seed 0]

Needs ``identify.pt`` and ``identify_heads.pt``. The identity network goes on learning, because what a latent holds is
what the swap has to work with; its own losses stay, so that it still tells people apart.
"""

import copy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trtswap.export.networks.arcface import ArcFace
from trtswap.stages.parse import FACE

from . import data, narrow, training
from .crops import cut, noisy, pictures, recoloured, swap_transforms
from .identify import Heads, features, normalised
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


class Critic(nn.Module):
    """Compares faces by a fixed identity network: its first features and its latent."""

    def __init__(self, network: ArcFace) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    def look(self, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n = self.network
        small = F.interpolate(faces, (narrow.IDENTIFY,) * 2, mode="bilinear", antialias=True)
        fine = n.layer1(n.maxpool(n.prelu(n.bn1(n.conv1(normalised(small))))))
        middle = n.layer2(fine)
        deep = n.bn2(n.layer4(n.layer3(middle)))
        return fine, middle, F.normalize(n.bn3(n.fc(deep.flatten(1))))

    def forward(self, made: Tensor, truth: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            wanted = self.look(truth)
        fine, middle, latent = self.look(made)
        return {
            "features": 0.15 * (F.l1_loss(fine, wanted[0]) + F.l1_loss(middle, wanted[1])),
            "likeness": 0.3 * (1 - (latent * wanted[2]).sum(1)).mean(),
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


def latents_of(identifier: nn.Module, renders: data.Renders) -> Tensor:
    """Unit latents of all renders: float32 [M, 2, LATENT]."""
    images, landmarks = renders.images.flatten(0, 1), renders.landmarks.flatten(0, 1)
    found = []
    with torch.no_grad():
        for start in range(0, len(images), BATCH):
            rows = slice(start, start + BATCH)
            transforms = swap_transforms(landmarks[rows], narrow.IDENTIFY)
            faces = cut(pictures(images[rows]), transforms, narrow.IDENTIFY, oversample=2)
            found.append(F.normalize(identifier(normalised(faces))))
    return torch.cat(found).view(len(renders), 2, -1)


def main() -> None:
    parser = training.parser(__doc__ or "", steps=3600)
    parser.add_argument("--fixed", action="store_true", help="leave identify_swap.pt as it is and train the swap alone")
    options = parser.parse_args()
    generator = training.start(options)
    renders = data.load(options.data)
    if options.fixed:
        _alone(options.weights, options.steps, renders, generator)
    else:
        _together(options.weights, options.steps, renders, generator)


def _alone(weights: Path, steps: int, renders: data.Renders, generator: torch.Generator) -> None:
    """Colours and slopes only; latents are computed once, which leaves the time to the swap."""
    latents = latents_of(narrow.trained(narrow.identifier(), weights, "identify_swap"), renders)
    pairs, network = PairSampler(renders, generator), narrow.swapper()
    training.channels_last(network)

    def step(number: int) -> dict[str, Tensor]:
        batch = pairs.draw(BATCH)
        target, truth, weight = swap_crops(batch, generator)
        made = network(target.contiguous(memory_format=torch.channels_last), latents[batch.source_at])
        return pixel_losses(made, truth, weight)

    training.descend(step, {"swap": network}, folder=weights, steps=steps, rate=3e-3)


def _together(weights: Path, steps: int, renders: data.Renders, generator: torch.Generator) -> None:
    """Swap and identity network, with the identity network's own losses and a critic of likeness."""
    pairs, wanted = PairSampler(renders, generator), features()
    identifier = narrow.identifier()
    identifier.load_state_dict(torch.load(weights / "identify.pt", weights_only=True))
    heads = Heads(narrow.LATENT, wanted.shape[1])
    heads.load_state_dict(torch.load(weights / "identify_heads.pt", weights_only=True))
    critic, network = Critic(identifier), narrow.swapper()
    for part in (identifier, critic, network):
        training.channels_last(part)

    def step(number: int) -> dict[str, Tensor]:
        batch = pairs.draw(BATCH)
        target, truth, weight = swap_crops(batch, generator)
        sources = recoloured(source_faces(batch, generator), generator, 0.03)
        latents = F.normalize(identifier(normalised(sources)))
        made = network(target.contiguous(memory_format=torch.channels_last), latents)
        logits, guessed = heads(latents, batch.people)
        return pixel_losses(made, truth, weight) | critic(made, truth) | {
            "who": 0.04 * F.cross_entropy(logits, batch.people),
            "read": 0.3 * F.mse_loss(guessed, wanted[batch.people]),
        }  # fmt: skip

    networks = {"swap": network, "identify_swap": identifier, "swap_heads": heads}
    training.descend(step, networks, folder=weights, steps=steps, rate=2e-3, frozen=("swap_heads",))


if __name__ == "__main__":
    main()
