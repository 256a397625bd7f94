"""Frames: a batch of planes on one device, as the decoder gave them; sample() and paste() touch only faces."""

from dataclasses import dataclass, field
from fractions import Fraction

import torch
from torch import Tensor

from trtswap.video.color import PixelFormat


@dataclass
class Frames:
    """B frames of one video or one array.

    Attributes:
        planes: three tensors, Y [B,H,W] and U, V [B,h,w], or R, G, B [B,H,W]; uint8, or int16 above 8 bits.
            They may be views of interleaved memory (NV12, HWC). ``paste`` writes into them.
        format: how to read the planes.
        to_display: float32 [2, 3], coded pixel -> displayed pixel (rotation, flip, sample aspect ratio).
        display_size: (width, height) of the displayed frame, pixels.
        pts: B presentation times, in units of ``time_base``.
        durations: B durations in the same unit, 0 where unknown.
        time_base: seconds per unit.
    """

    planes: tuple[Tensor, Tensor, Tensor]
    format: PixelFormat
    to_display: Tensor
    display_size: tuple[int, int]
    pts: tuple[int, ...] = ()
    durations: tuple[int, ...] = ()
    time_base: Fraction = field(default=Fraction(1))
