"""What photographed faces have and rendered ones have not: folds, hard light, gloss, beards, cameras."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .chance import Chance, X, Y, capsule, per_pixel
from .network import SIZE

EYES = 55.0  # distance of the eyes' outer corners that widths of lines are meant for, pixels
WINGS, MOUTH, BROWS = (129, 358), (61, 291), (70, 300)
LIDS = ((133, 33), (362, 263))  # inner and outer corners


def folded(faces: Tensor, points: Tensor, chance: Chance) -> Tensor:
    """Faces [N, 3, S, S] with laugh lines, bags under the eyes, lines of the forehead, shadows of nose and lip."""
    places = points[..., :2]
    lines = [*_smiles(places, chance), *_bags(places, chance), *_foreheads(places, chance), *_shadows(places, chance)]
    return (faces * (1 - 0.9 * torch.stack(lines).amax(0)[:, None])).clamp(0, 1)


def _line(start: Tensor, end: Tensor, eyes: Tensor, width: Tensor, dark: Tensor) -> Tensor:
    none = torch.zeros_like(eyes)
    away = capsule(start, end, none, none)
    return torch.exp(away / per_pixel((width * eyes / EYES).square())) * per_pixel(dark)


def _eyes(places: Tensor) -> Tensor:
    return (places[:, 263] - places[:, 33]).norm(dim=1)


def _smiles(places: Tensor, chance: Chance) -> list[Tensor]:
    eyes, dark, width, lines = _eyes(places), chance.sometimes(0.6, 0.55), chance.between(0.8, 2.2), []
    for wing, corner in zip(WINGS, MOUTH, strict=True):
        out = F.normalize(places[:, corner] - places[:, 13], dim=1) * eyes[:, None]
        beside = places[:, corner] + out * chance.between(0.05, 0.16)[:, None]
        middle = (places[:, wing] + beside) / 2 + out * chance.between(0.03, 0.1)[:, None]
        below = beside + torch.stack([0 * eyes, eyes * chance.between(0.02, 0.2)], 1)
        for start, end in ((places[:, wing], middle), (middle, beside), (beside, below)):
            lines.append(_line(start, end, eyes, width, dark))
    return lines


def _bags(places: Tensor, chance: Chance) -> list[Tensor]:
    eyes, dark, width, lines = _eyes(places), chance.sometimes(0.5, 0.45), chance.between(0.7, 1.6), []
    for inner, outer in LIDS:
        down = torch.stack([0 * eyes, eyes * chance.between(0.1, 0.22)], 1)
        middle = (places[:, inner] + places[:, outer]) / 2 + 1.3 * down
        for start, end in ((places[:, inner] + 0.7 * down, middle), (middle, places[:, outer] + down)):
            lines.append(_line(start, end, eyes, width, dark))
    return lines


def _foreheads(places: Tensor, chance: Chance) -> list[Tensor]:
    eyes, dark, width, lines = _eyes(places), chance.sometimes(0.4, 0.45), chance.between(0.6, 1.5), []
    up = places[:, 10] - places[:, 9]
    for height in (0.35, 0.55, 0.75):
        middle = places[:, 9] + up * (height + 0.1)
        for brow in BROWS:
            end = places[:, brow] + up * height * chance.between(0.8, 1.1)[:, None]
            lines.append(_line(torch.lerp(end, middle, 0.25), middle, eyes, width, dark))
    return lines


def _shadows(places: Tensor, chance: Chance) -> list[Tensor]:
    eyes, below = _eyes(places), torch.lerp(places[:, 17], places[:, 199], 0.3)
    return [
        _line(places[:, 97], places[:, 326], eyes, chance.between(1.0, 4.0), chance.sometimes(0.5, 0.5)),
        _line(below - 3, below + 3, eyes, chance.between(1.5, 4.0), chance.sometimes(0.5, 0.4)),
    ]


def weathered(faces: Tensor, chance: Chance) -> Tensor:
    """Faces [N, 3, S, S] in light from one side, with blotches, scratches, stubble and gloss."""
    middle, angle = SIZE / 2, per_pixel(chance.between(0, 2 * math.pi))
    side = ((X - middle) * angle.cos() + (Y - middle) * angle.sin()) / 40
    light = per_pixel(chance.between(-0.7, 0.7)) * torch.tanh(side * per_pixel(chance.between(0.5, 3)))
    blotches = chance.clouds(1, 5) * chance.field(0, 0.25) + chance.clouds(1, 14) * chance.field(0, 0.12)
    x = faces * torch.exp(light[:, None] + blotches) * (1 + chance.clouds(3, 6) * chance.field(0, 0.06))
    x = x * (1 - _scratches(chance)[:, None] * chance.which(0.5)[:, None, None, None])
    stubble = ((Y - 70) / 20).clamp(0, 1) * per_pixel(chance.sometimes(0.3, 0.45))
    x = x * (1 - stubble[:, None] * (0.6 + 0.4 * chance.clouds(1, 64)).clamp(0, 1))
    from_it = (X - per_pixel(chance.between(30, 98))) ** 2 + (Y - per_pixel(chance.between(30, 98))) ** 2
    gloss = torch.exp(-from_it / per_pixel(chance.between(20, 160))) * per_pixel(chance.sometimes(0.5, 0.35))
    return (x + gloss[:, None]).clamp(0, 1)


def _scratches(chance: Chance) -> Tensor:
    none, lines = torch.zeros(chance.count), []
    for _ in range(5):
        middle = torch.stack([chance.between(30, 98), chance.between(30, 105)], 1)
        angle, half = chance.between(0, math.pi), chance.between(4, 16)
        along = torch.stack([angle.cos(), angle.sin()], 1) * half[:, None]
        away = capsule(middle - along, middle + along, none, none)
        lines.append(torch.exp(away / per_pixel(chance.between(0.5, 4))) * per_pixel(chance.between(0, 0.4)))
    return torch.stack(lines).amax(0)


def photographed(pictures: Tensor, chance: Chance) -> Tensor:
    """Pictures [N, 3, S, S] as cameras give them: exposure, white balance, blur or sharpening, few pixels, grain."""
    gamma = torch.exp(0.2 * chance.normal(1, 1, 1))
    gain = chance.colour(0.08)[..., None, None] * (1 + 0.12 * chance.normal(1, 1, 1))
    x = (pictures.clamp(1e-4, 1) ** gamma * gain).clamp(0, 1)
    x = torch.where(chance.which(0.08)[:, None, None, None], x.mean(1, keepdim=True), x)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.lerp(x, blurred, chance.field(-0.5, 0.7))
    share = float(torch.rand((), generator=chance.generator))
    if share < 0.3:  # all of a batch: one in three has few pixels
        small = F.interpolate(x, (int(SIZE * (0.35 + share)),) * 2, mode="bilinear", antialias=True)
        x = F.interpolate(small, (SIZE, SIZE), mode="bilinear")
    return (x + chance.normal(*x.shape[1:]) * chance.field(0, 0.15) ** 2).clamp(0, 1)
