"""The truth about a picture: label map, landmarks, box."""

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.canvas.parse import CLASSES

from .camera import Camera
from .field import Field, Material
from .primitives import Points, ramp

LABEL = {name: number for number, name in enumerate(CLASSES)}

# What hides the face (hand, microphone) is background, as in CelebAMask-HQ.
PLAIN = {
    Material.SKIN: "skin",
    Material.EAR: "left ear",
    Material.BODY: "neck",
    Material.EYE: "left eye",
    Material.TEETH: "mouth",
    Material.TONGUE: "mouth",
    Material.HAIR: "hair",
    Material.CLOTH: "cloth",
    Material.GLASSES: "glasses",
    Material.HAT: "hat",
    Material.HAND: "background",
    Material.MICROPHONE: "background",
    Material.EARRING: "earring",
    Material.NECKLACE: "necklace",
}


def labels(field: Field, p: Points, material: Tensor, masks: dict[str, Tensor]) -> Tensor:
    """Class of each point, int64 [B, K]. Left and right are the person's own."""
    table = torch.tensor([LABEL[PLAIN[m]] for m in Material], device=material.device)
    found = table[material]
    skin = material == Material.SKIN
    right = p.x < 0
    found = torch.where(skin & _on_nose(field, p), LABEL["nose"], found)
    for name in ("upper lip", "lower lip", "mouth"):
        found = torch.where(skin & (masks[name] > 0.5), LABEL[name], found)
    brow = torch.where(right, LABEL["right brow"], LABEL["left brow"])
    found = torch.where(skin & (masks["brow"] > 0.4), brow, found)
    found = torch.where((material == Material.EYE) & right, LABEL["right eye"], found)
    return torch.where((material == Material.EAR) & right, LABEL["right ear"], found)


def _on_nose(field: Field, p: Points) -> Tensor:
    """bool [B, K]: a kite from between the eyes to the wings."""
    who = field.skull.who
    _, ty, tz = field.nose.tip()
    down = ((0.4 + who["eye_height"] - p.y) / (0.4 + who["eye_height"] - ty + 0.5)).clamp(0, 1)
    half = 0.75 + (who["nose_width"] * 0.55 + 0.3) * ramp(down, 0.3, 0.95)
    low = ty - 1.0 - 0.1 * p.x.abs()
    return (p.x.abs() < half) & (p.y < 0.4 + who["eye_height"]) & (p.y > low) & (p.z > tz - 3.2)


def downsample(found: Tensor, samples: int) -> Tensor:
    """The most frequent class of each pixel's samples: [B, H * samples, W * samples] to uint8 [B, H, W]."""
    votes = F.one_hot(found, len(CLASSES)).movedim(-1, 1).float()
    return F.avg_pool2d(votes, samples).argmax(1).to(torch.uint8)


def landmark_points(field: Field) -> Tensor:
    """Right eye, left eye, nose, right and left mouth corner in the head's frame: [B, 5, 3]."""
    x, y, z = field.eyes.landmarks()
    points = [(-x, y, z), (x, y, z), field.nose.landmark(), field.mouth.corner(-1.0), field.mouth.corner(1.0)]
    return torch.stack([torch.cat(point, -1) for point in points], 1)


def boxes(field: Field, camera: Camera) -> Tensor:
    """Boxes about the faces, hairline to chin and cheek to cheek, xyxy pixels [B, 4].

    What hides a part of the face does not change its box.
    """
    who, skull = field.skull.who, field.skull
    zero = torch.zeros_like(who["age"])
    wide = who["face_width"]
    cx, cy, cz = skull.chin()
    rim = [
        (zero, zero + 6.3, zero + 8.0),
        skull.out_of_jaw_frame(cx, cy - 1.5, cz),
        *((side * (wide + 0.55), zero + y, zero + z) for side in (-1, 1) for y, z in ((1.5, 2.5), (-2.0, 3.0))),
        *((zero + side * 4.8, zero + 4.8, zero + 6.5) for side in (-1, 1)),
        *(skull.out_of_jaw_frame(side * (who["jaw_width"] - 0.1), zero - 7.6, zero + 3.0) for side in (-1, 1)),
        field.nose.landmark(),
    ]
    pixels = camera.project(torch.stack([torch.cat([zero + v for v in point], -1) for point in rim], 1))
    return torch.cat([pixels.amin(1), pixels.amax(1)], -1)
