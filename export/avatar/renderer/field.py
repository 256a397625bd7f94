"""Everything in a scene as one signed distance field with materials."""

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from .body import Body
from .eyes import Eyes
from .hair import Hair
from .mouth import Mouth
from .nose import Nose
from .primitives import Points, join
from .props import Props
from .skull import Skull, ears


class Material(IntEnum):
    """What a surface is made of, in the order of :meth:`Field.parts`."""

    SKIN = 0
    EAR = 1
    BODY = 2
    EYE = 3
    TEETH = 4
    TONGUE = 5
    HAIR = 6
    CLOTH = 7
    GLASSES = 8
    HAT = 9
    HAND = 10
    MICROPHONE = 11
    EARRING = 12
    NECKLACE = 13


@dataclass(frozen=True)
class Field:
    """Signed distances of B scenes in their heads' frames."""

    skull: Skull
    nose: Nose
    eyes: Eyes
    mouth: Mouth
    hair: Hair
    body: Body
    props: Props

    def parts(self, p: Points) -> Tensor:
        """Distance to each material: float32 [14, B, K]; absent ones are far away."""
        cranium = self.skull.cranium(p)
        face = self.skull.distance(p, cranium)
        face = self.mouth.join_to(self.eyes.join_to(self.nose.join_to(face, p), p), p)
        body = self.body.frame(p)
        bare = self.body.skin(p, body)
        far = torch.full_like(face, 1e3)
        wears = self.props.any
        hatted = wears("beanie", "cap")
        fillet = join(face, bare, 1.2)
        return torch.stack([
            torch.where(face < bare, fillet, far),
            ears(self.skull.who, p),
            torch.where(face < bare, far, fillet),
            self.eyes.ball(p),
            self.mouth.teeth(p),
            self.mouth.tongue(p),
            self.hair.distance(p, cranium, self.props.hat_rim(p) if hatted else None),
            self.body.cloth(bare, body),
            self.props.glasses(p) if wears("glasses") else far,
            self.props.hat(p, cranium) if hatted else far,
            self.props.hand(p) if wears("hand") else far,
            self.props.microphone(p) if wears("microphone") else far,
            self.props.earrings(p) if wears("earrings") else far,
            self.props.necklace(bare, body) if wears("necklace") else far,
        ])  # fmt: skip

    def distance(self, p: Points) -> Tensor:
        """Distance to the nearest surface, [B, K]."""
        return self.parts(p).amin(0)
