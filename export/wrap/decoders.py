"""How published detectors say where faces are, as modules that turn it into the pack contract.

A detector gives some numbers for each cell of the picture; put side by side, [B, cells, C], a decoder makes of them a
score and a box with five points for each cell: pixels of the detector's input. What is chosen of these is one thing for
all: :class:`FoundFaces`. Coordinates are the numbers of the published decoders, where a cell's own position is (column,
row) * stride.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trtswap.export.detect import BestFaces, all_in_range, best_cells

STRIDES = (8, 16, 32)
CANDIDATES = 256
NMS_THRESHOLD = 0.4
"""InsightFace's and FaceFusion's."""

# Scales of what RetinaFace says of places and sizes (biubug6/Pytorch_Retinaface, data/config.py).
_RETINA_SCALES = (0.1, 0.2)


@dataclass(frozen=True)
class Decoder:
    """How a detector's outputs are read.

    Attributes:
        columns: what its outputs are, in their order: so many numbers a cell each.
        levels: outputs of each kind, one for each stride; or one with all cells.
        anchors: boxes of each cell.
        decode: (images [B, 3, H, W], numbers [B, cells, C]) -> scores [B, cells], faces [B, cells, 14]: x, y, width,
            height, five points.
        transposed: the outputs are [B, C, cells].
    """

    columns: tuple[int, ...]
    levels: int
    anchors: int
    decode: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    transposed: bool = False


class FoundFaces(nn.Module):
    """What a detector says of each cell -> what a pack's detect graph gives.

    Args:
        decoder: reads the outputs.
        threshold: lowest score of a face.
        max_faces: rows of the outputs.
    """

    def __init__(self, decoder: Decoder, *, threshold: float, max_faces: int) -> None:
        super().__init__()
        self.decoder, self.threshold = decoder, threshold
        self.choice = BestFaces(candidates=CANDIDATES, max_faces=max_faces, nms_threshold=NMS_THRESHOLD)

    def forward(self, images: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As :meth:`trtswap.export.detect.DetectGraph.forward`, of a detector's numbers; of images the size counts."""
        scores, faces = self.decoder.decode(images, numbers)
        # A small image may have fewer cells than there are candidates.
        scores = F.pad(torch.where(scores > self.threshold, scores, 0.0), (0, CANDIDATES))
        faces = F.pad(faces, (0, 0, 0, CANDIDATES))
        scores, index = best_cells(scores, CANDIDATES)
        faces = faces.gather(1, index[..., None].expand(-1, -1, faces.shape[2]))
        valid = (scores > 0).float() * all_in_range(faces)
        found: tuple[Tensor, Tensor, Tensor] = self.choice(torch.cat([faces, scores[..., None]], 2), valid)
        return found


@dataclass(frozen=True)
class _Grid:
    """Where the cells are, level by level, row by row, each as often as it has anchors.

    Attributes:
        position: column and row, float32 [cells, 2].
        stride: pixels, float32 [cells, 1].
        anchor: which of a cell's, float32 [cells, 1].
    """

    position: Tensor
    stride: Tensor
    anchor: Tensor


def _grid(images: Tensor, count: int, anchors: int) -> _Grid:
    """The cells of a picture. From their numbers alone: their count is not said to follow from the picture's size."""
    number = torch.arange(count, dtype=torch.float32, device=images.device)
    height, width = images.shape[2:]
    of_fine, of_middle = ((height // s) * (width // s) * anchors for s in STRIDES[:2])
    fine, middle = number < of_fine, number < of_fine + of_middle
    stride = torch.where(fine, 8.0, torch.where(middle, 16.0, 32.0))
    before = torch.where(fine, 0, torch.where(middle, of_fine, of_fine + of_middle))
    cell = torch.floor((number - before + 0.5) / anchors)
    columns = width / stride
    row = torch.floor((cell + 0.5) / columns)
    anchor = number - before - cell * anchors
    return _Grid(torch.stack([cell - row * columns, row], 1), stride[:, None], anchor[:, None])


def _scrfd(images: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Score; distances of the four sides and of five points from each cell, in strides."""
    grid = _grid(images, numbers.shape[1], 2)
    place = grid.position * grid.stride
    sides, points = numbers[..., 1:5] * grid.stride, numbers[..., 5:] * grid.stride
    faces = [place - sides[..., :2], sides[..., :2] + sides[..., 2:], points + place.repeat(1, 5)]
    return numbers[..., 0], torch.cat(faces, 2)


def _yunet(images: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Class and object, whose product's root is the score; centre and logarithm of the size, and points, in strides."""
    grid = _grid(images, numbers.shape[1], 1)
    size = numbers[..., 4:6].exp() * grid.stride
    corner = (numbers[..., 2:4] + grid.position) * grid.stride - size / 2
    points = (numbers[..., 6:] + grid.position.repeat(1, 5)) * grid.stride
    return (numbers[..., 0] * numbers[..., 1]).sqrt(), torch.cat([corner, size, points], 2)


def _retinaface(images: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Box, two classes, of which the second is a face, and points: in tenths of a box that each anchor starts from.

    These have sides of 16 and 32 pixels at stride 8, 64 and 128 at 16, 256 and 512 at 32: stride^2 / 4, and twice.
    """
    grid, (near, large) = _grid(images, numbers.shape[1], 2), _RETINA_SCALES
    side = grid.stride.square() / 4 * (1 + grid.anchor)
    start = (grid.position + 0.5) * grid.stride
    size = side * (numbers[..., 2:4] * large).exp()
    corner = start + numbers[..., :2] * near * side - size / 2
    points = numbers[..., 6:] * near * side + start.repeat(1, 5)
    return numbers[..., 5], torch.cat([corner, size, points], 2)


def _yolo_face(images: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Centre, size, score, and five points with a confidence each, in pixels."""
    del images
    points = numbers[..., 5:].view(*numbers.shape[:2], 5, 3)[..., :2].flatten(2)
    corner = numbers[..., :2] - numbers[..., 2:4] / 2
    return numbers[..., 4], torch.cat([corner, numbers[..., 2:4], points], 2)


DECODER_OF: Mapping[str, Decoder] = MappingProxyType(
    {
        "scrfd": Decoder((1, 4, 10), 3, 2, _scrfd),
        "yunet": Decoder((1, 1, 4, 10), 3, 1, _yunet),
        "retinaface": Decoder((4, 2, 10), 1, 2, _retinaface),
        "yolo_face": Decoder((20,), 1, 1, _yolo_face, transposed=True),
    }
)
"""By the name that :class:`~trtswap.export.wrap.declaration.Wrapping` has for them."""
