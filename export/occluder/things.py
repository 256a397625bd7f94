"""What is drawn in front of faces: hands, and things of no particular kind, lit and coloured."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .chance import Chance, X, Y, per_pixel
from .hands import hands
from .skin import weathered

HANDS, SKIN, OWN = 0.7, 0.92, 0.6  # shares: of hands, of those with skin, of these with the face's own colour
WEATHERED = 0.6  # of both
SKIN_TONE = (0.85, 0.65, 0.55)
CREASE = 8.0  # how softly parts of a hand run into each other, square pixels


def covered(faces: Tensor, oval: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """Faces with something in front.

    Args:
        faces: float32 [N, 3, S, S], RGB 0..1.
        oval: float32 [N, 1, S, S], 1 inside the face's outline.
        chance: draws for N pictures.

    Returns:
        The same with a hand or a thing, and how much of each pixel is hidden: float32 [N, 1, S, S].
    """
    hand, parts, thing = chance.which(HANDS), hands(chance), things(chance)
    inside = torch.where(per_pixel(hand), parts.amax(1), thing)
    joined = torch.logsumexp(parts / CREASE, 1) * CREASE
    height = torch.where(per_pixel(hand), torch.maximum(joined * 0.5 + parts.amax(1) * 0.5, torch.zeros(())), thing)
    shade = _shaded(height, chance)
    shade = torch.where(per_pixel(hand), shade * _creases(parts, chance), shade)
    picture = (_painted(faces, oval, hand, chance) * shade[:, None]).clamp(0, 1)
    picture = torch.where(chance.which(WEATHERED)[:, None, None, None], weathered(picture, chance), picture)
    alpha = _soft(inside, chance)
    return _shadowed(faces, alpha, chance) * (1 - alpha) + picture * alpha, alpha


def things(chance: Chance) -> Tensor:
    """Ellipses, boxes, bars that begin somewhere, and blobs: how far each pixel lies inside, [N, S, S]."""
    kind = torch.randint(0, 4, (chance.count,), generator=chance.generator)
    x, y = X - per_pixel(chance.between(25, 103)), Y - per_pixel(chance.between(40, 118))
    angle = per_pixel(chance.between(0, math.pi))
    u, v = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    wide, high, thin = (per_pixel(chance.between(*of)) for of in ((6, 28), (6, 28), (3, 14)))
    clouds = chance.clouds(1, 5)[:, 0] + 0.5 * chance.clouds(1, 11)[:, 0]
    kinds = (
        (1 - (u / wide) ** 2 - (v / high) ** 2) * 80,
        torch.minimum(wide - u.abs(), high - v.abs()) * 6,
        torch.minimum(thin - v.abs(), u + per_pixel(chance.between(0, 20))) * 6,
        (clouds - 0.9) * 60 - (x.square() + y.square()) / 60,
    )
    return torch.stack(kinds, 1)[torch.arange(chance.count), kind]


def _slopes(height: Tensor) -> tuple[Tensor, Tensor]:
    """Along x and y, [N, S, S]; 0 at the last pixel."""
    return F.pad(height[:, :, 1:] - height[:, :, :-1], (0, 1)), F.pad(height[:, 1:] - height[:, :-1], (0, 0, 0, 1))


def _shaded(height: Tensor, chance: Chance) -> Tensor:
    """Light from one side, and from everywhere: [N, S, S]."""
    surface = height.clamp(min=0).add(0.5).sqrt() * per_pixel(chance.between(0.4, 1.2))
    along_x, along_y = _slopes(surface)
    x, y = per_pixel(chance.between(-0.8, 0.8)), per_pixel(chance.between(-1.0, 0.4))
    towards = (1 - x * along_x - y * along_y) / ((1 + along_x**2 + along_y**2) * (1 + x**2 + y**2)).sqrt()
    everywhere = per_pixel(chance.between(0.3, 0.8))
    return everywhere + (1 - everywhere) * towards.clamp(0, 1.6)


def _creases(parts: Tensor, chance: Chance) -> Tensor:
    """Darker where two parts of a hand meet."""
    first, second = parts.topk(2, 1).values.unbind(1)
    near = torch.exp(-(first - second) / per_pixel(chance.between(2, 25))) * (first > 0)
    return 1 - per_pixel(chance.between(0, 0.75)) * near


def _painted(faces: Tensor, oval: Tensor, hand: Tensor, chance: Chance) -> Tensor:
    """Colours and texture [N, 3, S, S]: of skin where it is a hand, of the face's own where that hides it best."""
    tone = (faces * oval).sum((2, 3)) / oval.sum((2, 3)).clamp(min=1)
    own = tone * (1 + 0.15 * chance.normal(1)) * chance.colour(0.06)
    another = torch.tensor(SKIN_TONE) * chance.between(0.25, 1.15)[:, None] * chance.colour(0.08)
    skin = torch.where(chance.which(OWN)[:, None], own, another)
    paint = torch.rand(chance.count, 3, generator=chance.generator) ** 1.5
    colour = torch.where((hand & chance.which(SKIN))[:, None], skin, paint)[..., None, None]
    texture = 1 + chance.clouds(1, 40) * chance.field(0, 0.08) + chance.clouds(1, 8) * chance.field(0, 0.12)
    wave = torch.sin(X * per_pixel(chance.between(-0.7, 0.7)) + Y * per_pixel(chance.between(-0.7, 0.7)))[:, None]
    stripes = torch.sign(wave) * chance.field(0, 0.4) * (chance.which(0.3) & ~hand)[:, None, None, None]
    blood = torch.tensor([0.10, -0.05, -0.03])[None, :, None, None] * chance.clouds(1, 7)
    return colour * (texture + 0.03 * chance.clouds(3, 6)) * (1 + stripes) * (1 + blood * hand[:, None, None, None])


def _soft(inside: Tensor, chance: Chance) -> Tensor:
    """An edge of one pixel or two: [N, 1, S, S]."""
    along_x, along_y = _slopes(inside)
    distance = inside / ((along_x**2 + along_y**2).sqrt() + 1e-3)
    return (distance / per_pixel(chance.between(0.5, 1.6)) + 0.5).clamp(0, 1)[:, None]


def _shadowed(faces: Tensor, alpha: Tensor, chance: Chance) -> Tensor:
    """Faces in the soft shadow of what is in front."""
    x, y = (int(torch.randint(-6, 9, (), generator=chance.generator)) for _ in range(2))
    shadow = F.avg_pool2d(F.avg_pool2d(alpha.roll((y, x), (2, 3)), 7, 1, 3), 9, 1, 4)
    return faces * (1 - shadow * chance.sometimes(0.6, 0.5)[:, None, None, None])
