"""What every surface but skin looks like, and the assembly of all of them."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .color import from_hue, hair_colour, iris_colour, linear, mix
from .field import Field, Material
from .hair import CROWN_BACK
from .light import Surface
from .march import packed, put, take
from .noise import Noise
from .primitives import Points, bump, points_of, ramp
from .skin import SkinPainter, skin_tone

MASKS = ("brow", "upper lip", "lower lip", "mouth")


@dataclass(frozen=True)
class Painted:
    """Attributes:
    surface: of K points.
    masks: coverage 0..1 of the names in ``MASKS``, [B, K] each.
    """

    surface: Surface
    masks: dict[str, Tensor]


# Points [B, K], normals [B, K, 3] and materials [B, K] to what they look like.
Brush = Callable[[Points, Tensor, Tensor], Painted]


@dataclass(frozen=True)
class Painter:
    """Paints the surfaces of B scenes."""

    field: Field
    noise: Noise

    def paint(self, p: Points, normal: Tensor, material: Tensor) -> Painted:
        """Surfaces of points [B, K] of the given materials, int64 [B, K]."""
        painted = _plain(normal * 0, normal, 0.1, 0.6)
        brushes: tuple[tuple[tuple[Material, ...], Brush], ...] = (
            ((Material.SKIN, Material.BODY, Material.EAR, Material.HAND), self._skin),
            ((Material.EYE,), self._eye),
            ((Material.TEETH, Material.TONGUE), self._mouth),
            ((Material.HAIR,), self._hair),
            ((Material.CLOTH, Material.HAT), self._textile),
            ((Material.GLASSES, Material.MICROPHONE, Material.EARRING, Material.NECKLACE), self._hard),
        )
        for materials, brush in brushes:
            mask = torch.isin(material, torch.tensor(materials, device=material.device))
            index = packed(mask)
            if index.shape[1]:
                some = points_of(take(p.stacked(), index))
                new = brush(some, take(normal, index), take(material, index))
                painted = _merged(painted, new, index, take(mask, index))
        return painted

    def _skin(self, p: Points, normal: Tensor, material: Tensor) -> Painted:
        paint = SkinPainter(self.field, self.noise).paint(p)
        normal = self._bumpy(p, normal, 5.5, 0.05)
        ear = (material == Material.EAR).float()
        face = (material == Material.SKIN).float()
        tone = skin_tone(self.field.skull.who) * (0.94 + 0.12 * self.noise(p.stacked() * 0.7)[3])[..., None]
        flush = torch.tensor([1.03, 0.86, 0.84], device=p.x.device)
        albedo = mix(tone, paint.albedo, face)
        albedo = mix(albedo, tone * flush, ear)
        masks = {k: v * face for k, v in paint.masks.items()}
        depth = torch.full_like(p.x, 0.9)
        return Painted(
            Surface(albedo, normal, paint.gloss * (0.5 + 0.5 * face), paint.roughness, depth, normal * 0), masks
        )

    def _eye(self, p: Points, normal: Tensor, material: Tensor) -> Painted:
        who = self.field.skull.who
        off, angle = self.field.eyes.gaze(p)
        size = who["iris_size"]
        o = self.field.eyes.opening(p)
        rays = self.noise(torch.stack([angle * 6, off * 2.0, p.x * 0 + who["texture_x"]], -1))
        iris = iris_colour(who) * (0.85 + 0.45 * rays[0] + 0.35 * bump(off - 0.32, 0.09))[..., None]
        iris = iris * (1 - 0.75 * ramp(off, size - 0.13, size))[..., None]
        veins = ramp(self.noise.octaves(p.stacked() * 3.0, 2)[1], 0.15, 0.8) * ramp(o.across.abs(), 0.5, 1.4)
        white = linear(torch.tensor([0.90, 0.87, 0.84], device=p.x.device)).expand_as(iris)
        white = white * (
            1
            - (0.25 * veins + 0.3 * ramp(o.across.abs(), 1.0, 1.5))[..., None]
            * torch.tensor([0.15, 0.7, 0.7], device=p.x.device)
        )
        albedo = mix(iris, white, ramp(off, size - 0.035, size + 0.035))
        albedo = mix(albedo, albedo * 0.015, 1 - ramp(off, 0.21, 0.27))
        # The lid and its lashes shade the ball's upper part.
        albedo = albedo * (0.35 + 0.65 * ramp(o.upper - o.up, -0.02, 0.3))[..., None]
        return _plain(albedo, normal, 1.2, 0.09)

    def _mouth(self, p: Points, normal: Tensor, material: Tensor) -> Painted:
        is_tongue = (material == Material.TONGUE).float()
        mouth = self.field.mouth
        _, height, drop = mouth.arch(p)
        _, z = mouth.middle()
        angle = torch.atan2(p.x / 2.75, (p.z - z + 3.3) / 2.85) * 4.6
        gap = bump((torch.remainder(angle, 0.82) - 0.41).abs() - 0.41, 0.045)
        ivory = linear(torch.tensor([0.95, 0.92, 0.84], device=p.x.device))
        gum = linear(torch.tensor([0.80, 0.45, 0.43], device=p.x.device))
        tooth = ivory * (1 - 0.45 * gap)[..., None]
        up = ramp(height, 0.22 + 0.1 * (gap - 0.5), 0.34) + ramp(-(height + drop), 0.6, 0.72)
        tooth = mix(tooth, gum.expand_as(tooth), up.clamp(0, 1))
        # Light falls off towards the back of the mouth.
        dark = 0.3 + 0.7 * ramp(p.z, z - 2.6, z - 0.5)
        tongue = (
            linear(torch.tensor([0.76, 0.42, 0.41], device=p.x.device))
            * (0.9 + 0.15 * self.noise(p.stacked() * 5)[0])[..., None]
        )
        albedo = mix(tooth, tongue * 0.8, is_tongue) * dark[..., None]
        painted = _plain(albedo, normal, 0.9, 0.25, depth=0.5)
        return Painted(painted.surface, painted.masks | {"mouth": torch.ones_like(p.x)})

    def _hair(self, p: Points, normal: Tensor, material: Tensor) -> Painted:
        hair, who = self.field.hair, self.field.skull.who
        across = hair.across(p) + 0.5 * self.noise(p.stacked() * 0.5)[1] * (0.2 + 0.7 * who["hair_curl"])
        offset = who["texture_y"]
        along = torch.stack([across * 1.0, p.y * 0.3 + offset, p.z * 0.25], -1)
        across_only = torch.tensor([1.0, 0.12, 0.12], device=p.x.device)
        strand = 0.6 * self.noise(along * (1 + 5.5 * across_only)) + 0.75 * self.noise(along * (1 + 13.0 * across_only))
        lock = self.noise(torch.stack([across * 1.7, p.y * 0.22 + offset, p.z * 0.2 + 9], -1))
        level = (1.0 + 0.6 * strand[0] + 0.4 * lock[1]).clamp(min=0.12)
        light = hair_colour(who) * level[..., None]
        light = light * (1 + 0.25 * lock[2][..., None] * torch.tensor([0.5, 0.1, -0.4], device=p.x.device))
        radial = torch.stack([p.x, torch.zeros_like(p.x), p.z - CROWN_BACK], -1)
        around = normalize(torch.stack([radial[..., 2], radial[..., 1], -radial[..., 0]], -1), dim=-1)
        tangent = normalize(
            torch.linalg.cross(normal, around) + 0.22 * (strand[2] + lock[3])[..., None] * normal, dim=-1
        )
        normal = normalize(normal + 0.55 * strand[3][..., None] * around + 0.3 * lock[0][..., None] * around, dim=-1)
        gloss = who["hair_shine"] * (0.3 + 0.45 * strand[1]).clamp(min=0.04) * 0.55
        painted = _plain(light, normal, gloss, 0.5, depth=0.35)
        return Painted(replace(painted.surface, tangent=tangent), painted.masks)

    def _textile(self, p: Points, normal: Tensor, material: Tensor) -> Painted:
        hat = (material == Material.HAT).float()
        c, w = self.field.body.clothes, self.field.props.wears
        stripe = c["cloth_stripes"].clamp(min=0) * ramp(torch.sin(p.y * c["cloth_scale"] * 2.5), -0.15, 0.15)
        cloth = from_hue(c["cloth_hue"], c["cloth_saturation"], c["cloth_lightness"])
        cloth = mix(cloth, 1 - cloth.sqrt(), 0.7 * stripe)
        felt = from_hue(w["hat_hue"], 0.75 * w["hat_lightness"], w["hat_lightness"])
        weave = 0.9 + 0.12 * self.noise(p.stacked() * 6)[0] + 0.1 * self.noise(p.stacked() * 0.6)[1]
        knit = 1 - 0.3 * w["beanie"] * hat * ramp(torch.sin(24 * torch.atan2(p.x, p.z) * 4), -0.3, 1)
        albedo = mix(cloth, felt.expand_as(cloth), hat) * (weave * knit)[..., None]
        return _plain(albedo, normal, 0.04, 0.85)

    def _hard(self, p: Points, normal: Tensor, material: Tensor) -> Painted:
        w = self.field.props.wears
        microphone = (material == Material.MICROPHONE).float()
        frame = from_hue(
            w["glasses_hue"], 0.6 + 0 * w["glasses_hue"], 0.08 + 0.5 * w["glasses_tint"].clamp(min=0)
        ).expand_as(normal)
        x, y = p.x - w["microphone_x"], p.y - w["microphone_y"]
        mesh = 0.06 + 0.3 * ramp(torch.sin(x * 9) * torch.sin(y * 9), -0.2, 0.5) * ramp(
            p.y, w["microphone_y"] - 1.6, w["microphone_y"] - 1.4
        )
        albedo = mix(frame, mesh[..., None].expand_as(normal), microphone)
        jewel = ((material == Material.EARRING) | (material == Material.NECKLACE)).float()
        metal = from_hue(w["metal_hue"], w["metal_warmth"], torch.full_like(w["metal_hue"], 0.85))
        albedo = mix(albedo, metal.expand_as(normal), jewel)
        return _plain(albedo, normal, 0.9, 0.22)

    def _bumpy(self, p: Points, normal: Tensor, frequency: float, height: float) -> Tensor:
        """Normals tilted by pores: three fields of the noise serve as the slope."""
        slope = self.noise(p.stacked() * frequency)[:3].movedim(0, -1) + 0.7 * self.noise(
            p.stacked() * frequency * 2.3
        )[:3].movedim(0, -1)
        return normalize(normal + height * slope, dim=-1)


def _plain(
    albedo: Tensor, normal: Tensor, gloss: Tensor | float, roughness: Tensor | float, depth: float = 0.0
) -> Painted:
    """A surface without strands and masks."""
    zero = torch.zeros_like(normal[..., 0])
    surface = Surface(albedo, normal, zero + gloss, zero + roughness, zero + depth, normal * 0)
    return Painted(surface, dict.fromkeys(MASKS, zero))


def _merged(painted: Painted, new: Painted, index: Tensor, mask: Tensor) -> Painted:
    """The painted surfaces with new ones at index [B, J] where mask [B, J] is set."""
    old = painted.surface
    names = [f.name for f in fields(Surface)]
    merged = {n: put(getattr(old, n), index, getattr(new.surface, n), mask) for n in names}
    masks = {n: put(v, index, new.masks[n], mask) for n, v in painted.masks.items()}
    return Painted(Surface(**merged), masks)
