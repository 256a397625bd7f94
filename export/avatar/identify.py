"""Trains the identity network to read off a picture what the renderer was told.

    python -m export.avatar.identify DATA WEIGHTS [--seed 0] [--go-on]

A latent is a head's own parameters, as far as a picture shows them: each has mean zero and deviation one among people,
so what cannot be seen comes out as nobody's, and the swap draws an average there. A margin loss over the people of the
training set was tried before: with about three pictures a person it learned the pictures by heart.
"""

from argparse import Namespace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from export.avatar.renderer.identity import FACE, sample_identity

from . import data, narrow, training
from .crops import covered, cut, identify_transforms, mirrored, noisy, pictures, recoloured

BATCH = 32
CONSTANT = 4.0  # keeps the scale of a latent's other entries when it is brought to unit length
MEAN, STD = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def normalised(faces: Tensor) -> Tensor:
    """0..1 to what the identity and parse networks take."""
    return (faces - MEAN) / STD


def likeness(people: Tensor) -> Tensor:
    """Latents of people as the renderer knows them, before they are scaled to unit length.

    Args:
        people: int64 [N], numbers of the training's people.

    Returns:
        float32 [N, LATENT]: parameters less their mean over their deviation, and CONSTANT.
    """
    names = [p.name for p in FACE if not p.name.startswith("texture")]
    tables = [
        torch.cat([who[name] for name in names], 1)
        for who in (sample_identity(range(1_000)), sample_identity((data.FIRST_PERSON + people).tolist()))
    ]
    standard = (tables[1] - tables[0].mean(0)) / tables[0].std(0)
    return torch.cat([standard, torch.full((len(people), 1), CONSTANT)], 1)


def learn(network: nn.Module, name: str, options: Namespace, generator: Generator, *, size: int, tone: float) -> None:
    """Train a network to read people's parameters off their faces, and save it as ``NAME.pt``.

    Args:
        network: takes crops [N, 3, size, size]; gives the first entries of ``likeness``, as many as it has outputs.
        tone: how much exposure, white balance and contrast vary.
    """
    renders = data.load(options.data)
    images, landmarks = renders.images.flatten(0, 1), renders.landmarks.flatten(0, 1)
    wanted = likeness(renders.people.flatten())
    training.begin(network, options, name)

    def step(number: int) -> dict[str, Tensor]:
        rows = torch.randint(len(images), (BATCH,), generator=generator)
        transforms = identify_transforms(noisy(landmarks[rows], generator), size)
        faces = cut(pictures(images[rows]), transforms, size, oversample=2)
        faces = mirrored(covered(faces, generator), torch.rand(BATCH, generator=generator) < 0.5)
        found = network(normalised(recoloured(faces, generator, tone)))
        return {"likeness": F.mse_loss(found, wanted[rows, : found.shape[1]])}

    training.descend(step, {name: network}, folder=options.weights, steps=options.steps, rate=3e-3, decay=0.05)


def main() -> None:
    options = training.parser(__doc__ or "", steps=3600).parse_args()
    generator = training.start(options)
    learn(narrow.identifier(), "identify", options, generator, size=narrow.IDENTIFY, tone=0.05)


if __name__ == "__main__":
    main()
