"""Bilinear warps of small regions, anti-aliased when they shrink.

Convention: geometry's (pixel centres at integers, ``p' = A p + t``). A warp is given as the transform from
*destination* pixels to *source* pixels, the direction in which it is evaluated.

``torch.nn.functional.grid_sample`` is called directly: a grid built by broadcasting costs a tenth of a
general one, and the grid is most of the cost of a small warp.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Largest variance, square pixels, of one pass of the three-tap blur; a larger one would ring.
_PASS_VARIANCE = 0.4


def warp(image: Tensor, to_source: Tensor, height: int, width: int, *, padding: str = "border") -> Tensor:
    """Resample one image through an affine transform.

    Where the transform shrinks by a factor s, the source is blurred first, with the variance (s^2 - 1) / 12 of
    the box that a destination pixel covers, less the box of a source pixel. The blur vanishes smoothly at
    s = 1, so that a face whose size wavers about the crop's does not flicker between sharp and soft.

    Args:
        image: float32 [C, H, W].
        to_source: float [2, 3] on the host, destination pixel -> source pixel of ``image``.
        height, width: size of the result.
        padding: ``border`` repeats the edge outside the image, ``zeros`` fades to 0.

    Returns:
        float32 [C, height, width] on the image's device.
    """
    for variance in _passes(to_source):
        image = _blurred(image, variance, repeat_edge=padding == "border")
    return F.grid_sample(
        image[None], _grid(to_source, height, width, image), mode="bilinear", padding_mode=padding, align_corners=False
    )[0]


def _grid(to_source: Tensor, height: int, width: int, image: Tensor) -> Tensor:
    """Where each destination pixel lies in the source, in ``grid_sample``'s units: float32 [1, height, width, 2].

    A position is a row's part plus a column's part. As complex numbers x + iy both are added, and written, at once.
    """
    (a, b, tx), (c, d, ty) = to_source.tolist()
    xs = torch.arange(width, dtype=torch.float32, device=image.device)
    ys = torch.arange(height, dtype=torch.float32, device=image.device)
    # grid_sample without align_corners: -1 is the outer edge of the first pixel, at -0.5 in our convention.
    kx, ky = 2.0 / image.shape[2], 2.0 / image.shape[1]
    along = torch.complex(xs * (a * kx), xs * (c * ky))
    down = torch.complex(ys * (b * kx) + ((tx + 0.5) * kx - 1.0), ys * (d * ky) + ((ty + 0.5) * ky - 1.0))
    return torch.view_as_real(along[None, :] + down[:, None])[None]


def bounds(
    to_source: Tensor, height: int, width: int, source_height: int, source_width: int
) -> tuple[int, int, int, int]:
    """Source pixels that :func:`warp` can touch: ``(x0, y0, x1, y1)``, half open, inside the source, not empty.

    With ``padding="border"`` a warp of the cut-out region equals the warp of the whole source.
    """
    corners = torch.tensor([[-0.5, -0.5], [width - 0.5, -0.5], [-0.5, height - 0.5], [width - 0.5, height - 0.5]])
    points = corners.to(to_source) @ to_source[:, :2].T + to_source[:, 2]
    (x_min, y_min), (x_max, y_max) = points.amin(0).tolist(), points.amax(0).tolist()
    margin = 1 + len(_passes(to_source))
    x0, y0 = (min(max(math.floor(v) - margin, 0), n - 1) for v, n in ((x_min, source_width), (y_min, source_height)))
    x1, y1 = (
        min(max(math.ceil(v) + margin + 1, low + 1), n)
        for v, low, n in ((x_max, x0, source_width), (y_max, y0, source_height))
    )
    return x0, y0, x1, y1


def shifted(to_source: Tensor, x0: float, y0: float) -> Tensor:
    """The same warp for a source that was cut out at (x0, y0)."""
    return to_source - to_source.new_tensor([[0.0, 0.0, x0], [0.0, 0.0, y0]])


def started(to_source: Tensor, x0: float, y0: float) -> Tensor:
    """The same warp for a destination whose first pixel is the old (x0, y0)."""
    return torch.cat([to_source[:, :2], to_source[:, 2:] + to_source[:, :2] @ to_source.new_tensor([[x0], [y0]])], 1)


def _passes(to_source: Tensor) -> list[float]:
    """Variances of the blur's passes; empty where the transform does not shrink."""
    (a, b, _), (c, d, _) = to_source.tolist()
    variance = (abs(a * d - b * c) - 1.0) / 12.0
    count = max(0, math.ceil(variance / _PASS_VARIANCE))
    return [variance / count for _ in range(count)]


def _blurred(image: Tensor, variance: float, *, repeat_edge: bool) -> Tensor:
    """Three taps (e, 1 - 2e, e) along both axes; their variance is 2e."""
    e = variance / 2
    for dim in (1, 2):
        n = image.shape[dim]
        out = image * (1 - 2 * e)
        out.narrow(dim, 1, n - 1).add_(image.narrow(dim, 0, n - 1), alpha=e)
        out.narrow(dim, 0, n - 1).add_(image.narrow(dim, 1, n - 1), alpha=e)
        if repeat_edge:
            for edge in (0, n - 1):
                out.narrow(dim, edge, 1).add_(image.narrow(dim, edge, 1), alpha=e)
        image = out
    return image
