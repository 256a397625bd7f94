"""Where one shot ends and the next begins, seen in thumbnails of the pictures that the detector searches.

A thumbnail is compared with the one before in what it shows, not in how bright it is: level and contrast are taken out
(a fade, a flash and a lamp that is switched on are no cuts), and a detail that has moved by one thumbnail pixel (1/80
of the picture) is no difference. What is left is small within a shot, also with a hand before the face, and a
large share of all detail where another shot begins.
"""

from collections import deque
from enum import IntEnum
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

# Longer side of a thumbnail, pixels: a face that can be swapped is still some pixels wide, 40 KB a frame.
SIDE = 80
# Share of the detail that has changed, from which on it is a cut, and from which on it may be one. Measured on 34 cuts
# in 19 made clips and on 31 clips without one (tests/trtswap/faces/test_cuts.py makes the main kinds): cuts to another
# picture reach 0.43 to 1.1, a zoom by 1.15, a mirrored shot before a plain wall, and another person in the same place
# 0.1 to 0.2; a hand before the face, a flash that leaves something to be seen, and fades at most 0.4.
CERTAIN, POSSIBLE = 0.42, 0.08
# A cut stands out from the changes just before it by these factors; a pan or a shaken camera does not.
CERTAIN_OVER_RECENT, POSSIBLE_OVER_RECENT = 2.0, 4.0
_RECENT = 3
# Window that a pixel's detail is measured against, and the contrast (standard deviation, of 1) below which detail fades
# away instead of being amplified: noise of a dark picture is no detail.
_WINDOW, _DIM = 9, 0.03
# Mean detail of two frames together that makes a difference of it count in full; pictures of things have about 1.
_FAINT = 0.35


class Cut(IntEnum):
    """Does a new shot begin with this frame?"""

    NO = 0
    POSSIBLE = 1
    CERTAIN = 2


def thumbnails(images: Tensor, width: int, height: int) -> Tensor:
    """Small copies of pictures, on the same device: of their green, which stands for brightness and is there already.

    Args:
        images: float32 [B, 3, H, W], RGB 0..1; padded at the right and the bottom.
        width, height: of the picture without its padding, pixels.

    Returns:
        float32 [B, h, w], 0..1; each pixel is the mean of a square, the longer side about ``SIDE``.
    """
    k = max(1, round(max(width, height) / SIDE))
    h, w = max(1, height // k), max(1, width // k)
    rows, columns = min(k, height), min(k, width)
    squares = images[:, 1, : h * rows, : w * columns].reshape(len(images), h, rows, w, columns)
    # Rows first: seven times as fast on a CPU as both at once.
    return squares.sum(2).sum(3) / (rows * columns)


def detail(thumbnail: Tensor) -> Tensor:
    """What a thumbnail [h, w] shows beyond its local mean, in units of its own contrast.

    Returns:
        float32 [3, h, w]: this detail, and the largest and the smallest of the nine pixels around each.
    """
    margin, local = _WINDOW // 2, thumbnail[None]
    for kernel, padding in (((_WINDOW, 1), (margin, 0)), ((1, _WINDOW), (0, margin))):
        local = F.avg_pool2d(local, kernel, 1, padding, count_include_pad=False)
    beyond = thumbnail - local[0]
    beyond /= beyond.square().mean().sqrt() + _DIM
    high, low = F.max_pool2d(torch.stack([beyond, -beyond]), 3, 1, 1)
    return torch.stack([beyond, high, -low])


def change(before: Tensor, after: Tensor) -> float:
    """Share of the detail of two frames that the other does not have: 0 for equal ones, about 1 for unrelated ones.

    A value is had by the other frame if it lies between the smallest and the largest around its place there.

    Args:
        before, after: of each frame the :func:`detail`; frames of another size are unrelated.
    """
    if before.shape != after.shape:
        return 1.0
    unlike = float((_beyond(before, after) + _beyond(after, before)).mean())
    return unlike / max(float(before[0].abs().mean() + after[0].abs().mean()), _FAINT)


def _beyond(this: Tensor, other: Tensor) -> Tensor:
    return torch.relu(this[0] - other[1]) + torch.relu(other[2] - this[0])


class CutDetector:
    """Judges frames in their order, each against the one before; the result does not depend on batches."""

    def __init__(self) -> None:
        self._last: Tensor | None = None
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def push(self, shown: Tensor, *, adjoins: bool = True) -> Cut:
        """Does a shot begin with the frame whose :func:`detail` is given? The first frame begins none.

        Args:
            shown: of the next frame that is known.
            adjoins: no frame is missing since the one before. Where one is, nothing is judged: several frames' motion
                would look sudden beside that of single ones.
        """
        last, self._last = self._last, shown
        if last is None or not adjoins:
            return Cut.NO
        changed = change(last, shown)
        recent = median(self._recent or [0.0])
        self._recent.append(changed)
        if changed >= max(CERTAIN, CERTAIN_OVER_RECENT * recent):
            return Cut.CERTAIN
        return Cut.POSSIBLE if changed >= max(POSSIBLE, POSSIBLE_OVER_RECENT * recent) else Cut.NO
