"""Random numbers for a batch of pictures, and the pictures' pixels."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .network import SIZE

Y, X = torch.meshgrid(torch.arange(SIZE, dtype=torch.float32), torch.arange(SIZE, dtype=torch.float32), indexing="ij")


@dataclass(frozen=True)
class Chance:
    """Draws for ``count`` pictures at once, the same again with a generator of the same seed.

    Attributes:
        generator: where numbers come from.
        count: pictures.
    """

    generator: torch.Generator
    count: int

    def between(self, low: float, high: float) -> Tensor:
        """float32 [N]."""
        return torch.rand(self.count, generator=self.generator) * (high - low) + low

    def field(self, low: float, high: float) -> Tensor:
        """The same as [N, 1, 1, 1], one number for a picture."""
        return self.between(low, high)[:, None, None, None]

    def which(self, share: float) -> Tensor:
        """bool [N], True for about that share of the pictures."""
        return torch.rand(self.count, generator=self.generator) < share

    def sometimes(self, share: float, most: float) -> Tensor:
        """float32 [N]: 0 for most pictures, up to ``most`` for a share of them."""
        return self.between(0.0, most) * self.which(share)

    def normal(self, *shape: int) -> Tensor:
        """float32 [N, *shape]."""
        return torch.randn(self.count, *shape, generator=self.generator)

    def colour(self, spread: float) -> Tensor:
        """float32 [N, 3]: a factor for each colour, about 1."""
        return 1 + spread * self.normal(3)

    def clouds(self, channels: int, cells: int) -> Tensor:
        """Smooth noise [N, channels, S, S] of so many cells along a side, standard deviation about 1."""
        coarse = self.normal(channels, cells, cells)
        return F.interpolate(coarse, (SIZE, SIZE), mode="bicubic", align_corners=False)

    def first(self, count: int) -> "Chance":
        """The same chance for fewer pictures."""
        return Chance(self.generator, count)


def per_pixel(values: Tensor) -> Tensor:
    """One number for each picture [N] as [N, 1, 1]."""
    return values[:, None, None]


def capsule(start: Tensor, end: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """How far each pixel lies inside a line with round ends: radius squared less distance squared, [N, S, S].

    Args:
        start, end: float32 [N, 2], pixels.
        first, last: float32 [N], radii at both ends, pixels.
    """
    along = end - start
    x, y = X - per_pixel(start[:, 0]), Y - per_pixel(start[:, 1])
    dx, dy = per_pixel(along[:, 0]), per_pixel(along[:, 1])
    share = ((x * dx + y * dy) / (dx.square() + dy.square() + 1e-6)).clamp(0, 1)
    radius = torch.lerp(per_pixel(first), per_pixel(last), share)
    return radius.square() - (x - share * dx).square() - (y - share * dy).square()
