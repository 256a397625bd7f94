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
        coverage: float32 [n, 1, h, w]: 1 inside the swap crop, 0 outside and where the network says that it shows no
            face, with a soft border.
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
        boost: the crop's side is so many times the network's, see :func:`split`.
        likeness: how much of the source's own shading is seen, 0..1; the pack's where None.

    Raises:
        InputError: a likeness is given, but the pack's swap network does not take one.
    """

    def __init__(self, stage: Stage, *, boost: int = 1, likeness: float | None = None) -> None:
        self.stage = stage
        self._further = stage.share("likeness", likeness, of="the swap network")
        self.boost = boost
        self.size = stage.spec.size * boost
        self._ramp = border_ramp(self.size, stage.device)

    def __call__(self, batch: "FaceBatch") -> None:
        swapped, batch.coverage = self.swapped(batch.crops, batch.latents, batch.points, batch.seen)
        batch.swapped = batch.checked(swapped, batch.crops)

    def swapped(
        self, crops: Tensor, latents: Tensor, points: Tensor | None = None, seen: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Swap crops.

        Args:
            crops: float32 [N, 3, S, S], RGB 0..1.
            latents: float32 [N, D].
            points: float32 [N, 478, 3], pixels of the crops, for a network that takes them.
            seen: float32 [N, 1, S, S], 0..1, what nothing lies in front of, for a network that takes it; all of it
                where None.

        Returns:
            Swapped crops of the same shape; and float32 [N, 1, S, S], 0..1, how much of each pixel is to be seen: a
            soft border, and what the network says of it where it says something.
        """
        small = split(crops.clamp(0, 1), self.boost)
        further = self._further | ({} if points is None else {"points": split_points(points, self.boost)})
        if self.stage.spec.visible:
            further = further | {"visible": split(torch.ones_like(crops[:, :1]) if seen is None else seen, self.boost)}
        made = self.stage.rows(faces=small, latents=latents.repeat_interleave(self.boost**2, 0), **further)
        coverage = self._ramp.expand(len(crops), -1, -1, -1)
        if "mask" in made:
            mask = join(made["mask"], self.boost)
            coverage = coverage * mask.nan_to_num(0.0).clamp(0, 1)
        return join(made["swapped"], self.boost), coverage

    def to_canvas(
        self, swapped: Tensor, coverage: Tensor, to_swap: Tensor, size: int, *, together: bool | None = None
    ) -> list[Patch]:
        """Carry swapped crops over into their canvases, each with one composed transform.

        Args:
            swapped: float32 [N, 3, S, S].
            coverage: float32 [N, 1, S, S].
            to_swap: float32 [N, 2, 3] on the host, canvas to swap crop.
            size: side C of the canvas.
            together: make one patch of the whole canvas for all, with one launch of each kernel, rather than a small
                one for each; by default where the crops are not on a CPU.
        """
        if together if together is not None else swapped.device.type != "cpu":
            return [self._whole(swapped, coverage, to_swap, size)]
        patches = []
        for i, box in enumerate(patch_boxes(to_swap, self.size, size)):
            x0, y0, x1, y1 = box
            layers = torch.cat([swapped[i], coverage[i]])
            layers = warp(layers, started(to_swap[i], x0, y0), y1 - y0, x1 - x0, padding="zeros")[None]
            patches.append(Patch(slice(i, i + 1), box, layers[:, :3], layers[:, 3:]))
        return patches

    def _whole(self, swapped: Tensor, coverage: Tensor, to_swap: Tensor, size: int) -> Patch:
        layers = warp_all(torch.cat([swapped, coverage], 1), to_swap, size, size, padding="zeros")
        return Patch(slice(None), (0, 0, size, size), layers[:, :3], layers[:, 3:])


def split(crops: Tensor, boost: int) -> Tensor:
    """Every ``boost``-th pixel of every ``boost``-th row, from each start: [N, C, b S, b S] -> [N b b, C, S, S].

    A network that was trained on S pixels makes more than S of a face in this way: the pictures it is given differ by
    less than a pixel, and so do its answers, which :func:`join` puts back in place.
    """
    if boost == 1:
        return crops
    count, channels, height, width = crops.shape
    parts = crops.view(count, channels, height // boost, boost, width // boost, boost)
    return parts.permute(0, 3, 5, 1, 2, 4).reshape(-1, channels, height // boost, width // boost)


def split_points(points: Tensor, boost: int) -> Tensor:
    """Points [N, P, 3] of crops in pixels of each of their parts, as :func:`split` makes them: [N b b, P, 3]."""
    if boost == 1:
        return points
    start = torch.arange(boost, device=points.device, dtype=points.dtype)
    y, x = torch.meshgrid(start, start, indexing="ij")
    starts = torch.stack([x, y, torch.zeros_like(x)], -1).reshape(1, -1, 1, 3)
    return ((points[:, None] - starts) / boost).flatten(0, 1)


def join(parts: Tensor, boost: int) -> Tensor:
    """What :func:`split` has taken apart: [N b b, C, S, S] -> [N, C, b S, b S]."""
    if boost == 1:
        return parts
    _, channels, height, width = parts.shape
    grid = parts.view(-1, boost, boost, channels, height, width)
    return grid.permute(0, 3, 4, 1, 5, 2).reshape(-1, channels, height * boost, width * boost)


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
