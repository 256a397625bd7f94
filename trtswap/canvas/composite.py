"""Stages 7 and 9: what of the swapped picture is seen, and what of the original."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trtswap.canvas.batch import FaceBatch
from trtswap.canvas.swap import FaceSwapper, Patch
from trtswap.pixels.frames import Box, Layer
from trtswap.pixels.geometry import compose, invert


class Blender:
    """Puts swapped faces into their canvases.

    Args:
        swapper: made the faces, and knows how its crops lie in a canvas.
        mouth: keep what the original shows between its lips.
    """

    def __init__(self, swapper: FaceSwapper, *, mouth: bool) -> None:
        self._swapper, self._mouth = swapper, mouth

    def __call__(self, batch: FaceBatch) -> None:
        size = batch.canvas.shape[-1]
        to_swap = compose(batch.to_swap, invert(batch.to_canvas))
        batch.patches = self._swapper.to_canvas(batch.swapped, batch.coverage, to_swap, size)
        blend(batch.canvas, batch.patches, batch.masks.mouth if self._mouth else None)


def composite(batch: FaceBatch) -> None:
    """What is pasted of finished canvases."""
    face = batch.masks.face if batch.visible is None else batch.masks.face * batch.visible
    batch.layers = layers(batch.canvas, face * batch.sound[:, None, None, None], batch.patches)


def blend(canvas: Tensor, patches: Sequence[Patch], mouth: Tensor | None) -> None:
    """Put swapped faces into their surroundings, but for the mouth: the canvas that the restorer sees.

    Args:
        canvas: float32 [N, 3, C, C], the originals, RGB 0..1; changed in place.
        patches: N swapped faces.
        mouth: float32 [N, 1, C, C], where the original's mouth is kept; None keeps none of it.
    """
    for patch in patches:
        shown = patch.coverage if mouth is None else patch.coverage * (1 - patch.of(mouth))
        original = patch.of(canvas)
        torch.lerp(original, patch.picture, shown, out=original)


def layers(canvas: Tensor, face: Tensor, patches: Sequence[Patch]) -> list[Layer]:
    """What is pasted into the frame: N parts of canvases with their alpha, in memory of their own.

    Args:
        canvas: float32 [N, 3, C, C], finished canvases, RGB.
        face: float32 [N, 1, C, C], soft masks of the faces' area.
        patches: where the swap reaches.
    """
    return [layer for patch in patches for layer in _layers(canvas, face, patch)]


def _layers(canvas: Tensor, face: Tensor, patch: Patch) -> list[Layer]:
    alpha = patch.of(face) * patch.coverage
    (x0, y0, _, _), (left, top, right, bottom) = patch.box, _seen(alpha)
    box = (x0 + left, y0 + top, x0 + right, y0 + bottom)
    picture = canvas[patch.rows, :, box[1] : box[3], box[0] : box[2]].contiguous()
    alpha = alpha[:, :, top:bottom, left:right].contiguous()
    return [Layer(box, *parts) for parts in zip(picture, alpha, strict=True)]


def _seen(alpha: Tensor) -> Box:
    """The part of a mask [1, 1, h, w] that is not 0; all of several, or on a GPU, which would have to be waited for."""
    count, _, height, width = alpha.shape
    if count > 1 or alpha.device.type != "cpu":
        return 0, 0, width, height
    columns, rows = (alpha[0, 0].amax(dim).nonzero().flatten() for dim in (0, 1))
    if not len(rows):
        return 0, 0, 1, 1
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
