"""Which frames count as still. The benches are no part of the wheel; the repository's root goes last on the path."""

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[2]))

from bench import shake as shaking


def test_the_still_half_is_the_half_that_moves_least() -> None:
    landmarks = torch.zeros(9, 5, 2)
    landmarks[4:, :, 0] = torch.arange(1.0, 6)[:, None] * 10
    assert shaking.still(landmarks).tolist() == [True, True, False, False, False, False, False]
