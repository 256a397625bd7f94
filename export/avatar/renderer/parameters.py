"""Named random parameters: tables of ranges, and values drawn from them, one independent stream per seed."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Name -> float32 [B, 1], so that a value broadcasts against the points of its image, [B, K].
Values = dict[str, Tensor]


@dataclass(frozen=True)
class Parameter:
    """One number that varies between avatars.

    Attributes:
        name: key in ``Values``.
        low, high: range, both ends included.
        mean, spread: of the normal distribution that is clipped to the range; without a mean the
            distribution is uniform.
    """

    name: str
    low: float
    high: float
    mean: float | None = None
    spread: float = 0.0

    def draw(self, generator: np.random.Generator) -> float:
        if self.mean is None:
            return float(generator.uniform(self.low, self.high))
        return float(np.clip(generator.normal(self.mean, self.spread), self.low, self.high))


def sample(table: Sequence[Parameter], seeds: Sequence[int], stream: str) -> Values:
    """Draw all parameters of a table for each seed.

    A seed's values depend on the seed and on the stream's name alone, not on the other seeds or on the device.
    """
    rows = []
    for seed in seeds:
        generator = np.random.default_rng([seed, zlib.crc32(stream.encode())])
        rows.append([parameter.draw(generator) for parameter in table])
    columns = torch.tensor(rows, dtype=torch.float32).reshape(len(seeds), len(table))
    return {
        parameter.name: columns[:, i : i + 1].clone(memory_format=torch.contiguous_format)
        for i, parameter in enumerate(table)
    }


def pick(values: Mapping[str, Tensor], rows: slice) -> Values:
    """Some images of a batch, copied."""
    return {name: value[rows].clone() for name, value in values.items()}


def moved(values: Mapping[str, Tensor], device: torch.device | str) -> Values:
    """The values on another device."""
    return {name: value.to(device) for name, value in values.items()}
