"""Graphs without learned weights, for when there is no trained checkpoint: honest about what they do.

The `paste` pack pastes the source's own face, aligned and colour-matched; nothing is learned. The `identity` pack
changes nothing at all, so that whatever differs in its output is the runtime's doing.
"""

from collections.abc import Sequence
from functools import cache

import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trtswap.export.contract import UnitLength
from trtswap.faces.dense import in_crop
from trtswap.model.pack import shared_stages
from trtswap.pixels.geometry import TEMPLATES, similarity


class Thumbnail(nn.Module):
    """An "identity" that is the picture itself: `faces` [N, 3, 112, 112] -> `latents` [N, 3 side side].

    The crop is shrunk to ``side`` pixels (the same picture at 112), freed of each channel's mean and scaled to unit
    length, so the product of two latents is the correlation of the pictures.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.unit_length = UnitLength()

    def forward(self, faces: Tensor) -> Tensor:
        small = faces if self.side == faces.shape[-1] else F.interpolate(faces, (self.side, self.side), mode="area")
        centred = small - small.mean((2, 3), keepdim=True)
        latents: Tensor = self.unit_length(centred.flatten(1))
        return latents


class Paste(nn.Module):
    """`faces` [N, 3, S, S], `latents` of :class:`Thumbnail` -> `swapped` [N, 3, S, S].

    The source's details in the target's light: what is left of the enlarged thumbnail without its coarse shading, as
    strong as the target's own details within the face's oval, on top of the target's coarse shading.
    """

    CELLS = 7  # of the coarse shading, along each side: light and shadow, no features
    OUTSIDE = 0.05  # weight of the face's mean colour in a cell, which is what cells outside the oval get

    def __init__(self, side: int, size: int, template: str) -> None:
        super().__init__()
        self.side, self.size = side, size
        self.register_buffer("oval", face_oval(size, template), persistent=False)

    oval: Tensor

    def forward(self, faces: Tensor, latents: Tensor) -> Tensor:
        picture = latents.view(-1, 3, self.side, self.side)
        picture = F.interpolate(picture, (self.size, self.size), mode="bilinear", align_corners=False)
        details, shading = picture - self._shading(picture), self._shading(faces)
        gain = self._strength(faces - shading) / self._strength(details)
        return (shading + details * gain).clamp(0, 1)

    def _shading(self, x: Tensor) -> Tensor:
        """The face seen through very frosted glass, [N, 3, S, S]; what lies outside the oval has no say in it."""
        cell, weight = self.size // self.CELLS, self.oval / self.oval.max()
        mean = (x * self.oval).sum((2, 3), keepdim=True)
        inside = F.avg_pool2d(x * weight, cell) + self.OUTSIDE * mean
        coarse = inside / (F.avg_pool2d(weight[None, None], cell) + self.OUTSIDE)
        return F.interpolate(coarse, (self.size, self.size), mode="bilinear", align_corners=False)

    def _strength(self, details: Tensor) -> Tensor:
        """Root mean square in the oval, [N, 1, 1, 1]."""
        return ((details.square() * self.oval).sum((1, 2, 3), keepdim=True) / 3 + 1e-12).sqrt()


class FixedLabels(nn.Module):
    """`faces` [N, 3, P, P] -> `labels` uint8 [N, P, P]: where the parts of an aligned face are on average."""

    def __init__(self, size: int, template: str) -> None:
        super().__init__()
        # int32, because TensorRT takes uint8 only at the very end of a graph.
        self.register_buffer("labels", face_labels(size, template).to(torch.int32), persistent=False)

    labels: Tensor

    def forward(self, faces: Tensor) -> Tensor:
        return self.labels.expand(faces.shape[0], -1, -1).to(torch.uint8)


class Unchanged(nn.Module):
    """Gives `faces` back; further inputs are ignored."""

    def forward(self, faces: Tensor, latents: Tensor | None = None) -> Tensor:
        return faces.clone()


def face_oval(size: int, template: str) -> Tensor:
    """A soft oval over the face of an aligned crop: float32 [size, size], sums to 1."""
    distance = _FaceFrame(size, template).ellipse((0, 0.10), (0.85, 0.95))
    oval = torch.sigmoid((1 - distance) * 8)
    return oval / oval.sum()


def face_labels(size: int, template: str) -> Tensor:
    """Typical places of hair, skin, brows, eyes, nose, mouth and lips: uint8 [size, size], CelebAMask-HQ's classes."""
    face = _FaceFrame(size, template)
    labels = torch.zeros(size, size, dtype=torch.uint8)
    for label, centre, radii in _PARTS:
        labels[face.ellipse(centre, radii) <= 1] = label
    return labels


def drawn_faces(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Pictures of simple drawn faces that face detectors take for faces: two in each, of different sizes.

    Args:
        shape: [N, 3, H, W] with H, W >= 256.
        generator: of the noise; the same state gives the same pictures.

    Returns:
        float32 [N, 3, H, W], RGB, 0..1.
    """
    count, _, height, width = shape
    drawing = torch.tensor(_COLOURS)[face_labels(512, "ffhq_512").long()].permute(2, 0, 1)[None]
    images = torch.full((count, 3, height, width), _COLOURS[0][0])
    for i in range(count):
        for side, x, y in ((64 + 12 * i, 0, 0), (128 - 8 * i, width - 128, height - 128)):
            images[i, :, y : y + side, x : x + side] = F.interpolate(drawing, (side, side), mode="area")[0]
    return (images + 0.02 * torch.randn(*shape, generator=generator)).clamp(0, 1)


def drawn_crops(count: int, size: int, template: str, generator: torch.Generator) -> Tensor:
    """Aligned crops of drawn faces in uneven, coloured light: what a network of faces was made for, more or less.

    Args:
        count: N.
        size: side of a crop, pixels.
        template: name of the landmarks that it is aligned with.
        generator: of the light and the noise; the same state gives the same crops.

    Returns:
        float32 [N, 3, size, size], RGB, 0..1.
    """
    drawing = torch.tensor(_COLOURS)[face_labels(size, template).long()].permute(2, 0, 1).contiguous()
    light, tint = (torch.rand(count, c, 4, 4, generator=generator) for c in (1, 3))
    light = F.interpolate(0.3 + light + 0.3 * tint, (size, size), mode="bicubic", align_corners=False)
    return (drawing * light + 0.03 * torch.randn(count, 3, size, size, generator=generator)).clamp(0, 1)


def drawn_points(count: int, size: int, template: str) -> Tensor:
    """Points of drawn faces in aligned crops, as the graph measures them that comes with trtswap.

    Returns:
        float32 [N, 478, 3], pixels of the crop; the same for each row.
    """
    points = _measured()
    to_crop = similarity(TEMPLATES["mesh_192"].scaled(192)[None], TEMPLATES[template].scaled(size))
    return in_crop(points, to_crop).expand(count, -1, -1).clone()


@cache
def _measured() -> Tensor:
    """Points of one drawn face in pixels of a crop of 192."""
    spec = shared_stages()["landmarks"]
    faces = drawn_crops(1, spec.size, spec.templates[0], torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(spec.path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["points"], {"faces": faces.numpy()})[0])


# RGB of each of CelebAMask-HQ's classes in a drawn face.
_HAIR, _SKIN, _LIPS, _DARK, _GREY = (0.3, 0.2, 0.1), (0.9, 0.7, 0.6), (0.8, 0.3, 0.3), (0.1, 0.1, 0.2), (0.8, 0.8, 0.8)
_COLOURS = (
    *(_GREY, _SKIN, _HAIR, _HAIR, _DARK, _DARK, _DARK, _SKIN, _SKIN, _GREY),
    *((0.85, 0.6, 0.5), (0.5, 0.1, 0.1), _LIPS, _LIPS, _SKIN, _GREY, _GREY, _HAIR, _HAIR),
)

# label, centre, radii; in units of _FaceFrame, later ones over earlier ones.
_PARTS = (
    (17, (0, -0.45), (1.40, 1.45)),  # hair
    (14, (0, 1.45), (0.70, 0.85)),  # neck
    (1, (0, 0.05), (0.95, 1.12)),  # skin
    (3, (-0.52, -0.78), (0.36, 0.10)),  # right brow (of the person: image left)
    (2, (0.52, -0.78), (0.36, 0.10)),
    (5, (-0.50, -0.50), (0.24, 0.11)),  # right eye
    (4, (0.50, -0.50), (0.24, 0.11)),
    (10, (0, -0.05), (0.24, 0.42)),  # nose
    (12, (0, 0.44), (0.44, 0.13)),  # upper lip
    (13, (0, 0.57), (0.40, 0.16)),  # lower lip
    (11, (0, 0.50), (0.33, 0.07)),  # mouth
)


class _FaceFrame:
    """Coordinates of an aligned crop in which the eyes are at (-0.5, -0.5) and (0.5, -0.5), the mouth at (0, 0.5).

    x to the right in distances between the eyes, y down in distances from eyes to mouth.
    """

    def __init__(self, size: int, template: str) -> None:
        points = TEMPLATES[template].scaled(size)
        eyes, mouth = points[:2].mean(0), points[3:].mean(0)
        centre, axis = (eyes + mouth) / 2, torch.arange(size, dtype=torch.float32)
        self.x = ((axis - centre[0]) / (points[1, 0] - points[0, 0]))[None, :]
        self.y = ((axis - centre[1]) / (mouth[1] - eyes[1]))[:, None]

    def ellipse(self, centre: tuple[float, float], radii: tuple[float, float]) -> Tensor:
        """float32 [size, size]: 0 at the centre, 1 on the ellipse, growing outwards."""
        dx, dy = (self.x - centre[0]) / radii[0], (self.y - centre[1]) / radii[1]
        return (dx.square() + dy.square()).sqrt()
