"""Bilinear warps of small regions, anti-aliased when they shrink.

Convention: geometry's (pixel centres at integers, ``p' = A p + t``). A warp is given as the transform from
*destination* pixels to *source* pixels, the direction in which it is evaluated.

``torch.nn.functional.grid_sample`` is called directly: on two cores a grid built by broadcasting costs a
tenth of a general one, and the grid is most of the cost of a small warp.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(image: Tensor, to_source: Tensor, height: int, width: int, *, padding: str = "border") -> Tensor:
    """Resample one image through an affine transform.

    Where the transform shrinks, every destination pixel is the mean of taps x taps bilinear samples, spread
    over a square whose side is sqrt(s^2 - 1) source pixels for a shrink factor s: a box that together with
    the bilinear kernel keeps what the destination can show, and that vanishes smoothly at s = 1, so that a
    face whose size wavers about the crop's does not flicker between sharp and soft.

    Args:
        image: float32 [C, H, W].
        to_source: float [2, 3] on the host, destination pixel -> source pixel of ``image``.
        height, width: size of the result.
        padding: ``border`` repeats the edge outside the image, ``zeros`` fades to 0.

    Returns:
        float32 [C, height, width] on the image's device.
    """
    (a, b, tx), (c, d, ty) = to_source.tolist()
    shrink = math.sqrt(abs(a * d - b * c))
    spread = math.sqrt(max(shrink * shrink - 1.0, 0.0))
    taps = 1 if spread < 0.05 else max(2, math.ceil(spread))
    step = spread / shrink if shrink > 0 else 0.0
    xs = _positions(width, taps, step, image.device)
    ys = _positions(height, taps, step, image.device)
    # grid_sample without align_corners: -1 is the outer edge of the first pixel, at -0.5 in our convention.
    kx, ky = 2.0 / image.shape[2], 2.0 / image.shape[1]
    grid = torch.empty(1, len(ys), len(xs), 2, device=image.device)
    torch.add((xs * (a * kx))[None, :], (ys * (b * kx) + ((tx + 0.5) * kx - 1.0))[:, None], out=grid[0, ..., 0])
    torch.add((xs * (c * ky))[None, :], (ys * (d * ky) + ((ty + 0.5) * ky - 1.0))[:, None], out=grid[0, ..., 1])
    out = F.grid_sample(image[None], grid, mode="bilinear", padding_mode=padding, align_corners=False)
    return (F.avg_pool2d(out, taps) if taps > 1 else out)[0]


def _positions(length: int, taps: int, step: float, device: torch.device) -> Tensor:
    """Where the samples of ``length`` destination pixels lie, ``taps`` a pixel: float32 [length * taps]."""
    centres = torch.arange(length, dtype=torch.float32, device=device)
    if taps == 1:
        return centres
    offsets = ((torch.arange(taps, dtype=torch.float32, device=device) + 0.5) / taps - 0.5) * step
    return (centres[:, None] + offsets).flatten()


def bounds(to_source: Tensor, height: int, width: int, source_height: int, source_width: int) -> tuple[int, int, int, int]:
    """Source pixels that :func:`warp` can touch: ``(x0, y0, x1, y1)``, half open, inside the source, not empty.

    With ``padding="border"`` a warp of the cut-out region equals the warp of the whole source.
    """
    corners = torch.tensor([[-0.5, -0.5], [width - 0.5, -0.5], [-0.5, height - 0.5], [width - 0.5, height - 0.5]])
    points = corners.to(to_source) @ to_source[:, :2].T + to_source[:, 2]
    (x_min, y_min), (x_max, y_max) = points.amin(0).tolist(), points.amax(0).tolist()
    x0, y0 = (min(max(math.floor(v) - 1, 0), n - 1) for v, n in ((x_min, source_width), (y_min, source_height)))
    x1, y1 = (min(max(math.ceil(v) + 2, lo + 1), n) for v, lo, n in ((x_max, x0, source_width), (y_max, y0, source_height)))
    return x0, y0, x1, y1


def shifted(to_source: Tensor, x0: float, y0: float) -> Tensor:
    """The same warp for a source that was cut out at (x0, y0)."""
    return to_source - to_source.new_tensor([[0.0, 0.0, x0], [0.0, 0.0, y0]])


def started(to_source: Tensor, x0: float, y0: float) -> Tensor:
    """The same warp for a destination whose first pixel is the old (x0, y0)."""
    return torch.cat([to_source[:, :2], to_source[:, 2:] + to_source[:, :2] @ to_source.new_tensor([[x0], [y0]])], 1)
