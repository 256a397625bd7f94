"""Stages 7 and 9: what of the swapped picture is seen, and what of the original."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trtswap.stages.swap import Patch


def blend(canvas: Tensor, patches: Sequence[Patch], mouth: Tensor | None) -> None:
    """Put swapped faces into their surroundings, but for the mouth: the canvas that the restorer sees.

    Args:
        canvas: float32 [N, 3, C, C], the originals, RGB 0..1; changed in place.
        patches: N swapped faces.
        mouth: float32 [N, 1, C, C], where the original's mouth is kept; None keeps none of it.
    """
    for i, patch in enumerate(patches):
        shown = patch.coverage if mouth is None else patch.coverage * (1 - patch.of(mouth[i]))
        original = patch.of(canvas[i])
        torch.lerp(original, patch.picture, shown, out=original)


def alphas(face: Tensor, patches: Sequence[Patch]) -> list[Tensor]:
    """How much of each patch's box is seen in the frame: float32 [1, h, w] each, 0..1.

    Args:
        face: float32 [N, 1, C, C], soft masks of the faces' area.
        patches: where the swap reaches.
    """
    return [patch.of(mask) * patch.coverage for mask, patch in zip(face, patches, strict=True)]
