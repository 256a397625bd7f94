"""Small JPEGs of frames and faces."""

import base64
import io
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from trtswap.faces import Faces

FRAME_SIDE = 960  # pixels, the longer side of a whole frame
FACE_SIDE = 360
QUALITY = 82
# Side of the square around a face, as a multiple of its box.
MARGIN = 1.8

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Picture:
    """An encoded picture.

    Attributes:
        data: JPEG.
        width, height: pixels.
    """

    data: bytes
    width: int
    height: int

    @property
    def uri(self) -> str:
        """The whole picture as a ``data:`` address."""
        return "data:image/jpeg;base64," + base64.b64encode(self.data).decode("ascii")


def jpeg(rgb: Tensor, box: Box | None = None) -> Picture:
    """Cut, make smaller if need be, and encode.

    Args:
        rgb: uint8 RGB [H, W, 3] on the host.
        box: x1 y1 x2 y2 of a face's square; None for the whole frame.
    """
    image = Image.fromarray(rgb.numpy())
    if box is not None:
        image = image.crop(box)
    side = FRAME_SIDE if box is None else FACE_SIDE
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY, optimize=True)
    return Picture(out.getvalue(), *image.size)


def around(faces: Faces, shape: torch.Size) -> Box:
    """A square around the largest of some faces, moved into the frame [H, W, 3] and cut where it is too large."""
    height, width = shape[:2]
    sides = faces.box[:, 2:] - faces.box[:, :2]
    largest = int(sides.clamp(min=0).prod(1).argmax())
    x1, y1, x2, y2 = faces.box[largest].tolist()
    side = min(round(MARGIN * max(x2 - x1, y2 - y1, 1.0)), width, height)
    left = min(max(round((x1 + x2 - side) / 2), 0), width - side)
    top = min(max(round((y1 + y2 - side) / 2), 0), height - side)
    return left, top, left + side, top + side
