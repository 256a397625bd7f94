"""GFPGANv1Clean: a U-Net that steers a StyleGAN2 decoder.

Wang et al., 2021, arXiv:2101.04061 (GFPGAN); Karras et al., 2019, arXiv:1912.04958 (StyleGAN2). Module names follow the
checkpoints GFPGAN 1.2 to 1.4, so that their ``params_ema`` load strictly.
"""

from collections.abc import Callable, Mapping, Sequence
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trtswap.errors import InputError

SLOPE = 0.2
DEMODULATION_EPS = 1e-8


class GFPGAN(nn.Module):
    """Restores an aligned face.

    Input: float [N, 3, S, S], RGB in -1..1, aligned with the FFHQ template, S = ``size``.
    Output: float [N, 3, S, S], RGB around -1..1 without bounds: clamp it.

    The defaults fit the official checkpoints (86,444,252 parameters, 699,024 noise values). The result is
    deterministic: the noise is the one stored in the checkpoint. ``toRGB`` and ``stylegan_decoder.style_mlp`` belong to
    the checkpoint and to training; inference does not run them.

    Args:
        size: side of the picture in pixels: a power of two from 8 to 1024.
        style: length of a style latent.
        mapping_layers: linear layers in StyleGAN2's (unused) mapping network.
        channel_multiplier: multiplies the channels of feature maps larger than 32 x 32.
        narrow: multiplies all channels.
        residual: the decoder draws a difference, which is added to the face; not so in the official checkpoints. A
            small network then need not learn to draw what is good already.

    Raises:
        InputError: ``size`` is none of the possible ones.
    """

    def __init__(
        self,
        size: int = 512,
        *,
        style: int = 512,
        mapping_layers: int = 8,
        channel_multiplier: int = 2,
        narrow: float = 1.0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        sizes = [2**k for k in range(3, 11)]
        if size not in sizes:
            raise InputError(f"GFPGAN size {size} is not possible; expected one of {sizes}")
        self.style, self.residual = style, residual
        sides = [side for side in sizes if side <= size]
        unet = {side: unet_channels(side, channel_multiplier, narrow) for side in [4, *sides]}
        decoder = {side: 2 * channels for side, channels in unet.items()}
        self.conv_body_first = nn.Conv2d(3, unet[size], 1)
        self.conv_body_down = nn.ModuleList(ResBlock(unet[s], unet[s // 2], halve) for s in reversed(sides))
        self.final_conv = nn.Conv2d(unet[4], unet[4], 3, padding=1)
        self.conv_body_up = nn.ModuleList(ResBlock(unet[s // 2], unet[s], double) for s in sides)
        self.toRGB = nn.ModuleList(nn.Conv2d(unet[s], 3, 1) for s in sides)
        self.final_linear = nn.Linear(unet[4] * 4 * 4, 2 * (len(sides) + 1) * style)
        self.stylegan_decoder = Decoder(decoder, style, mapping_layers)
        self.condition_scale = nn.ModuleList(condition(unet[s]) for s in sides)
        self.condition_shift = nn.ModuleList(condition(unet[s]) for s in sides)

    def forward(self, faces: Tensor) -> Tensor:
        """Restored faces [N, 3, S, S]."""
        x = leaky_relu(self.conv_body_first(faces))
        skips = []
        for down in self.conv_body_down:
            x = down(x)
            skips.append(x)
        x = leaky_relu(self.final_conv(x))
        styles = self.final_linear(x.flatten(1)).split(self.style, dim=1)
        conditions = []
        for up, skip, scale, shift in zip(
            self.conv_body_up, reversed(skips), self.condition_scale, self.condition_shift, strict=True
        ):
            x = up(x + skip)
            conditions.append((scale(x), shift(x)))
        restored: Tensor = self.stylegan_decoder(styles, conditions)
        return faces + restored if self.residual else restored


def unet_channels(side: int, multiplier: int, narrow: float) -> int:
    """Channels of a U-Net feature map: 256 up to 32 x 32, then inversely proportional to the side.

    The decoder has twice as many at each size.
    """
    return int(narrow * (256 if side <= 32 else multiplier * 8192 // side))


def leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


def halve(x: Tensor) -> Tensor:
    """Bilinear reduction to half the size: each result lies amid four pixels, so it is their mean."""
    return F.avg_pool2d(x, 2)


def double(x: Tensor) -> Tensor:
    """Bilinear enlargement to twice the size."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def condition(channels: int) -> nn.Sequential:
    """Scale or shift for half of the decoder's features of one size, from the U-Net's."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(SLOPE), nn.Conv2d(channels, channels, 3, padding=1)
    )


class ResBlock(nn.Module):
    """Residual block that resizes its input by ``resize`` (halve or double)."""

    def __init__(self, inputs: int, outputs: int, resize: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.resize = resize
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.resize(leaky_relu(self.conv1(x)))
        shortcut: Tensor = self.skip(self.resize(x))
        return leaky_relu(self.conv2(residual)) + shortcut


class Decoder(nn.Module):
    """StyleGAN2 generator; the second half of the channels of each size is scaled and shifted by the U-Net.

    Args:
        channels: of the feature maps by their side, from 4 up.
        style: length of a style latent.
        mapping_layers: linear layers in the unused mapping network.
    """

    def __init__(self, channels: Mapping[int, int], style: int, mapping_layers: int) -> None:
        super().__init__()
        # The styles come from the U-Net: the mapping network is never run. Its entry 0, a norm, has no weights.
        self.style_mlp = nn.Sequential(nn.Identity())
        for _ in range(mapping_layers):
            self.style_mlp.extend([nn.Linear(style, style), nn.LeakyReLU(SLOPE)])
        self.constant_input = ConstantInput(channels[4])
        self.style_conv1 = StyledConv(channels[4], channels[4], style)
        self.to_rgb1 = ToRgb(channels[4], style)
        grown = list(channels)[1:]
        self.halves = [channels[side] // 2 for side in grown]
        self.style_convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        self.noises = Noises([side for side in channels for _ in range(2)][1:])
        for side in grown:
            self.style_convs.append(StyledConv(channels[side // 2], channels[side], style, upsample=True))
            self.style_convs.append(StyledConv(channels[side], channels[side], style))
            self.to_rgbs.append(ToRgb(channels[side], style))

    def forward(self, styles: Sequence[Tensor], conditions: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Picture [N, 3, S, S] from styles (two per size, each [N, style]) and a scale and shift per size from 8 up."""
        noises = list(self.noises.buffers())
        x = self.style_conv1(self.constant_input.weight, styles[0], noises[0])
        rgb: Tensor = self.to_rgb1(x, styles[1])
        for i, (scale, shift) in enumerate(conditions):
            first = 2 * i + 1  # The RGB layer of one size and the first convolution of the next share a style.
            x = self.style_convs[2 * i](x, styles[first], noises[first])
            kept, steered = x.split(self.halves[i], dim=1)
            x = torch.cat([kept, steered * scale + shift], dim=1)
            x = self.style_convs[2 * i + 1](x, styles[first + 1], noises[first + 1])
            rgb = double(rgb) + self.to_rgbs[i](x, styles[first + 2])
        return rgb


class ConstantInput(nn.Module):
    """The learned 4x4 feature map that every picture starts from. It has batch size 1 and is broadcast."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, channels, 4, 4))


class Noises(nn.Module):
    """Stored noise pictures ``noise0``, ``noise1`` ... [1, 1, side, side], one per styled convolution."""

    def __init__(self, sides: Sequence[int]) -> None:
        super().__init__()
        for i, side in enumerate(sides):
            self.register_buffer(f"noise{i}", torch.randn(1, 1, side, side))


class ModulatedConv(nn.Module):
    """Convolution whose weights are scaled per image: by a style over the inputs, then to unit norm over the outputs.

    Scaling the weights by the style is the same as scaling the input channels, and bringing them to unit norm is the
    same as scaling the output channels by 1 / sqrt(sum of squared scaled weights); so the convolution itself keeps
    static weights, whatever the batch.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, style: int, *, demodulate: bool) -> None:
        super().__init__()
        self.demodulate = demodulate
        self.modulation = nn.Linear(style, inputs)
        nn.init.ones_(self.modulation.bias)
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel) / sqrt(inputs * kernel**2))

    def forward(self, x: Tensor, style: Tensor, upsample: bool = False) -> Tensor:
        scale = self.modulation(style)  # [N, inputs]
        x = x * scale[:, :, None, None]
        weight = self.weight[0]
        x = F.conv2d(double(x) if upsample else x, weight, padding=weight.shape[-1] // 2)
        if not self.demodulate:
            return x
        energy = (weight * weight).sum((2, 3)).t()  # [inputs, outputs], constant
        return x * torch.rsqrt((scale * scale) @ energy + DEMODULATION_EPS)[:, :, None, None]


class StyledConv(nn.Module):
    """Modulated 3x3 convolution times sqrt(2), plus weighted noise and bias, then a leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, style: int, *, upsample: bool = False) -> None:
        super().__init__()
        self.upsample = upsample
        self.modulated_conv = ModulatedConv(inputs, outputs, 3, style, demodulate=True)
        self.weight = nn.Parameter(torch.zeros(1))  # of the noise
        self.bias = nn.Parameter(torch.zeros(1, outputs, 1, 1))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        x = self.modulated_conv(x, style, self.upsample) * sqrt(2)
        return leaky_relu(x + self.weight * noise + self.bias)


class ToRgb(nn.Module):
    """Modulated 1x1 convolution to colours, without normalisation of the weights."""

    def __init__(self, inputs: int, style: int) -> None:
        super().__init__()
        self.modulated_conv = ModulatedConv(inputs, 3, 1, style, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        rgb: Tensor = self.modulated_conv(x, style)
        return rgb + self.bias
