"""Colours: linear light, palettes of hair, cloth and irises."""

import torch
from torch import Tensor

from .parameters import Values


def linear(display: Tensor) -> Tensor:
    """Display values 0..1 to linear light, gamma 2.2."""
    return display**2.2


def as_bytes(images: Tensor) -> Tensor:
    """float32 0..1 to uint8, rounded."""
    return (images * 255).round().byte()


def mix(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Colours [B, K, 3]: a where share [B, K] is 0, b where it is 1."""
    return a + (b - a) * share[..., None]


def from_hue(hue: Tensor, saturation: Tensor, lightness: Tensor) -> Tensor:
    """Linear RGB [..., 3] of a hue 0..1 with the saturation and value of HSV."""
    offsets = torch.tensor([5.0, 3.0, 1.0], device=hue.device)
    k = (offsets + hue[..., None] * 6) % 6
    wave = torch.minimum(k, 4 - k).clamp(0, 1)
    return linear(lightness[..., None] * (1 - saturation[..., None] * wave))


def palette(colours: tuple[tuple[float, float, float], ...], at: Tensor) -> Tensor:
    """Linear RGB [B, 1, 3] between display colours, at 0..1 [B, 1]."""
    table = linear(torch.tensor(colours, device=at.device))
    position = at[:, 0].clamp(0, 1) * (len(colours) - 1)
    low = position.floor().long().clamp(max=len(colours) - 2)
    return torch.lerp(table[low], table[low + 1], (position - low)[:, None])[:, None]


def hair_colour(who: Values) -> Tensor:
    """Linear RGB [B, 1, 3]."""
    base = palette(
        ((0.84, 0.68, 0.42), (0.62, 0.44, 0.26), (0.40, 0.27, 0.17), (0.24, 0.16, 0.11), (0.12, 0.10, 0.09)),
        who["hair_darkness"],
    )
    red = who["hair_red"][..., None] * torch.tensor([0.35, -0.05, -0.3], device=base.device)
    grey = linear(torch.tensor([0.68, 0.67, 0.66], device=base.device))
    return torch.lerp(base * (1 + red), grey, who["hair_grey"][..., None])


def iris_colour(who: Values) -> Tensor:
    """Linear RGB [B, 1, 3]: browns where lightness is low, then green, grey, blue by hue."""
    brown = palette(((0.20, 0.11, 0.07), (0.42, 0.26, 0.13)), who["iris_hue"])
    light = palette(((0.42, 0.44, 0.24), (0.36, 0.50, 0.46), (0.45, 0.55, 0.62), (0.30, 0.46, 0.66)), who["iris_hue"])
    return torch.lerp(brown, light, ((who["iris_lightness"] - 0.35) * 5).clamp(0, 1)[..., None])
