"""Stages 5 and 7: another identity on aligned crops, carried over into the canvas."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trtswap.backends.runtime import Stage
from trtswap.pixels.frames import Box
from trtswap.pixels.geometry import invert, transform_points
from trtswap.pixels.warp import started, warp, warp_all

if TYPE_CHECKING:
    from trtswap.canvas.batch import FaceBatch

# Width of the ramp at the border of the swap crop, as a share of its side: it hides the edge of the square
# and leaves the face alone, which fills about the middle 70 % of every template.
BORDER = 0.06


@dataclass(frozen=True)
class Patch:
    """Swapped crops as they lie in their canvases: of one face, or of several that have the same box.

    Attributes:
        rows: which of the canvases.
        box: x0, y0, x1, y1 in canvas pixels, half open; outside of it nothing of the swap is seen.
        picture: float32 [n, 3, h, w], RGB 0..1.
        coverage: float32 [n, 1, h, w]: 1 inside the swap crop, 0 outside, with a soft border.
    """

    rows: slice
    box: Box
    picture: Tensor
    coverage: Tensor

    def of(self, canvases: Tensor) -> Tensor:
        """The same box of these rows of canvases [N, C, H, W]; a view."""
        x0, y0, x1, y1 = self.box
        return canvases[self.rows, :, y0:y1, x0:x1]


class FaceSwapper:
    """Puts an identity on aligned crops.

    Args:
        stage: the swap graph.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._ramp = border_ramp(stage.spec.size, stage.device)

    def __call__(self, batch: "FaceBatch") -> None:
        batch.swapped = batch.checked(self.swapped(batch.crops, batch.latents), batch.crops)

    def swapped(self, crops: Tensor, latents: Tensor) -> Tensor:
        """Swapped crops: float32 [N, 3, S, S] from crops of the same shape and latents [N, D]."""
        return self.stage.rows(faces=crops.clamp(0, 1), latents=latents)["swapped"]

    def to_canvas(self, swapped: Tensor, to_swap: Tensor, size: int, *, together: bool | None = None) -> list[Patch]:
        """Carry swapped crops over into their canvases, each with one composed transform.

        Args:
            swapped: float32 [N, 3, S, S].
            to_swap: float32 [N, 2, 3] on the host, canvas to swap crop.
            size: side C of the canvas.
            together: make one patch of the whole canvas for all, with one launch of each kernel, rather than a small
                one for each; by default where the crops are not on a CPU.
        """
        if together if together is not None else swapped.device.type != "cpu":
            return [self._whole(swapped, to_swap, size)]
        patches = []
        for i, box in enumerate(patch_boxes(to_swap, self.stage.spec.size, size)):
            x0, y0, x1, y1 = box
            layers = torch.cat([swapped[i], self._ramp])
            layers = warp(layers, started(to_swap[i], x0, y0), y1 - y0, x1 - x0, padding="zeros")[None]
            patches.append(Patch(slice(i, i + 1), box, layers[:, :3], layers[:, 3:]))
        return patches

    def _whole(self, swapped: Tensor, to_swap: Tensor, size: int) -> Patch:
        layers = torch.cat([swapped, self._ramp.expand(len(swapped), -1, -1, -1)], 1)
        layers = warp_all(layers, to_swap, size, size, padding="zeros")
        return Patch(slice(None), (0, 0, size, size), layers[:, :3], layers[:, 3:])


def patch_boxes(to_swap: Tensor, swap_size: int, canvas_size: int) -> list[Box]:
    """Where swap crops lie in their canvases, in canvas pixels, half open.

    Args:
        to_swap: float32 [N, 2, 3] on the host, canvas to swap crop.
        swap_size, canvas_size: sides of the two squares.
    """
    s = float(swap_size)
    corners = torch.tensor([[0.0, 0.0], [s, 0.0], [0.0, s], [s, s]]) - 0.5
    points = transform_points(invert(to_swap), corners)
    low, high = points.amin(1).floor() - 1, points.amax(1).ceil() + 2
    boxes = torch.cat([low, high], 1).clamp(0, canvas_size).int().tolist()
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in boxes]


def border_ramp(size: int, device: torch.device | str = "cpu") -> Tensor:
    """1 in the middle, falling to 0 at the border of a square, smoothly: float32 [1, size, size]."""
    x = torch.arange(size, dtype=torch.float32, device=device)
    distance = torch.minimum(x, size - 1 - x) / max(1.0, BORDER * size)
    t = distance.clamp(0, 1)
    edge = t * t * (3 - 2 * t)
    return (edge[:, None] * edge[None, :])[None]
