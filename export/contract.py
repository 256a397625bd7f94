"""A checkpoint's own pre- and postprocessing put around its network, so that the pack contract holds.

Outside, every image is RGB, NCHW, float32, 0..1. How a network wants its pixels is a property of the *checkpoint*,
so nothing here has a default: each recipe states it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Normalisation:
    """The affine map between 0..1 and what a network works in, one mean and standard deviation per RGB channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


PLAIN = Normalisation((0, 0, 0), (1, 1, 1))
SYMMETRIC = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # -1..1
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Normalise(nn.Module):
    """float [N, 3, H, W] 0..1 -> (x - mean) / std; PLAIN adds no operation."""

    def __init__(self, norm: Normalisation) -> None:
        super().__init__()
        self.plain = norm == PLAIN
        self.register_buffer("mean", torch.tensor(norm.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(norm.std).view(1, 3, 1, 1), persistent=False)

    mean: Tensor
    std: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return x if self.plain else (x - self.mean) / self.std


class Denormalise(Normalise):
    """float [N, 3, H, W] of a network -> x * std + mean, clamped to 0..1."""

    def forward(self, x: Tensor) -> Tensor:
        return (x if self.plain else x * self.std + self.mean).clamp(0, 1)


class UnitLength(nn.Module):
    """float [N, D] -> the same direction with L2 norm 1; zeros stay zeros."""

    def forward(self, x: Tensor) -> Tensor:
        return x / x.square().sum(1, keepdim=True).sqrt().clamp(min=1e-12)


class Identify(nn.Module):
    """`faces` [N, 3, 112, 112] -> `latents` [N, D], L2-normalised."""

    def __init__(self, network: nn.Module, takes: Normalisation) -> None:
        super().__init__()
        self.normalise, self.network, self.unit_length = Normalise(takes), network, UnitLength()

    def forward(self, faces: Tensor) -> Tensor:
        latents: Tensor = self.unit_length(self.network(self.normalise(faces)))
        return latents


class Swap(nn.Module):
    """`faces` [N, 3, S, S], `latents` [N, D] -> `swapped` [N, 3, S, S]."""

    def __init__(self, network: nn.Module, takes: Normalisation, gives: Normalisation) -> None:
        super().__init__()
        self.normalise, self.network, self.denormalise = Normalise(takes), network, Denormalise(gives)

    def forward(self, faces: Tensor, latents: Tensor) -> Tensor:
        swapped: Tensor = self.denormalise(self.network(self.normalise(faces), latents))
        return swapped


class Parse(nn.Module):
    """`faces` [N, 3, P, P] -> `labels` uint8 [N, P, P]: the class with the highest of the network's scores."""

    def __init__(self, network: nn.Module, takes: Normalisation) -> None:
        super().__init__()
        self.normalise, self.network = Normalise(takes), network

    def forward(self, faces: Tensor) -> Tensor:
        scores: Tensor = self.network(self.normalise(faces))
        return scores.argmax(1).to(torch.uint8)


class Restore(nn.Module):
    """`faces` [N, 3, C, C] -> `restored` [N, 3, C, C]."""

    def __init__(self, network: nn.Module, takes: Normalisation, gives: Normalisation) -> None:
        super().__init__()
        self.normalise, self.network, self.denormalise = Normalise(takes), network, Denormalise(gives)

    def forward(self, faces: Tensor) -> Tensor:
        restored: Tensor = self.denormalise(self.network(self.normalise(faces)))
        return restored
