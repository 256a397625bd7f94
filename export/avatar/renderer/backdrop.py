"""What is behind the head: walls, rooms and gardens, out of focus."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .color import from_hue
from .noise import Noise
from .parameters import Parameter, Values, sample
from .primitives import ramp

TABLE = (
    Parameter("hue", 0, 1),
    Parameter("second_hue", 0, 1),
    Parameter("saturation", 0.0, 0.6),
    Parameter("lightness", 0.15, 0.95),
    Parameter("second_lightness", 0.1, 0.95),
    Parameter("contrast", 0.0, 1.0),
    Parameter("scale", 1.0, 6.0),
    Parameter("sharpness", 0.05, 0.9),
    Parameter("shelves", -1.0, 1.0),
    Parameter("bokeh", -1.0, 1.0),
    Parameter("seed_x", 0, 100),
    Parameter("seed_y", 0, 100),
)


def sample_backdrop(seeds: Sequence[int]) -> Values:
    return sample(TABLE, seeds, "backdrop")


def backdrop(values: Values, noise: Noise, x: Tensor, y: Tensor) -> Tensor:
    """Linear RGB [B, K, 3] at positions x, y [K], shares of the picture's height."""
    v = values
    px, py = x * v["scale"] + v["seed_x"], y * v["scale"] + v["seed_y"]
    flat = torch.zeros_like(px)
    fields = noise.octaves(torch.stack([px, py, flat + v["seed_x"] * 0.37], -1), 3)
    first = from_hue(v["hue"], v["saturation"], v["lightness"])
    second = from_hue(v["second_hue"], v["saturation"], v["second_lightness"])
    edge = 1.05 - v["sharpness"]
    share = v["contrast"] * ramp(fields[0], -edge, edge)
    colour = torch.lerp(first, second, share[..., None])
    # Upright and level bars: shelves, window frames, door posts.
    bars = torch.sin(px * 2.1 + v["seed_y"]) * torch.sin(py * 2.9 + v["seed_x"])
    colour = colour * (1 - 0.6 * v["shelves"].clamp(min=0) * ramp(bars, -0.08, 0.08))[..., None]
    spots = noise(torch.stack([px * 2.2, py * 2.2, flat + 3.3 + v["seed_y"]], -1))
    lamp = v["bokeh"].clamp(min=0) * ramp(spots[1], 0.5, 0.6)
    glow = torch.stack([1.0 + 0 * lamp, 0.8 + 0.2 * spots[2], 0.6 + 0.3 * spots[3]], -1)
    colour = colour + 0.8 * lamp[..., None] * glow
    return colour * (1.1 - 0.35 * y + 0.1 * fields[1])[..., None]
