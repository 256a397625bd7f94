"""Small JPEGs of frames and faces, made from the planes at the size in which they are shown."""

import base64
import io
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from trtswap.faces import Faces
from trtswap.pixels.frames import Frames

FRAME_SIDE = 960  # pixels, the longer side of a whole frame
FACE_SIDE = 360
QUALITY = 85
# Side of the square around a face, as a multiple of its box.
MARGIN = 1.8


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


@dataclass(frozen=True)
class Square:
    """A square of the displayed frame: its left and top edge and its side, pixels."""

    left: float
    top: float
    side: float


def copy_of(frames: Frames, frame: int) -> Frames:
    """One frame of a batch, with planes of its own."""
    y, u, v = (plane[frame : frame + 1].clone() for plane in frames.planes)
    return replace(frames, planes=(y, u, v), pts=(), durations=())


def whole(frames: Frames) -> Picture:
    """The first of some frames, upright, its longer side at most ``FRAME_SIDE``."""
    images, to_image = frames.resized(FRAME_SIDE)
    # What lies beyond is the letterbox.
    width, height = (max(1, round(size * float(to_image[i, i]))) for i, size in enumerate(frames.display_size))
    return _jpeg(images[0, :, :height, :width])


def close_up(frames: Frames, square: Square) -> Picture:
    """A square of the first of some frames, ``FACE_SIDE`` pixels wide."""
    scale = FACE_SIDE / square.side
    # Edges of pixels, not their centres, fall on the edges of the square.
    shift_x, shift_y = ((0.5 - edge) * scale - 0.5 for edge in (square.left, square.top))
    transform = torch.tensor([[[scale, 0.0, shift_x], [0.0, scale, shift_y]]])
    return _jpeg(frames.sample(torch.zeros(1, dtype=torch.int64), transform, FACE_SIDE)[0])


def around(faces: Faces, display_size: tuple[int, int]) -> Square:
    """A square around the largest of some faces, moved into the frame and made smaller where it does not fit."""
    width, height = display_size
    sides = (faces.box[:, 2:] - faces.box[:, :2]).clamp(min=1)
    x1, y1, x2, y2 = faces.box[int(sides.prod(1).argmax())].tolist()
    side = float(min(MARGIN * max(x2 - x1, y2 - y1, 1.0), width, height))
    left = min(max((x1 + x2 + 1 - side) / 2, 0.0), width - side)
    top = min(max((y1 + y2 + 1 - side) / 2, 0.0), height - side)
    return Square(left, top, side)


def _jpeg(rgb: Tensor) -> Picture:
    """Encode float32 RGB [3, H, W], 0..1 and beyond."""
    pixels = rgb.mul(255).round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    image = Image.fromarray(pixels)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY)
    return Picture(out.getvalue(), *image.size)
