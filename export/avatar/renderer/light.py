"""Lamps and sky, and how surfaces answer them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .parameters import Parameter, Values, sample

TABLE = (
    Parameter("key_turn", -1.2, 1.2, 0.0, 0.6),
    Parameter("key_height", -0.1, 1.1, 0.55, 0.28),
    Parameter("key_strength", 0.6, 1.7, 1.15, 0.25),
    Parameter("key_warmth", -0.5, 1.0, 0.2, 0.35),
    Parameter("key_softness", 0.12, 0.6),
    Parameter("sky_strength", 0.3, 0.85, 0.55, 0.13),
    Parameter("sky_warmth", -1.0, 0.8, -0.2, 0.4),
    Parameter("ground_warmth", -0.3, 1.0, 0.3, 0.3),
    Parameter("rim_strength", 0.0, 1.2, 0.35, 0.35),
    Parameter("rim_side", -1, 1),
    Parameter("exposure", 0.85, 1.25, 1.02, 0.09),
)


def sample_light(seeds: Sequence[int]) -> Values:
    return sample(TABLE, seeds, "light")


def tint(warmth: Tensor) -> Tensor:
    """Linear RGB of a light, [B, 1, 3]: blue at -1, white at 0, orange at 1."""
    return torch.stack([1 + 0.16 * warmth, 1 + 0.0 * warmth, 1 - 0.28 * warmth], -1)


@dataclass(frozen=True)
class Surface:
    """What points look like before they are lit.

    Attributes:
        albedo: linear RGB [B, K, 3].
        normal: unit [B, K, 3].
        gloss: strength of the highlight [B, K].
        roughness: 0 mirror to 1 dull, [B, K].
        depth: how far light spreads under the surface, 0..1 [B, K].
        tangent: direction of strands [B, K, 3]; zero where there are none.
    """

    albedo: Tensor
    normal: Tensor
    gloss: Tensor
    roughness: Tensor
    depth: Tensor
    tangent: Tensor


@dataclass(frozen=True)
class Light:
    """Light of B images in their heads' frames.

    Attributes:
        values: of ``TABLE``.
        to_head: float32 [B, 3, 3], world to head; lamps stand still when the head turns.
    """

    values: Values
    to_head: Tensor

    def key(self) -> Tensor:
        """Unit direction to the key light, [B, 3]."""
        turn, height = self.values["key_turn"][:, 0], self.values["key_height"][:, 0]
        world = torch.stack([turn.sin() * height.cos(), height.sin(), turn.cos() * height.cos()], -1)
        return self._into_head(world)

    def shade(self, s: Surface, view: Tensor, open_: Tensor, lit: Tensor) -> Tensor:
        """Light that leaves towards the camera, linear RGB [B, K, 3].

        Args:
            view: unit directions to the camera [B, K, 3].
            open_, lit: shares of sky and key light that arrive, [B, K].
        """
        v = self.values
        key = self.key()[:, None]
        colour = v["key_strength"][..., None] * tint(v["key_warmth"])
        diffuse = colour * self._wrapped(s, (s.normal * key).sum(-1), lit)
        out = s.albedo * (diffuse + self._sky(s, open_))
        highlight = torch.where(s.tangent.abs().sum(-1) > 0, _strand(s, key, view), _lobe(s, key, view))
        out = out + colour * (highlight * lit * s.gloss)[..., None]
        return out + self._rim(s, view, open_)

    def _into_head(self, world: Tensor) -> Tensor:
        return (self.to_head @ world[..., None])[..., 0]

    def _wrapped(self, s: Surface, facing: Tensor, lit: Tensor) -> Tensor:
        """Lambert's cosine, which creeps around the terminator in skin: red farthest, blue least."""
        spread = s.depth[..., None] * torch.tensor([0.38, 0.16, 0.08], device=facing.device)
        wrapped = ((facing[..., None] + spread) / (1 + spread)).clamp(min=0) ** (1 + 0.5 * spread)
        # Penumbras redden for the same reason.
        return wrapped * lit[..., None] ** (1 - 1.1 * spread)

    def _sky(self, s: Surface, open_: Tensor) -> Tensor:
        up = self._into_head(torch.tensor([[0.0, 1.0, 0.25]], device=open_.device).expand(len(open_), -1))
        share = (0.5 + 0.5 * (s.normal * normalize(up, dim=-1)[:, None]).sum(-1))[..., None]
        v = self.values
        sky = v["sky_strength"][..., None] * tint(v["sky_warmth"])
        ground = 0.5 * v["sky_strength"][..., None] * tint(v["ground_warmth"])
        # Light that bounces inside a hollow takes the hollow's own colour.
        bounced = open_[..., None] ** (1 - 0.35 * s.albedo.clamp(0, 1))
        return bounced * (ground + (sky - ground) * share)

    def _rim(self, s: Surface, view: Tensor, open_: Tensor) -> Tensor:
        v = self.values
        side = self._into_head(
            torch.stack([v["rim_side"][:, 0] * 2, 0 * v["rim_side"][:, 0] + 0.6, 0 * v["rim_side"][:, 0] - 1.0], -1)
        )
        facing = (s.normal * normalize(side, dim=-1)[:, None]).sum(-1).clamp(min=0)
        edge = (1 - (s.normal * view).sum(-1).clamp(0, 1)) ** 2
        strength = v["rim_strength"] * facing * edge * open_ * (0.35 + 0.65 * s.gloss)
        return strength[..., None] * (0.25 + 0.75 * s.albedo)


def _lobe(s: Surface, key: Tensor, view: Tensor) -> Tensor:
    """Blinn's highlight with Schlick's Fresnel term."""
    half = normalize(key + view, dim=-1)
    power = 2 / (s.roughness**2 + 0.002)
    fresnel = 0.04 + 0.96 * (1 - (half * view).sum(-1).clamp(0, 1)) ** 5
    return (
        fresnel
        * (power + 8)
        / 8
        * (s.normal * half).sum(-1).clamp(min=0) ** power
        * (s.normal * key).sum(-1).clamp(0, 1) ** 0.5
    )


def _strand(s: Surface, key: Tensor, view: Tensor) -> Tensor:
    """Highlight of hair: a band across the strands (Kajiya and Kay 1989)."""
    half = normalize(key + view, dim=-1)
    along = (s.tangent * half).sum(-1)
    band = (1 - along * along).clamp(min=0).sqrt()
    return (0.6 * band**70 + 0.25 * band**12) * (0.2 + (s.normal * key).sum(-1)).clamp(0, 1)


def to_picture(linear: Tensor, exposure: Tensor) -> Tensor:
    """Linear light to display values 0..1: an exponential shoulder, then gamma 2.2.

    Args:
        linear: [B, 3, H, W].
        exposure: [B, 1].
    """
    return (1 - torch.exp(-1.15 * linear.clamp(min=0) * exposure[..., None, None])) ** (1 / 2.2)


def from_picture(display: Tensor, exposure: Tensor) -> Tensor:
    """The inverse of :func:`to_picture`."""
    return -torch.log1p(-(display.clamp(0, 0.995) ** 2.2)) / (1.15 * exposure[..., None, None])
