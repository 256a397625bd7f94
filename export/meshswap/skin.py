"""What of a source's picture is its face: skin and features, without hair, hands and what is behind.

A model of the skin's colour and texture is made of the cheeks, nose and chin, and grows from there over what is like
them; eyes, brows and lips are known by their points.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trtswap.faces import outlines
from trtswap.faces.outlines import cells, depth_in
from trtswap.faces.pose import OUTER_CORNERS

from .light import DARKEST, blurred, mean_of, smooth, spread

# Shares of the crop's side.
FEATURE = 0.015  # eyes, brows and lips reach so far beyond their points
SOFT = 0.02
SURE = 0.05  # so deep inside the oval, and below the eyes, all is skin but the features
SHADING = 0.15  # light changes over so much of the crop
EDGE = 0.016
ROUNDS = 3
LIKE = 2.5  # deviations up to which a colour is the skin's; from twice as many on it is not
NOISE = 0.03  # of logarithms: no skin is evener
STEPS = 40  # cells that the model grows upwards from the eyes


class Skin(nn.Module):
    """Finds the face in pictures.

    Args:
        count: cells along each side of what it gives.
        size: of the crop, pixels; a multiple of ``count``.
    """

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.count, self.size = count, size
        self.register_buffer("places", cells(count, size), persistent=False)

    places: Tensor

    def forward(self, pictures: Tensor, points: Tensor) -> Tensor:
        """Maps of faces.

        Args:
            pictures: float32 [N, 3, S, S], RGB 0..1.
            points: float32 [N, 478, 3], their pixels.

        Returns:
            float32 [N, 2, count, count], 0..1: what can be shown, falling to 0 before its edge; and what tells the
            light, which is bare skin.
        """
        oval, features, teeth = self._parts(points)
        bare = 1 - smooth(features / SOFT + 0.5)
        sure = bare * smooth(oval / SOFT - SURE / SOFT) * self._below_eyes(points)
        like = self._like(pictures, sure, bare * smooth(oval / SOFT + 1))
        whole = _sharp(torch.maximum(like, smooth(features / SOFT + 1)))
        face = _grown(whole, sure)
        shown = smooth(2 * blurred(_least(face, 3), EDGE * self.count) - 1)
        shown = shown * smooth(oval / (1.5 * SOFT)) * (1 - smooth(teeth / (SOFT / 2) + 0.7))
        return torch.cat([shown, bare * _least(face, 3) * smooth(oval / SOFT)], 1)

    def _parts(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How deep each cell lies in the oval, in a feature, and between the lips: shares of the side."""

        def depth(outline: tuple[int, ...]) -> Tensor:
            return depth_in(points, outline, self.places).reshape(-1, 1, self.count, self.count) / self.size

        named = (outlines.RIGHT_BROW, outlines.LEFT_BROW, outlines.RIGHT_LIDS, outlines.LEFT_LIDS, outlines.LIPS)
        features = torch.cat([depth(outline) for outline in named], 1).amax(1, keepdim=True) + FEATURE
        return depth(outlines.OVAL), features, depth(outlines.INNER_LIPS)

    def _below_eyes(self, points: Tensor) -> Tensor:
        eyes = points[:, list(OUTER_CORNERS), 1].mean(1)[:, None]
        below = smooth((self.places[None, :, 1] - eyes) / (SOFT * self.size))
        return below.reshape(-1, 1, self.count, self.count)

    def _like(self, pictures: Tensor, sure: Tensor, may: Tensor) -> Tensor:
        """How like the sure skin each cell is, in what light it may be in: [N, 1, n, n]."""
        log = pictures.clamp(min=DARKEST).log()
        step = self.size // self.count
        mean = F.avg_pool2d(log, step)
        red, green, blue = mean[:, :1], mean[:, 1:2], mean[:, 2:]
        grey = log.mean(1, keepdim=True)
        rough = F.avg_pool2d(grey * grey, step) - F.avg_pool2d(grey, step).square()
        rough = 0.25 * (blurred(rough.clamp(min=0).sqrt(), 1.0) + 0.01).log()
        x = torch.cat([(red + green + blue) / 3, red - green, blue - green, rough], 1)
        like, weight = sure, sure
        for _ in range(ROUNDS):
            off = x - spread(x, weight + 1e-3 * may, SHADING * self.count)
            off = off - mean_of(off, weight)
            apart = (off.square() / (mean_of(off.square(), weight) + NOISE**2)).mean(1, keepdim=True).sqrt()
            like = smooth(2 - apart / LIKE * 1.5)
            weight = torch.maximum(like * may, 0.2 * sure)
        return like


def _sharp(x: Tensor) -> Tensor:
    return smooth((x - 0.4) / 0.4)


def _most(x: Tensor, side: int) -> Tensor:
    return F.max_pool2d(x, side, 1, side // 2)


def _least(x: Tensor, side: int) -> Tensor:
    return -_most(-x, side)


def _grown(like: Tensor, seed: Tensor) -> Tensor:
    """What hangs together with the seed by more than threads, without specks in it."""
    solid = _least(like, 3)
    face = torch.minimum(solid, seed)
    for _ in range(STEPS):
        face = torch.minimum(solid, _most(face, 3))
    face = torch.minimum(_most(face, 3), like)
    return smooth((_least(_most(face, 5), 5) - 0.5) / 0.3)
