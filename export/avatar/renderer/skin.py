"""Paint of the face: skin, brows, lashes, lips, beard, and which label each of them has."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .color import hair_colour, linear, mix
from .field import Field
from .noise import Noise
from .parameters import Values
from .primitives import Points, bump, length, ramp


class Paint(NamedTuple):
    """Attributes:
    albedo: linear RGB [B, K, 3].
    gloss, roughness: [B, K].
    masks: coverage 0..1 of "brow", "upper lip", "lower lip", "mouth", [B, K] each.
    """

    albedo: Tensor
    gloss: Tensor
    roughness: Tensor
    masks: dict[str, Tensor]


# Display colours from the lightest skin to the darkest.
TONES = ((0.95, 0.77, 0.69), (0.89, 0.68, 0.57), (0.76, 0.55, 0.42), (0.56, 0.38, 0.28), (0.36, 0.25, 0.19))


def skin_tone(who: Values) -> Tensor:
    """Linear RGB [B, 1, 3] of the identity's plain skin."""
    tones = linear(torch.tensor(TONES, device=who["melanin"].device))
    at = who["melanin"][:, 0] * (len(TONES) - 1)
    low = at.floor().long().clamp(max=len(TONES) - 2)
    base = torch.lerp(tones[low], tones[low + 1], (at - low)[:, None])
    warm = who["skin_warmth"] * torch.tensor([0.04, 0.0, -0.09], device=at.device)
    return (base * (1 + warm))[:, None]


@dataclass(frozen=True)
class SkinPainter:
    """Paints the skin of B heads."""

    field: Field
    noise: Noise

    def paint(self, p: Points) -> Paint:
        """The skin at points on the face or neck."""
        who = self.field.skull.who
        offset = torch.stack([who["texture_x"], who["texture_y"], torch.zeros_like(who["texture_x"])], -1)
        xyz = p.stacked() + offset
        coarse = self.noise.octaves(xyz * 0.45, 3)
        fine = self.noise.octaves(xyz * 4.0, 2)
        albedo = self._complexion(p, coarse, fine)
        albedo = self._spots(albedo, coarse, fine, xyz)
        albedo = self._folds(albedo, p)
        gloss = who["skin_gloss"] * (0.7 + 0.4 * fine[0]) * (0.55 + 0.6 * bump(p.x, 1.8))
        roughness = 0.42 + 0.06 * fine[1]
        albedo, hairy = self._facial_hair(albedo, p, xyz)
        masks, albedo, gloss, roughness = self._mouth(albedo, gloss * (1 - 0.7 * hairy), roughness, p, fine)
        albedo = self._lids(self._roots(albedo, p), p)
        brow = self._brow(p, xyz)
        albedo = mix(albedo, 0.7 * hair_colour(who), brow * who["brow_density"])
        return Paint(albedo, gloss * (1 - 0.7 * brow), roughness, masks | {"brow": brow})

    def _complexion(self, p: Points, coarse: Tensor, fine: Tensor) -> Tensor:
        """The tone, redder on cheeks, nose and chin, darker under the eyes, blotched everywhere."""
        who, nose, eyes = self.field.skull.who, self.field.nose, self.field.eyes
        m = p.mirrored()
        _, ty, tz = nose.tip()
        ex, ey, _ = eyes.centre()
        front = ramp(p.z, 2.0, 5.0)
        cheek = torch.exp(-(((m.x - 4.0) / 1.7) ** 2) - ((p.y + 3.4) / 1.5) ** 2)
        tip = torch.exp(-((p.x / 1.1) ** 2) - ((p.y - ty) / 1.0) ** 2) * ramp(p.z, tz - 1.5, tz)
        chin = torch.exp(-((p.x / 1.6) ** 2) - ((p.y + 9.9) / 1.1) ** 2)
        red = (
            who["skin_redness"] * (0.3 + front * (0.55 * cheek + 0.5 * tip + 0.25 * chin))
            + 0.4 * who["skin_blotches"] * coarse[0]
        )
        light = 1 + 0.10 * who["skin_blotches"] * coarse[1] + 0.05 * fine[2]
        hollow = torch.exp(-(((m.x - ex + 0.3) / 1.5) ** 2) - ((p.y - ey + 0.85) / 0.55) ** 2) * front
        light = light * (1 - 0.16 * hollow)
        flush = torch.stack([0.05 * red, -0.3 * red, -0.27 * red], -1)
        bruise = torch.stack([-0.05 * hollow, -0.08 * hollow, 0.0 * hollow], -1)
        return skin_tone(who) * light[..., None] * (1 + flush + bruise)

    def _spots(self, albedo: Tensor, coarse: Tensor, fine: Tensor, xyz: Tensor) -> Tensor:
        """Freckles and moles."""
        who = self.field.skull.who
        cells = self.noise(xyz * 2.6)
        freckle = ramp(cells[0] + 0.35 * fine[3], 0.45, 0.75) * who["freckles"].clamp(min=0)
        freckle = freckle * (0.5 + 0.5 * coarse[2]).clamp(0, 1)
        mole = ramp(self.noise(xyz * 0.8)[1], 0.90, 0.95) * who["moles"]
        brown = torch.tensor([0.62, 0.42, 0.32], device=albedo.device)
        return albedo * (1 - (0.6 * freckle + 0.75 * mole)[..., None] * (1 - brown))

    def _folds(self, albedo: Tensor, p: Points) -> Tensor:
        """Lines from the nose to the mouth's corners and across the forehead."""
        who, does = self.field.skull.who, self.field.skull.does
        m = p.mirrored()
        _, ty, _ = self.field.nose.tip()
        my, _ = self.field.mouth.middle()
        ax, ay = who["nose_width"] + 0.75, ty - 0.1
        bx, by = self.field.mouth.half_width() + 0.75, my - 0.3
        along = (((m.x - ax) * (bx - ax) + (p.y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2)).clamp(0, 1)
        off = length(m.x - ax - along * (bx - ax) - 0.5 * along * (1 - along), p.y - ay - along * (by - ay))
        depth = 0.12 + 0.3 * does["smile"].clamp(min=0) + 0.35 * who["wrinkles"]
        fold = depth * bump(off, 0.13 + 0.06 * along) * ramp(p.z, 4.0, 6.0)
        lines = (
            bump(torch.sin(3.6 * p.y + 0.35 * torch.sin(p.x * 1.1)) - 1, 0.12) * ramp(p.y, 3.0, 4.2) * bump(p.x, 2.8)
        )
        fold = fold + (0.1 * who["wrinkles"] + 0.25 * does["brow_raise"].clamp(min=0)) * lines * ramp(p.z, 6, 7.5)
        shade = torch.stack([0.32 * fold, 0.48 * fold, 0.5 * fold], -1)
        return albedo * (1 - shade)

    def _lids(self, albedo: Tensor, p: Points) -> Tensor:
        """Pink rims, lashes and the fold of the upper lid."""
        o = self.field.eyes.opening(p)
        inside = ramp(-o.across.abs(), -self.field.eyes.who["eye_width"] - 0.3, -self.field.eyes.who["eye_width"] + 0.1)
        front = ramp(p.z, 4.0, 5.0) * inside
        above = o.up - o.upper
        rim = bump(o.outside, 0.07) * front
        albedo = mix(albedo, albedo * torch.tensor([0.9, 0.6, 0.55], device=albedo.device), 0.7 * rim)
        lash = (
            bump(above - 0.03, 0.065) * front * ramp(o.across, -1.5, -0.6)
            + 0.35 * bump(o.lower - o.up - 0.02, 0.04) * front
        )
        does = self.field.eyes.does
        shut = torch.where(p.x > 0, does["lid_left"], does["lid_right"])
        crease = 0.22 * bump(above - 0.3, 0.06) * front * (1 - shut)
        albedo = albedo * (1 - crease[..., None])
        return mix(albedo, torch.full_like(albedo, 0.012), lash.clamp(0, 0.95))

    def _brow(self, p: Points, xyz: Tensor) -> Tensor:
        who, does = self.field.skull.who, self.field.skull.does
        start, end = 0.95 - 0.15 * does["frown"], who["eye_distance"] + 1.75
        s = (p.x.abs() - start) / (end - start)
        lift = (
            0.55 * does["brow_raise"] + does["brow_side"] * torch.sign(p.x) - 0.45 * does["frown"] * (1 - s).clamp(0, 1)
        )
        line = who["eye_height"] + who["brow_height"] - 0.15 + lift + who["brow_slope"] * (p.x.abs() - start)
        line = (
            line
            + who["brow_arch"] * torch.sin(3.1416 * s.clamp(0, 1) ** 1.4)
            - 0.5 * who["brow_arch"] * s.clamp(0, 1) ** 2
        )
        thick = who["brow_thickness"] * (1.05 - 0.75 * s.clamp(0, 1)) * ramp(s, -0.12, 0.12)
        strand = self.noise(
            torch.stack([p.x.abs() * 5.5 - (p.y - line) * 4.0, (p.y - line) * 1.5, 0 * p.x + who["texture_x"]], -1)
        )
        edge = (p.y - line).abs() + 0.09 * strand[0]
        cover = (
            ramp(-edge, -thick - 0.1, -thick * 0.5)
            * ramp(s, -0.08, 0.06)
            * ramp(-s, -1.04, -0.85)
            * ramp(p.z, 3.0, 4.5)
        )
        return (cover * (0.9 + 0.2 * strand[1])).clamp(0, 1)

    def _roots(self, albedo: Tensor, p: Points) -> Tensor:
        """Fine hair that thins out over the skin below the hairline, and the shaved scalp of the bald."""
        hair = self.field.hair
        above = hair.above_line(p)
        strand = self.noise(torch.stack([hair.across(p) * 6.5, p.y * 0.5, p.z * 0.4], -1))
        cover = ramp(above + 0.55 * strand[0], -0.9, 0.2) * torch.where(
            hair.exists(), 0.85, 0.18 * hair.who["hair_darkness"]
        )
        return mix(albedo, hair_colour(hair.who), cover * ramp(-p.z, -20.0, -3.0).clamp(min=0.7))

    def _mouth(
        self, albedo: Tensor, gloss: Tensor, roughness: Tensor, p: Points, fine: Tensor
    ) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
        mouth, who = self.field.mouth, self.field.skull.who
        o = mouth.outline(p.x)
        rise, fall = p.y - o.line, o.line - o.gap.clamp(min=0) - p.y
        front = ramp(p.z, o.front - 1.1, o.front - 0.6) * ramp(o.inside, -0.02, 0.06)
        split = ramp(rise + 0.5 * o.gap, -0.03, 0.03)
        upper = front * split * ramp(2.0 * o.upper - rise, -0.05, 0.06)
        lower = front * (1 - split) * ramp(2.0 * o.lower - fall, -0.05, 0.06)
        cavity = mouth.cavity(p, o)
        inner = ramp(-cavity, -0.2, -0.1) * ramp(o.front - 0.45 - p.z, 0.0, 0.2) * ramp(o.gap, 0.02, 0.1)
        rose = torch.tensor([1.0, 0.52, 0.50], device=albedo.device)
        red = 0.55 + 0.45 * who["lip_redness"]
        lip = albedo * torch.lerp(torch.ones_like(albedo), rose, red[..., None]) * (0.92 + 0.08 * fine[1])[..., None]
        cover = (upper + lower).clamp(0, 1)
        albedo = mix(albedo, lip, cover)
        seam = bump(rise + 0.5 * o.gap, 0.05) * front * ramp(-o.gap, -0.12, 0.0)
        albedo = albedo * (1 - 0.7 * seam[..., None])
        albedo = mix(albedo, torch.tensor([0.16, 0.035, 0.03], device=albedo.device).expand_as(albedo), inner)
        gloss = gloss + 0.35 * cover
        roughness = roughness - 0.12 * cover
        off = 1 - inner
        return {"upper lip": upper * off, "lower lip": lower * off, "mouth": inner}, albedo, gloss, roughness

    def _facial_hair(self, albedo: Tensor, p: Points, xyz: Tensor) -> tuple[Tensor, Tensor]:
        who, mouth = self.field.skull.who, self.field.mouth
        q = self.field.skull.jaw_frame(p)
        my, _ = mouth.middle()
        across = p.x.abs()
        reach = mouth.half_width() + 0.5
        top = my - 1.2 + 1.5 * ramp(across, 1.2, reach + 0.4) + 3.2 * ramp(across, reach + 0.3, 6.2)
        jaw = ramp(top - q.y, -0.25, 0.45) * ramp(q.y, -12.6, -11.4) * ramp(p.z, -0.3, 1.5)
        _, ty, _ = self.field.nose.tip()
        # The moustache's upper edge falls from the nose to beside the mouth's corners.
        share = (across / (reach + 0.3)).clamp(0, 1.2)
        lip = ramp(ty - 0.75 - 1.9 * share**2 - p.y, -0.15, 0.25) * ramp(p.y - my + 1.2 * share**2, 0.1, 0.45)
        lip = lip * ramp(1.1 - share, 0.0, 0.15) * ramp(p.z, 5, 6) * (0.75 + 0.25 * ramp(across, 0.0, 0.3))
        chop = (
            ramp(reach + 0.45 - across, -0.2, 0.3)
            * ramp(across - reach + 0.5, -0.2, 0.3)
            * ramp(my + 0.4 - p.y, -0.3, 0.4)
            * ramp(p.z, 5, 6)
        )
        strand = self.noise.octaves(torch.stack([xyz[..., 0] * 5.0, xyz[..., 1] * 1.3, xyz[..., 2] * 5.0], -1), 2)
        full = torch.maximum(jaw, chop * (q.y > -11.4)) * ramp(who["beard"], 0.15, 0.5)
        full = torch.maximum(full, lip * ramp(who["moustache"], 0.0, 0.4))
        shadow = torch.maximum(jaw, lip) * 0.4 * who["stubble"]
        cover = (full * (0.82 + 0.45 * strand[0])).clamp(0, 1)
        dots = (shadow * (0.75 + 0.5 * strand[1])).clamp(0, 1)
        colour = hair_colour(who) * (0.75 + 0.4 * strand[2])[..., None]
        albedo = mix(albedo, albedo * torch.tensor([0.45, 0.47, 0.52], device=albedo.device), dots)
        return mix(albedo, 0.8 * colour, cover * 0.95), cover
