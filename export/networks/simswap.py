"""SimSwap's generator in its four published variants (Chen et al., 2021, arXiv:2106.06340), and one with skips.

Module names follow the official checkpoints, so that they load strictly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trtswap.errors import InputError

BLOCK = 4  # pixels


@dataclass(frozen=True)
class Variant:
    """What tells the generators apart.

    Attributes:
        channels: of the stem and after each halving of the size.
        first_level: number in the names of the first halving and the last doubling (``down1`` and ``up1``).
        unit_range: True: takes 0..1 and ends in a tanh that is mapped to 0..1. False: takes and gives
            ImageNet-normalised colours, without bounds.
        skips: whether features are added to those of the same size on the way up.
    """

    channels: tuple[int, ...]
    first_level: int
    unit_range: bool
    skips: bool = False


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "224": Variant((64, 128, 256, 512), 1, unit_range=True),
        "512-beta": Variant((32, 64, 128, 256, 512), 0, unit_range=True),
        "fix": Variant((64, 128, 256, 512), 1, unit_range=False),
        "fix-deep": Variant((64, 128, 256, 512, 512), 1, unit_range=False),
        "skips": Variant((64, 128, 256, 512), 1, unit_range=True, skips=True),
        "skips-half": Variant((128, 256, 512), 2, unit_range=True, skips=True),
    }
)


class SimSwap(nn.Module):
    """Gives an aligned face the identity of a latent.

    Faces are float [N, 3, S, S] RGB, S a multiple of 16; latents float [N, latent] of unit length.
    Variants ``224`` and ``512-beta``: faces in 0..1 without mean and deviation, result in 0..1.
    Variants ``fix`` (256 pixels) and ``fix-deep`` (512 pixels): faces less the ImageNet mean (0.485, 0.456, 0.406)
    over the ImageNet deviation (0.229, 0.224, 0.225); the result is in the same colours, without bounds.
    Variant ``skips`` is not published: ``224`` which adds what it saw on the way down to what it draws on the way up,
    so that a small network need not learn to draw what it can keep. ``skips-half`` is the same without the finest
    level, for faces of half the size: its inner layers fit ``skips``, where training goes on from them.

    Args:
        variant: a key of ``VARIANTS``.
        latent: length of a latent.
        width: multiplies every channel count; 1 fits the official checkpoints.
        blocks: residual blocks between encoder and decoder; 9 fits the official checkpoints.

    Raises:
        InputError: there is no such variant.
    """

    def __init__(self, variant: str = "224", *, latent: int = 512, width: float = 1.0, blocks: int = 9) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise InputError(f"SimSwap variant {variant!r} is unknown; expected one of: {', '.join(VARIANTS)}")
        chosen = VARIANTS[variant]
        channels = [round(c * width) for c in chosen.channels]
        self.unit_range, self.skips = chosen.unit_range, chosen.skips
        self.first_layer = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(3, channels[0], 7), nn.BatchNorm2d(channels[0]), nn.ReLU()
        )
        levels = list(enumerate(pairwise(channels), start=chosen.first_level))
        self.downs = [f"down{level}" for level, _ in levels]
        self.ups = [f"up{level}" for level, _ in reversed(levels)]
        for level, (fine, coarse) in levels:
            self.add_module(f"down{level}", halve(fine, coarse))
        self.BottleNeck = nn.ModuleList(StyledBlock(channels[-1], latent) for _ in range(blocks))
        for level, (fine, coarse) in reversed(levels):
            self.add_module(f"up{level}", double(coarse, fine))
        self.last_layer = nn.Sequential(nn.ReflectionPad2d(3), ConvInBlocks(channels[0], 3, 7))

    def forward(self, faces: Tensor, latents: Tensor) -> Tensor:
        """Swapped faces [N, 3, S, S] in the range of the variant."""
        x: Tensor = self.first_layer(faces)
        seen = []
        for name in self.downs:
            seen.append(x)
            x = self.get_submodule(name)(x)
        for block in self.BottleNeck:
            x = block(x, latents)
        for name in self.ups:
            x = self.get_submodule(name)(x)
            x = x + seen.pop() if self.skips else x
        x = self.last_layer(x)
        return (x.tanh() + 1) / 2 if self.unit_range else x


def halve(inputs: int, outputs: int) -> nn.Sequential:
    """Strided convolution to half the size."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


def double(inputs: int, outputs: int) -> nn.Sequential:
    """Bilinear enlargement to twice the size, then a convolution."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class ConvInBlocks(nn.Conv2d):
    """A convolution without border to few channels, which makes blocks of BLOCK x BLOCK pixels at a time.

    Processors make 8 or 16 channels at once, whether there are as many or not. So each pixel of a block has channels of
    its own, whose kernels are the one kernel shifted by the pixel's place: the same products in the same sums, and
    zeros. Of SimSwap 224 this layer took 49 ms of one core with three channels, and takes 15 ms with 48.

    Height and width of the result must be multiples of BLOCK.
    """

    def forward(self, x: Tensor) -> Tensor:
        last = BLOCK - 1
        places = [(row, column) for row in range(BLOCK) for column in range(BLOCK)]
        shifted = [F.pad(self.weight, (column, last - column, row, last - row)) for row, column in places]
        bias = None if self.bias is None else self.bias.repeat_interleave(BLOCK**2)
        return F.pixel_shuffle(F.conv2d(x, torch.stack(shifted, 1).flatten(0, 1), bias, stride=BLOCK), BLOCK)


class StyledBlock(nn.Module):
    """Residual block whose features are normalised per image and channel, then scaled and shifted by the latent."""

    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        self.conv1 = normalised_conv(channels)
        self.style1 = Style(latent, channels)
        self.act1 = nn.ReLU()
        self.conv2 = normalised_conv(channels)
        self.style2 = Style(latent, channels)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        residual: Tensor = self.act1(self.style1(self.conv1(x), latents))
        residual = self.style2(self.conv2(residual), latents)
        return x + residual


def normalised_conv(channels: int) -> nn.Sequential:
    """3x3 convolution with reflected border; (x - mean) / sqrt(variance + 1e-8) per image and channel.

    The instance normalisation stays one operator, because its sums over squares are what overflows in half precision.
    """
    return nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels, eps=1e-8))


class Style(nn.Module):
    """Scale (added to one) and shift per channel, linear in the latent."""

    def __init__(self, latent: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.linear = nn.Linear(latent, 2 * channels)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        scale, shift = self.linear(latents)[:, :, None, None].split(self.channels, dim=1)
        styled: Tensor = x * (scale + 1) + shift
        return styled
