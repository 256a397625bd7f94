"""What is measured of a swapped clip against its original; canvases are float32 RGB [T, S, S, 3], 0..255.

All canvases are cut by the original's alignment, so that what differs is what the swap did.
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
FACE = slice(150, 420), slice(120, 392)  # eyes, nose and mouth on a canvas of 512
CHANGED = 3.0  # levels of 255 by which a pixel differs that was swapped; less is the codec's


def mask_of(before: Floats, after: Floats) -> NDArray[np.bool_]:
    """Where a swap has changed a canvas: bool [T, S, S], without specks."""
    apart = np.abs(before - after).max(-1)
    kernel = np.ones((9, 9), np.uint8)
    return np.stack(
        [cv2.morphologyEx((one > CHANGED).astype(np.uint8), cv2.MORPH_OPEN, kernel).astype(bool) for one in apart]
    )


def flicker(canvases: Floats, masks: NDArray[np.bool_]) -> float:
    """Mean distance of each pixel from the middle between the frames before and after, levels of 255, in the masks.

    Motion adds to it as well, so that it says something only as a share of the original's.
    """
    off = np.abs(canvases[1:-1] - (canvases[:-2] + canvases[2:]) / 2).mean(-1)
    return float(off[masks[1:-1]].mean())


def sharpness(canvases: Floats, masks: NDArray[np.bool_]) -> float:
    """Mean steepness of brightness in the masks, levels per pixel."""
    return float(np.mean([_slope(one)[mask].mean() for one, mask in zip(canvases, masks, strict=True) if mask.any()]))


def seam(before: Floats, after: Floats, masks: NDArray[np.bool_]) -> float:
    """By how much brightness is steeper than in the original along the edge of what was changed, levels per pixel."""
    found = []
    for b, a, mask in zip(before, after, masks, strict=True):
        ring = ring_of(mask, 4)
        if ring.any():
            found.append(np.clip(_slope(a) - _slope(b), 0, None)[ring].mean())
    return float(np.mean(found))


def tone_jump(before: Floats, after: Floats, masks: NDArray[np.bool_]) -> float:
    """By how much colours differ more than in the original between both sides of the edge, levels of 255."""
    found = []
    for b, a, mask in zip(before, after, masks, strict=True):
        outside, inside = ring_of(mask, 12) & ~mask, ring_of(mask, 12) & mask
        if outside.any() and inside.any():
            jump = [np.linalg.norm(one[inside].mean(0) - one[outside].mean(0)) for one in (b, a)]
            found.append(jump[1] - jump[0])
    return float(np.mean(found))


def ring_of(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """What lies within so many pixels of a mask's edge, on both sides."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    whole = mask.astype(np.uint8)
    return (cv2.dilate(whole, kernel) - cv2.erode(whole, kernel)).astype(bool)


def shake(canvases: Floats) -> NDArray[np.float64]:
    """How unsteadily an aligned face lies: change of the motion between neighbouring canvases, pixels: [T - 2].

    Motion is found by phase correlation (Kuglin and Hines, 1975; OpenCV's), which knows nothing of landmarks.

    Args:
        canvases: grey, float32 [T, 512, 512].
    """
    height, width = (part.stop - part.start for part in FACE)
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    pairs = pairwise(canvases)
    moved = np.stack([cv2.phaseCorrelate(a[FACE].copy(), b[FACE].copy(), window)[0] for a, b in pairs])
    changes: NDArray[np.float64] = np.linalg.norm(np.diff(moved, axis=0), axis=1)
    return changes


def correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson's, of two courses over time; 0 where one of them stands still."""
    if np.std(a) < 1e-9 or np.std(b) < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _slope(canvas: Floats) -> Floats:
    grey = canvas.mean(-1)
    slope: Floats = np.hypot(
        cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=1 / 8)
    )
    return slope
