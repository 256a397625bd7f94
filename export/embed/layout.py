"""How embedded graphs take frames, and give them back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import get_args

import torch

from trtswap.backends.engine import TensorSpec
from trtswap.errors import InputError
from trtswap.pixels.color import RGB24, ColorTags, Matrix, PixelFormat

Size = int | str
"""A number, or the name of a dynamic dimension."""

FORMATS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"rgb": ("frames",), "bgr": ("frames",), "nv12": ("y", "uv"), "i420": ("y", "u", "v")}
)
"""Formats of frames, and the tensors that hold them."""

RANGES = ("limited", "full")
LEAST, MOST = 64, 16384  # sides of a frame, pixels
STEP = 8
"""Sides of windows are multiples of this."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What frames look like.

    Attributes:
        format: one of ``FORMATS``: uint8 [B, H, W, 3] in the order of its name, or planes of 4:2:0: ``y`` [B, H, W] and
            ``uv`` [B, H/2, W/2, 2], or ``u`` and ``v`` [B, H/2, W/2].
        size: (width, height), pixels; None: any. Even for planes.
        faces: slots of a frame: at most so many faces are found and swapped.
        window: side of the square around a face in which it is painted, pixels; None: an input says it with each call,
            so that small faces cost less.
        matrix: of planes: one of :data:`~trtswap.pixels.color.Matrix`; None: BT.709 from 720 lines up, else BT.601.
        range: of planes: one of ``RANGES``.
    """

    format: str = "rgb"
    size: tuple[int, int] | None = None
    faces: int = 1
    window: int | None = None
    matrix: Matrix | None = None
    range: str = "limited"

    def __post_init__(self) -> None:
        for wrong in self._wrong():
            raise InputError(f"{wrong}.")

    def _wrong(self) -> Iterator[str]:
        if self.format not in FORMATS:
            yield f"format is {self.format!r}, expected one of: {', '.join(FORMATS)}"
        if not 1 <= self.faces <= 16:
            yield f"faces is {self.faces}, expected 1 to 16"
        if self.range not in RANGES:
            yield f"range is {self.range!r}, expected limited or full"
        if self.matrix not in (None, *(m for m in get_args(Matrix) if m != "rgb")):
            yield f"matrix is {self.matrix!r}, expected one of: {', '.join(m for m in get_args(Matrix) if m != 'rgb')}"
        if not self.planar and self.matrix:
            yield f"matrix is {self.matrix!r}, but {self.format} frames have none. Leave it out"
        if self.planar and self.size is None and self.matrix is None:
            yield f"{self.format} frames of any size need a matrix, since it goes with the size. Give matrix, or a size"
        if self.size is not None:
            yield from self._wrong_size(*self.size)
        if self.window is not None:
            most = MOST if self.size is None else min(self.size) // STEP * STEP
            if self.window % STEP or not LEAST <= self.window <= most:
                yield f"window is {self.window}, expected a multiple of {STEP}, {LEAST} to {most}"

    def _wrong_size(self, width: int, height: int) -> Iterator[str]:
        if not (LEAST <= width <= MOST and LEAST <= height <= MOST):
            yield f"size is {width}x{height}, expected sides of {LEAST} to {MOST} pixels"
        if self.planar and (width % 2 or height % 2):
            yield f"size is {width}x{height}, but {self.format} frames have even sides"

    def windowed(self) -> "Layout":
        """With a fixed window: where none is given the largest that such frames can need, their shorter side.

        Raises:
            InputError: they have any size.
        """
        if self.window is not None:
            return self
        if self.size is None:
            raise InputError("the window has to be fixed for frames of any size. Give window, or a size.")
        return replace(self, window=min(self.size) // STEP * STEP)

    @property
    def planar(self) -> bool:
        return len(FORMATS.get(self.format, ())) > 1

    @property
    def pixels(self) -> PixelFormat:
        """How values become colours."""
        if not self.planar:
            return RGB24
        height = 0 if self.size is None else self.size[1]
        matrix = self.matrix or ColorTags().matrix_name(height) or "bt709"
        full = self.range == "full"
        return replace(
            RGB24, name="yuv420p", chroma_shift=(1, 1), matrix=matrix, full_range=full, chroma_offset=(0.0, 0.5)
        )

    @property
    def slots(self) -> Size:
        """The dimension of what is said of faces: any number up to ``faces``."""
        return "F" if self.faces > 1 else 1

    @property
    def sides(self) -> tuple[Size, Size]:
        """Height and width."""
        return ("height", "width") if self.size is None else self.size[::-1]

    def tensors(self, prefix: str = "") -> tuple[TensorSpec, ...]:
        """The tensors of frames."""
        height, width = self.sides
        half: tuple[Size, Size] = (
            ("half_height", "half_width") if self.size is None else (self.size[1] // 2, self.size[0] // 2)
        )
        shapes: Mapping[str, tuple[Size, ...]] = {
            "frames": (height, width, 3),
            "y": (height, width),
            "uv": (*half, 2),
            "u": half,
            "v": half,
        }
        return tuple(TensorSpec(prefix + name, ("B", *shapes[name]), torch.uint8) for name in FORMATS[self.format])
