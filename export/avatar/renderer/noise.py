"""Smooth random fields in space, the same on every device: a fixed periodic volume, sampled trilinearly."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CELLS = 32
CHANNELS = 4


def volume(device: torch.device | str = "cpu") -> Tensor:
    """Values in -1..1: float32 [1, 4, 33, 33, 33], the last slice of each axis equal to the first."""
    cells = np.random.default_rng(7).uniform(-1, 1, (1, CHANNELS, CELLS, CELLS, CELLS)).astype(np.float32)
    wrapped = np.pad(cells, ((0, 0), (0, 0), (0, 1), (0, 1), (0, 1)), mode="wrap")
    return torch.from_numpy(wrapped).to(device)


class Noise:
    """Samples the volume; one cell of it is as long as ``1 / frequency``."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.volume = volume(device)

    def __call__(self, points: Tensor) -> Tensor:
        """Four independent fields at points [B, K, 3] given in cells: [4, B, K], -1..1."""
        low = torch.floor(points)
        share = points - low
        # Smoothed shares hide the lattice, whose creases linear weights would show.
        cell = low + share * share * (3 - 2 * share)
        grid = (cell / CELLS - torch.floor(low / CELLS)) * 2 - 1
        volume = self.volume.expand(len(points), -1, -1, -1, -1)
        found = F.grid_sample(volume, grid[:, None, None], mode="bilinear", padding_mode="border", align_corners=True)
        return found[:, :, 0, 0].movedim(1, 0)

    def octaves(self, points: Tensor, count: int) -> Tensor:
        """Sum of ``count`` octaves, each twice as fine and half as strong: [4, B, K], about -1..1."""
        total = self(points)
        for octave in range(1, count):
            total = total + self(points * 2.03**octave + 7.7 * octave) * 0.5**octave
        return total
