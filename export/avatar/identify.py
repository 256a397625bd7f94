"""Trains the identity network: who of the training's people is it, and what are their features?

    python -m export.avatar.identify DATA WEIGHTS [--seed 0] [--name identify]

A margin loss (ArcFace, Deng et al. 2018) tells people apart; beside it a linear map must read the renderer's own
parameters off the latent, so that a latent holds what a swap needs rather than whatever tells 1,500 people apart.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.avatars.identity import FACE, sample_identity

from . import data, narrow, training
from .crops import cut, noisy, pictures, recoloured, swap_transforms

BATCH = 48
SCALE, MARGIN = 24.0, 0.2
MEAN, STD = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def normalised(faces: Tensor) -> Tensor:
    """0..1 to what the identity and parse networks take."""
    return (faces - MEAN) / STD


def features() -> Tensor:
    """What is to be read off a latent: float32 [PEOPLE, P], zero mean and unit deviation."""
    who = sample_identity(range(data.FIRST_PERSON, data.FIRST_PERSON + data.PEOPLE))
    table = torch.cat([who[p.name] for p in FACE if not p.name.startswith("texture")], 1)
    return (table - table.mean(0)) / table.std(0).clamp(min=1e-6)


class Heads(nn.Module):
    """What is left out of the pack: the people's directions and the features' linear map."""

    def __init__(self, latent: int, features: int) -> None:
        super().__init__()
        self.people = nn.Parameter(F.normalize(torch.randn(data.PEOPLE, latent)))
        self.features = nn.Linear(latent, features)

    def forward(self, latents: Tensor, people: Tensor) -> tuple[Tensor, Tensor]:
        """Margin logits [N, PEOPLE] and features [N, P] of unit latents [N, latent]."""
        cosine = latents @ F.normalize(self.people).T
        angle = cosine.gather(1, people[:, None]).clamp(-0.999, 0.999).acos()
        logits = SCALE * cosine.scatter(1, people[:, None], (angle + MARGIN).cos())
        return logits, self.features(latents * latents.shape[1] ** 0.5)


def main() -> None:
    parser = training.parser(__doc__ or "", steps=1800)
    parser.add_argument("--name", default="identify", help="of the network; another name and seed make a judge")
    options = parser.parse_args()
    generator = training.start(options)
    renders = data.load(options.data)
    images, landmarks = renders.images.flatten(0, 1), renders.landmarks.flatten(0, 1)
    people, wanted = renders.people.flatten(), features()
    network = narrow.identifier()
    heads = Heads(narrow.LATENT, wanted.shape[1])

    def step(number: int) -> dict[str, Tensor]:
        rows = torch.randint(len(images), (BATCH,), generator=generator)
        transforms = swap_transforms(noisy(landmarks[rows], generator), narrow.IDENTIFY)
        faces = cut(pictures(images[rows]), transforms, narrow.IDENTIFY, oversample=2)
        latents = F.normalize(network(normalised(recoloured(faces, generator, 0.06))))
        logits, guessed = heads(latents, people[rows])
        return {
            "who": 0.2 * F.cross_entropy(logits, people[rows]),
            "features": F.mse_loss(guessed, wanted[people[rows]]),
        }

    training.descend(
        step, {options.name: network, f"{options.name}_heads": heads}, folder=options.weights, steps=options.steps,
        rate=3e-3, frozen=(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
