"""The graphs ``encode`` and ``swap`` of the pack mesh."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .controls import CONTROLS, MIRRORED
from .light import between, blurred, fine, lit
from .measures import counting, open_eyes, towards
from .skin import Skin
from .warp import Warp, drawn, growth

CELLS = 64  # of maps and light, along each side of the crop
PLACES = 40  # of the warp, which is smooth
TURNED, FACING = 0.25, 0.55  # growth of the source's areas below which its other half, mirrored, shows more
HIDDEN, SEEN = 0.10, 0.30  # the same, of the better half, below which the target stays as it is
WHOLE = 0.6, 1.0  # how much of a cell must be seen for its light to count
HALVES, HOLES = 0.02, 0.01  # softness of the border between both, and of that to the target: shares of the side


class Encode(nn.Module):
    """`faces` [N, 3, S, S], `points` [N, 478, 3] -> `codes`: the picture, what of it is face, and its points."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.skin = Skin(CELLS, size)

    def forward(self, faces: Tensor, points: Tensor) -> Tensor:
        maps = self.skin(faces, points)
        return torch.cat([faces.flatten(1), maps.flatten(1), points[:, CONTROLS, :2].flatten(1)], 1)


def code_length(size: int) -> int:
    """Numbers in a code."""
    return 3 * size**2 + 2 * CELLS**2 + 2 * len(CONTROLS)


class MeshSwap(nn.Module):
    """`faces`, `latents` of :class:`Encode`, `points`, `visible` [N, 1, S, S], `likeness` [1] -> `swapped`, `mask`.

    The picture is drawn onto the target's points; where the source is turned away there, its other half is, mirrored;
    where neither shows anything, and on shut eyes, the target stays.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.warp = Warp(PLACES, size)

    def forward(
        self, faces: Tensor, latents: Tensor, points: Tensor, visible: Tensor, likeness: Tensor
    ) -> tuple[Tensor, Tensor]:
        size = self.size
        picture, maps, source = self._parts(latents)
        sources = torch.cat([source, source[:, MIRRORED]], 2)
        places = self.warp(points[:, CONTROLS, :2], sources, counting(points))
        places = fine(places, CELLS)
        straight, mirrored = places[:, :2], places[:, 2:]
        own, other = growth(straight, size), -growth(mirrored, size)
        first = blurred(1 - (1 - between(own, TURNED, FACING)) * between(other, TURNED, FACING), HALVES * CELLS)
        found = torch.lerp(drawn(maps, mirrored, size), drawn(maps, straight, size), first)
        fields = fine(torch.cat([places, first], 1), size)
        half, other_half = (drawn(picture, fields[:, at : at + 2], size) for at in (0, 2))
        made = torch.lerp(other_half, half, fields[:, 4:])
        shown = torch.maximum(between(own, HIDDEN, SEEN), between(other, HIDDEN, SEEN))
        eyes = fine(open_eyes(points, self.warp.places).reshape(-1, 1, PLACES, PLACES), CELLS)
        mask = found[:, :1] * blurred(shown, HOLES * CELLS) * towards(points) * eyes
        # A hand is lit otherwise, and has other colours.
        bare = between(F.avg_pool2d(visible, size // CELLS), *WHOLE)
        return lit(faces, made, found[:, 1:] * bare, likeness), fine(mask, size)

    def _parts(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Picture, maps and points of a code."""
        end = 3 * self.size**2
        after = end + 2 * CELLS**2
        return (
            latents[:, :end].reshape(-1, 3, self.size, self.size),
            latents[:, end:after].reshape(-1, 2, CELLS, CELLS),
            latents[:, after:].reshape(-1, len(CONTROLS), 2),
        )
