"""Trains the face detector on avatars in front of all kinds of things.

    python -m export.avatar.detect DATA WEIGHTS [--seed 0] [--go-on]

YuNet's own losses are those of YOLOX; here a face belongs to the stride that its size suits, and to the cells around
its centre.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.export.networks.yunet import STRIDES, Level, YuNet

from . import data, narrow, training
from .crops import pictures, recoloured

BATCH, SIDE, FACES = 8, 320, 3
SMALLEST, LARGEST = 18.0, 300.0  # longer side of a face, pixels
# A face of s pixels is looked for at a stride of about s / 5; next to a limit, at both strides.
RANGES = ((0.0, 52.0), (40.0, 112.0), (90.0, 1e9))
RADIUS = 1.1  # cells around the centre, strides


class Collages:
    """Pictures with 0 to FACES avatars, and the truth about them."""

    def __init__(self, renders: data.Renders, generator: torch.Generator) -> None:
        self.images, self.labels = renders.images.flatten(0, 1), renders.labels.flatten(0, 1)
        self.boxes, self.landmarks = renders.boxes.flatten(0, 1), renders.landmarks.flatten(0, 1)
        self.generator = generator

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Picture float32 [3, SIDE, SIDE], boxes [F, 4], landmarks [F, 5, 2]."""
        picture = self._background()
        boxes, landmarks = torch.zeros(0, 4), torch.zeros(0, 5, 2)
        for _ in range(int(self.uniform(0, FACES + 0.99))):
            new = self._paste(picture, boxes)
            if new is not None:
                boxes, landmarks = torch.cat([boxes, new[0][None]]), torch.cat([landmarks, new[1][None]])
        if self.uniform(0, 1) < 0.5:
            picture = picture.flip(-1)
            boxes = torch.stack([SIDE - 1 - boxes[:, 2], boxes[:, 1], SIDE - 1 - boxes[:, 0], boxes[:, 3]], 1)
            landmarks = landmarks[:, [1, 0, 2, 4, 3]] * torch.tensor([-1.0, 1.0]) + torch.tensor([SIDE - 1.0, 0.0])
        return recoloured(picture[None], self.generator, 0.15)[0], boxes, landmarks

    def _background(self) -> Tensor:
        """Colours, noise, and pieces of renders that show no face."""
        g = self.generator
        cells = int(self.uniform(2, 40))
        noise = F.interpolate(torch.rand(1, 3, cells, cells, generator=g), (SIDE, SIDE), mode="bilinear")[0]
        picture = (
            torch.lerp(torch.rand(3, 1, 1, generator=g), noise, self.uniform(0.1, 1.0)).expand(3, SIDE, SIDE).clone()
        )
        for _ in range(int(self.uniform(0, 8))):
            self._clutter(picture)
        return picture

    def _clutter(self, picture: Tensor) -> None:
        """A turned or magnified piece of a render, too small a part of a head to be one."""
        i = int(self.uniform(0, len(self.images) - 0.01))
        image = pictures(self.images[i])
        side = int(self.uniform(16, 60))
        x, y = (int(self.uniform(0, image.shape[-1] - side)) for _ in range(2))
        piece = image[:, y : y + side, x : x + side].rot90(int(self.uniform(1, 3.99)), (1, 2))
        size = int(self.uniform(20, 160))
        piece = F.interpolate(piece[None], (size, size), mode="bilinear")[0]
        x, y = (int(self.uniform(0, SIDE - size)) for _ in range(2))
        picture[:, y : y + size, x : x + size] = piece

    def _paste(self, picture: Tensor, taken: Tensor) -> tuple[Tensor, Tensor] | None:
        """Put a head at a random place and size, unless it would cover another one's face."""
        i = int(self.uniform(0, len(self.images) - 0.01))
        face = float((self.boxes[i, 2:] - self.boxes[i, :2]).max())
        scale = SMALLEST / face * (LARGEST / SMALLEST) ** self.uniform(0, 1)
        size = max(16, round(self.images.shape[-1] * scale))
        scale = size / self.images.shape[-1]
        left, top = (int(self.uniform(-0.15 * size, SIDE - 0.85 * size)) for _ in range(2))
        box = ((self.boxes[i] + 0.5) * scale - 0.5) + torch.tensor([left, top, left, top])
        if _covers(box, taken) or _outside(box):
            return None
        image = F.interpolate(pictures(self.images[i])[None], (size, size), mode="bilinear", antialias=True)[0]
        alpha = (self.labels[i] > 0).float()[None, None]
        alpha = F.interpolate(alpha, (size, size), mode="bilinear", antialias=True)[0]
        if self.uniform(0, 1) < 0.4:
            alpha = torch.ones_like(alpha)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + size, SIDE), min(top + size, SIDE)
        inner = (slice(None), slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        where = (slice(None), slice(y0, y1), slice(x0, x1))
        picture[where] = torch.lerp(picture[where], image[inner], alpha[inner])
        return box, (self.landmarks[i] + 0.5) * scale - 0.5 + torch.tensor([left, top])


def _covers(box: Tensor, taken: Tensor) -> bool:
    low, high = torch.maximum(box[:2], taken[:, :2]), torch.minimum(box[2:], taken[:, 2:])
    return bool(((high - low).clamp(min=0).prod(1) > 0).any())


def _outside(box: Tensor) -> bool:
    """Whether more than a quarter of the box is beyond the picture."""
    low, high = box[:2].clamp(0, SIDE), box[2:].clamp(0, SIDE)
    return float((high - low).clamp(min=0).prod()) < 0.75 * float((box[2:] - box[:2]).prod())


def losses_of(levels: list[Level], boxes: list[Tensor], landmarks: list[Tensor]) -> dict[str, Tensor]:
    """YuNet's four losses over the cells of all strides."""
    total: dict[str, list[Tensor]] = {"cls": [], "obj": [], "bbox": [], "kps": []}
    count = 0
    for level, stride, (low, high) in zip(levels, STRIDES, RANGES, strict=True):
        n, _, h, w = level.cls.shape
        row, column = torch.meshgrid(torch.arange(h) * stride, torch.arange(w) * stride, indexing="ij")
        wanted, fit = torch.zeros(n, h, w), torch.zeros(n, h, w)
        for i in range(n):
            for box, points in zip(boxes[i], landmarks[i], strict=True):
                if not low <= float((box[2:] - box[:2]).max()) < high:
                    continue
                centre = (box[:2] + box[2:]) / 2
                near = ((column - centre[0]).abs() < RADIUS * stride) & ((row - centre[1]).abs() < RADIUS * stride)
                y, x = near.nonzero().unbind(1)
                found, at = level.bbox[i, :, y, x].T, torch.stack([x, y], 1).float()
                size = (box[2:] - box[:2]).clamp(min=1)
                overlap = _overlap(_decoded(found, at, stride), box)
                wanted[i, y, x], fit[i, y, x] = 1.0, overlap.detach().clamp(min=0)
                exact = torch.cat([(centre / stride - at), (size / stride).log().expand(len(at), 2)], 1)
                total["bbox"].append((1 - overlap).sum() + 0.2 * F.l1_loss(found, exact, reduction="sum"))
                true = (points.flatten() / stride - at.repeat(1, 5)) * (stride / size.mean())
                off = level.kps[i, :, y, x].T * (stride / size.mean())
                total["kps"].append(6 * F.smooth_l1_loss(off, true, beta=0.02, reduction="sum"))
                count += len(at)
        total["cls"].append(F.binary_cross_entropy_with_logits(level.cls[:, 0], wanted, reduction="sum"))
        total["obj"].append(F.binary_cross_entropy_with_logits(level.obj[:, 0], fit, reduction="sum"))
    return {k: torch.stack(v).sum() / max(1, count) for k, v in total.items() if v}


def _decoded(found: Tensor, at: Tensor, stride: int) -> Tensor:
    centre, size = (found[:, :2] + at) * stride, found[:, 2:].clamp(max=8).exp() * stride
    return torch.cat([centre - size / 2, centre + size / 2], 1)


def _overlap(boxes: Tensor, box: Tensor) -> Tensor:
    """Generalised intersection over union (Rezatofighi et al. 2019) of boxes [M, 4] with a box [4]: [M]."""
    inner = (torch.minimum(boxes[:, 2:], box[2:]) - torch.maximum(boxes[:, :2], box[:2])).clamp(min=0).prod(1)
    outer = (torch.maximum(boxes[:, 2:], box[2:]) - torch.minimum(boxes[:, :2], box[:2])).clamp(min=0).prod(1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod() - inner
    return inner / union - (outer - union) / outer


def doubtful(network: YuNet) -> None:
    """Most cells see no face: begin with that."""
    for level in (network.bbox_head.multi_level_cls, network.bbox_head.multi_level_obj):
        for branch in level:
            torch.nn.init.constant_(branch.conv2.bias, -4.0)


def main() -> None:
    options = training.parser(__doc__ or "", steps=3000).parse_args()
    generator = training.start(options)
    collages = Collages(data.load(options.data), generator)
    network = narrow.detector()
    doubtful(network)
    training.begin(network, options, "detect")

    def step(number: int) -> dict[str, Tensor]:
        made = [collages.draw() for _ in range(BATCH)]
        images = torch.stack([picture for picture, _, _ in made]).contiguous(memory_format=torch.channels_last)
        levels = network.levels(images.flip(1) * 255)
        return losses_of(levels, [m[1] for m in made], [m[2] for m in made])

    training.descend(step, {"detect": network}, folder=options.weights, steps=options.steps, rate=3e-3)


if __name__ == "__main__":
    main()
