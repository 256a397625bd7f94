"""Stages 7 and 9: what of the swapped picture is seen, and what of the original."""

import torch
from torch import Tensor


def blend(original: Tensor, swapped: Tensor, coverage: Tensor, mouth: Tensor | None) -> Tensor:
    """The canvas that the restorer sees: the swapped face in its surroundings, the mouth of the original.

    Args:
        original, swapped: float32 [N, 3, C, C], RGB 0..1.
        coverage: float32 [N, 1, C, C], where ``swapped`` has a picture.
        mouth: float32 [N, 1, C, C], where the original's mouth is kept; None keeps none of it.
    """
    shown = coverage if mouth is None else coverage * (1 - mouth)
    return torch.lerp(original, swapped, shown)


def alpha(face: Tensor, coverage: Tensor) -> Tensor:
    """How much of the canvas is seen in the frame: float32 [N, 1, C, C], 0..1; 0 outside the swap crop.

    Args:
        face: soft mask of the face's area.
        coverage: where the swap crop reaches.
    """
    return face * coverage
