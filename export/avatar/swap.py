"""Trains the swap network against the rendered truth.

    python -m export.avatar.swap DATA WEIGHTS --stage half [--seed 0]   # coarse layers, on faces of half the size
    python -m export.avatar.swap DATA WEIGHTS --stage whole             # goes on with the finest layers
    python -m export.avatar.swap DATA WEIGHTS --stage seen              # goes on with latents as identify.pt sees them

Until then latents are what the renderer knows, so the first two can run beside ``export.avatar.identify``.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trtswap.canvas.parse import CLASSES, FACE
from trtswap.export.networks.simswap import SimSwap

from . import data, narrow, training
from .crops import canvas_transforms, cut, identify_transforms, mirrored, noisy, pictures
from .identify import likeness, normalised
from .pairs import Pairs, PairSampler

BATCH = 16
SURROUNDINGS, BROWS, EYES = (
    0.25,
    4.0,
    8.0,
)  # weights of pixels outside the face, and of what is small but looked at
LOOKS = 2  # latents computed of each render
WINDOW = 8  # side of the squares that strokes are counted in, pixels


def face_weight(labels: Tensor, truth_labels: Tensor) -> Tensor:
    """1 where either picture shows the face, more at brows and eyes, less outside: float32 [N, 1, H, W]."""
    table = torch.full((256,), SURROUNDINGS)
    table[list(FACE)] = 1.0
    for part, weight in (("brow", BROWS), ("eye", EYES)):
        table[[CLASSES.index(f"{side} {part}") for side in ("left", "right")]] = weight
    return torch.maximum(table[labels.int()], table[truth_labels.int()])[:, None]


def strokes(x: Tensor) -> Tensor:
    """How much a picture [N, 3, H, W] rises and falls to the right and downwards, means over WINDOW: [N, 12, h, w]."""
    right, down = F.pad(x[..., 1:] - x[..., :-1], (0, 1)), F.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
    return F.avg_pool2d(torch.cat([right.relu(), (-right).relu(), down.relu(), (-down).relu()], 1), WINDOW, WINDOW // 2)


def pixel_losses(made: Tensor, truth: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Differences of colours, and of strokes.

    Where a hair is cannot be told to the pixel, and the best guess at a pixel's colour is then a blur. Strokes ask
    for as many lines as the truth has somewhere about there; SIFT and HOG compare pictures that do not quite match so.
    """
    norm = weight.mean()
    area = F.avg_pool2d(weight, WINDOW, WINDOW // 2)
    coarse = [strokes(F.avg_pool2d(x, 2)) for x in (made, truth)]
    fine = [strokes(x) for x in (made, truth)]
    return {
        "colour": ((made - truth).abs() * weight).mean() / norm * 4,
        "squared": ((made - truth).square() * weight).mean() / norm * 10,
        "fine": ((fine[0] - fine[1]).abs() * area).mean() / norm * 40,
        "coarse": ((coarse[0] - coarse[1]).abs() * F.avg_pool2d(area, 2)).mean() / norm * 20,
    }


def swap_crops(pairs: Pairs, generator: torch.Generator, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Target crops, true crops [N, 3, size, size] and their weight [N, 1, size, size]."""
    transforms = canvas_transforms(noisy(pairs.landmarks, generator), size)
    weight = face_weight(pairs.labels, pairs.truth_labels)
    stack = torch.cat([pictures(pairs.target), pictures(pairs.truth), weight], 1)
    crops = cut(stack, transforms, size, oversample=2)
    return crops[:, :3], crops[:, 3:6], crops[:, 6:]


def source_faces(pairs: Pairs, generator: torch.Generator) -> Tensor:
    """Identify crops of the sources [N, 3, 112, 112]."""
    transforms = identify_transforms(noisy(pairs.source_landmarks, generator), narrow.IDENTIFY)
    return cut(pictures(pairs.source), transforms, narrow.IDENTIFY, oversample=2)


def seen_latents(identifier: nn.Module, renders: data.Renders, generator: torch.Generator) -> Tensor:
    """Unit latents of all renders, each cut LOOKS times with other errors: float32 [M, 2, LOOKS, LATENT]."""
    images = renders.images.flatten(0, 1)
    landmarks = renders.landmarks.flatten(0, 1)[:, None].expand(-1, LOOKS, -1, -1)
    found = []
    with torch.no_grad():
        for start in range(0, len(images), BATCH):
            rows = slice(start, start + BATCH)
            transforms = identify_transforms(noisy(landmarks[rows].flatten(0, 1), generator), narrow.IDENTIFY)
            looked_at = pictures(images[rows]).repeat_interleave(LOOKS, 0)
            faces = cut(looked_at, transforms, narrow.IDENTIFY, oversample=2)
            found.append(F.normalize(identifier(normalised(faces))))
    return torch.cat(found).view(len(renders), 2, LOOKS, -1)


def stage(name: str, weights: Path) -> tuple[SimSwap, str, float, int]:
    """Of a stage of the training: the network to begin with, the name to save it by, the learning rate, pixels."""
    if name == "half":
        return narrow.swapper("skips-half"), "swap_half", 3e-3, narrow.SWAP // 2
    network = narrow.swapper()
    if name == "whole":
        coarse = narrow.trained(narrow.swapper("skips-half"), weights, "swap_half").state_dict()
        network.load_state_dict({k: v for k, v in coarse.items() if not k.startswith(("first", "last"))}, strict=False)
        return network, "swap_whole", 3e-3, narrow.SWAP
    narrow.trained(network, weights, "swap_whole").train()
    return network, "swap", 1e-3, narrow.SWAP


def main() -> None:
    parser = training.parser(__doc__ or "", steps=3600, go_on=False)
    parser.add_argument("--stage", choices=("half", "whole", "seen"), required=True)
    options = parser.parse_args()
    generator = training.start(options)
    renders = data.load(options.data)
    network, name, rate, size = stage(options.stage, options.weights)
    if options.stage == "seen":
        latents = seen_latents(narrow.trained(narrow.identifier(), options.weights, "identify"), renders, generator)
    else:
        latents = F.normalize(likeness(renders.people.flatten())).view(len(renders), 2, 1, -1)
    training.channels_last(network)
    pairs = PairSampler(renders, generator)

    def step(number: int) -> dict[str, Tensor]:
        batch = pairs.draw(BATCH)
        turned = torch.rand(BATCH, generator=generator) < 0.5
        target, truth, weight = (mirrored(crops, turned) for crops in swap_crops(batch, generator, size))
        looks = torch.randint(latents.shape[2], (BATCH,), generator=generator)
        return pixel_losses(network(target, latents[(*batch.source_at, looks)]), truth, weight)

    training.descend(step, {name: network}, folder=options.weights, steps=options.steps, rate=rate)


if __name__ == "__main__":
    main()
