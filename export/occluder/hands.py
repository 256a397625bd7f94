"""Drawn hands: a palm, four fingers, a thumb and an arm, of capsules."""

import math

import torch
from torch import Tensor

from .chance import Chance, capsule, per_pixel

LENGTHS = (0.78, 0.90, 0.84, 0.66)  # of the fingers, lengths of the palm
PALM = (26.0, 60.0)  # its length, pixels; a face is about 75 wide
FISTS, POINTING, TURNED, BENT = 0.5, 0.4, 0.35, 0.25  # shares of the hands, and of the fingers
CURLED, BEFORE_MOUTH = 0.6, 0.4  # shares of the fists: fingers folded back over the palm, held before mouth or chin
MOUTH, NEAR = (64.0, 86.0), 14.0  # its place in the crop, and how far from it such fists are, pixels
KNUCKLES, OPEN = 8, 0.3  # folds of a fist, and the share of the open hands that have some
NOWHERE = -1e3


class _Hand:
    """Where hands are, and how large: x to the little finger or the index, y to the fingertips, in palms."""

    def __init__(self, fist: Tensor, chance: Chance) -> None:
        self.palm = chance.between(*PALM)
        anywhere = torch.stack([chance.between(20, 108), chance.between(35, 125)], 1)
        near = torch.tensor(MOUTH) + NEAR * chance.normal(2)
        self._middle = torch.where((fist & chance.which(BEFORE_MOUTH))[:, None], near, anywhere)
        self._angle = chance.between(-math.pi, math.pi) * chance.which(TURNED) + chance.between(-1.0, 1.0)
        self._side = torch.where(chance.which(0.5), 1.0, -1.0)

    def at(self, x: Tensor | float, y: Tensor | float) -> Tensor:
        """A place of each hand in pixels, [N, 2]."""
        x, y = (torch.as_tensor(value) + torch.zeros_like(self.palm) for value in (x, y))
        x, c, s = x * self._side, self._angle.cos(), self._angle.sin()
        return self._middle + torch.stack([x * c + y * s, x * s - y * c], 1) * self.palm[:, None]

    def limb(
        self, start: Tensor, end: Tensor, first: Tensor | float, last: Tensor | float, *, high: float = 1.0
    ) -> Tensor:
        """A capsule with radii in palms, lifted towards the camera by ``high``."""
        return capsule(start, end, self.palm * first, self.palm * last) * high


def hands(chance: Chance) -> Tensor:
    """The parts of one hand for each picture: how far each pixel lies inside, float32 [N, P, S, S], above 0 inside."""
    fist = chance.which(FISTS)
    hand = _Hand(fist, chance)
    parts = [*_palm(hand, chance), *_fingers(hand, fist, chance), *_thumb(hand, fist, chance)]
    return torch.stack([*parts, *_knuckles(hand, fist | chance.which(OPEN), chance)], 1)


def _palm(hand: _Hand, chance: Chance) -> list[Tensor]:
    wide = chance.between(0.36, 0.46)
    rays = [
        hand.limb(hand.at(0.8 * x, -0.45), hand.at(x, 0.42), 0.62 * wide, 0.5 * wide, high=0.8)
        for x in (0.24 * (k - 1.5) for k in range(4))
    ]
    arm = chance.between(0.28, 0.4)
    return [*rays, hand.limb(hand.at(0.0, -0.5), hand.at(chance.between(-0.8, 0.8), -6.0), arm, 1.5 * arm, high=0.9)]


def _fingers(hand: _Hand, fist: Tensor, chance: Chance) -> list[Tensor]:
    """Two segments each; those that point at the camera, and those of fists, are short and high, or folded back."""
    parts, apart = list[Tensor](), chance.between(0.0, 0.22)
    pointing, curled = chance.which(POINTING), fist & chance.which(CURLED)
    for k, length in enumerate(LENGTHS):
        x, long = 0.27 * (k - 1.5), length * chance.between(0.9, 1.1)
        seen = torch.where(fist, chance.between(0.15, 0.5), chance.between(0.75, 1.05))
        seen = torch.where(pointing, 1.0, seen) if k == 0 else seen
        lean = (k - 1.5) * apart + chance.between(-0.1, 0.1)
        turn = torch.where(chance.which(BENT), chance.between(-1.6, 1.6), chance.between(-0.2, 0.2))
        knee = (x + lean * long * seen * 0.55, 0.42 + long * seen * 0.55)
        tip = (knee[0] + (lean + turn).sin() * long * seen * 0.45, knee[1] + turn.cos() * long * seen * 0.45)
        back = curled & ~pointing if k == 0 else curled
        tip = (
            torch.where(back, knee[0], tip[0]),
            torch.where(back, knee[1] - chance.between(0.3, 0.55) * long, tip[1]),
        )
        radius = chance.between(0.115, 0.15)
        first = hand.limb(hand.at(x, 0.42), hand.at(*knee), 1.08 * radius, radius)
        parts += [
            first * per_pixel(1 + 0.6 * (1 - seen)),
            hand.limb(hand.at(*knee), hand.at(*tip), radius, 0.8 * radius) * per_pixel(torch.where(back, 2.0, 1.0)),
        ]
    return parts


def _knuckles(hand: _Hand, folded: Tensor, chance: Chance) -> list[Tensor]:
    """Segments of curled fingers, balls and folds of the palm, all lying about one way."""
    parts, way = list[Tensor](), chance.between(0, math.pi)
    for _ in range(KNUCKLES):
        x, y = chance.between(-0.5, 0.5), chance.between(-0.45, 0.75)
        angle, half = way + chance.between(-0.5, 0.5), chance.between(0.0, 0.25)
        dx, dy, radius = angle.cos() * half, angle.sin() * half, chance.between(0.09, 0.22)
        part = hand.limb(hand.at(x - dx, y - dy), hand.at(x + dx, y + dy), radius, radius * chance.between(0.7, 1.0))
        parts.append(torch.where(per_pixel(folded), part * per_pixel(chance.between(1.0, 2.5)), NOWHERE))
    return parts


def _thumb(hand: _Hand, fist: Tensor, chance: Chance) -> list[Tensor]:
    """Beside the palm, or across the fingers of a fist."""
    across = fist & chance.which(CURLED)
    knee, radius = hand.at(-0.58, chance.between(-0.1, 0.2)), chance.between(0.13, 0.17)
    x = torch.where(across, chance.between(-0.2, 0.4), chance.between(-0.95, -0.3))
    tip = hand.at(x, torch.where(across, chance.between(0.1, 0.4), chance.between(-0.05, 0.55)))
    return [
        hand.limb(hand.at(-0.3, -0.4), knee, 1.5 * radius, 1.1 * radius),
        hand.limb(knee, tip, 1.1 * radius, 0.8 * radius) * per_pixel(torch.where(across, 2.5, 1.0)),
    ]
