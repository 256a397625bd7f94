"""Warps inside a graph: the same filters as :mod:`trtswap.pixels.warp`, of transforms that are known when it runs.

That module chooses between kinds of filters, and works on what it needs of the source; a graph has one way for all, and
sources of one size. Up to a shrinking by 3.3 both are the same; beyond, the graph blurs the source further, with taps
that are further apart, to the same variance.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.pixels.warp import PASS_VARIANCE

PASSES = 2  # of each distance of the taps
TINY = 1e-6  # of a division: readings that do not count


def covered_by(to_source: Tensor) -> Tensor:
    """Area of a destination pixel, square source pixels: [N], of transforms [N, 2, 3]."""
    a, b = to_source[:, 0, 0], to_source[:, 0, 1]
    c, d = to_source[:, 1, 0], to_source[:, 1, 1]
    return (a * d - b * c).abs()


def smoothed(images: Tensor, to_source: Tensor, *, most: float, padding: str = "replicate") -> Tensor:
    """Sources, blurred so that they can be read without aliasing.

    Args:
        images: float32 [N, C, H, W].
        to_source: float32 [N, 2, 3], destination pixel -> source pixel.
        most: the strongest shrinking that has to be provided for.
        padding: ``replicate`` repeats the edge, ``constant`` has 0 beyond it.
    """
    rest = ((covered_by(to_source) - 1) / 12).clamp(min=0).view(-1, 1, 1, 1)
    gap, variance = 1, (most**2 - 1) / 12
    while variance > 0:
        limit = PASS_VARIANCE * gap**2
        part = rest.clamp(max=PASSES * limit)
        # One pass where it is enough, as where the filter is chosen for each face.
        one = (part <= limit).float()
        for share in (one + (1 - one) / 2, (1 - one) / 2):
            images = _blurred(images, part * share / (2 * gap**2), gap, padding)
        rest, variance, gap = rest - part, variance - PASSES * limit, 2 * gap
    return images


def _blurred(images: Tensor, e: Tensor, gap: int, padding: str) -> Tensor:
    """Three taps (e, 1 - 2e, e), so many pixels apart, along both axes: what is there, and e times its curvature."""
    channels = images.shape[1]
    for shape, sides in (((1, 3), (gap, gap, 0, 0)), ((3, 1), (0, 0, gap, gap))):
        wide = F.pad(images, sides, mode=padding)
        taps = torch.tensor([1.0, -2.0, 1.0]).view(1, 1, *shape).repeat(channels, 1, 1, 1)
        images = images + e * F.conv2d(wide, taps, groups=channels, dilation=gap)
    return images


def read(images: Tensor, to_source: Tensor, columns: Tensor, rows: Tensor, *, padding: str = "border") -> Tensor:
    """Bilinear readings.

    Args:
        images: float32 [N, C, H, W].
        to_source: float32 [N, 2, 3], destination pixel -> source pixel.
        columns, rows: float32 [w] and [h], or [N, w] and [N, h]: destination pixels.
        padding: ``border`` or ``zeros``.

    Returns:
        float32 [N, C, h, w].
    """
    return _sampled(images, _places(to_source, columns, rows, images), padding=padding)


def side(size: int) -> Tensor:
    """Pixels along one side: float32 [size]."""
    return torch.arange(size, dtype=torch.float32)


def spread(images: Tensor, to_source: Tensor, faces: int, size: int) -> Tensor:
    """Crops out of whole frames, each pixel a mean of four readings.

    Up to a shrinking by 2.4 these are one pass of the blur, read bilinearly: four pixels along each axis, of which two
    are read at once. Beyond, readings are further apart.

    Args:
        images: float32 [B, C, H, W].
        to_source: float32 [B * faces, 2, 3], crop pixel -> source pixel.
        size: side of a crop.

    Returns:
        float32 [B * faces, C, size, size].
    """
    variance = ((covered_by(to_source) - 1) / 12).clamp(min=0)[:, None, None]
    pairs = [_paired(_along(to_source, axis, size), variance) for axis in (0, 1)]
    places, weights = [], []
    for row in (0, 1):
        for column in (0, 1):
            (x, share), (y, other) = pairs[0][column], pairs[1][row]
            axes = [(2 * at + 1) / length - 1 for at, length in ((x, images.shape[3]), (y, images.shape[2]))]
            places.append(torch.stack(axes, -1))
            weights.append(share * other)
    # Crops of one frame are read as one tall picture of it, so that the frame is not copied for each.
    tall = torch.unflatten(torch.cat(places, 1), 0, (-1, faces)).flatten(1, 2)
    values = _sampled(images, tall, padding="border")
    values = torch.unflatten(values, 2, (faces, len(places), size)).transpose(1, 2).flatten(0, 1)
    crops: Tensor = (values * torch.stack(weights, 1)[:, None]).sum(2)
    return crops


def _sampled(images: Tensor, places: Tensor, *, padding: str) -> Tensor:
    """Bilinear readings at places [N, h, w, 2] in ``grid_sample``'s units.

    The edge is repeated by moving places onto it: what ONNX Runtime 1.32 reads between zeros takes it a third of the
    time that its own padding with the border takes.
    """
    if padding == "border":
        sizes = zip(places.unbind(-1), (images.shape[3], images.shape[2]), strict=True)
        places = torch.stack([at.clamp(1 / length - 1, 1 - 1 / length) for at, length in sizes], -1)
    return F.grid_sample(images, places, mode="bilinear", padding_mode="zeros", align_corners=False)


def _along(to_source: Tensor, axis: int, size: int) -> Tensor:
    """Where crop pixels lie in the source along one axis: [N, size, size]."""
    a, b, t = (to_source[:, axis, i, None, None] for i in range(3))
    return a * side(size) + (b * side(size)[:, None] + t)


def _paired(at: Tensor, variance: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Two readings along an axis, and how much each counts, [N, S, S] each, for places [N, S, S]."""
    first = torch.floor(at)
    f, e = at - first, variance.clamp(max=PASS_VARIANCE) / 2
    outer, inner = e * (1 - f), (1 - 2 * e) * (1 - f) + e * f  # of the pixels before the place
    left = outer + inner
    right = 1 - left
    beyond = e * f
    near = first - outer / left.clamp(min=TINY), first + 1 + beyond / right.clamp(min=TINY)
    # Of what one pass does not blur, the rest: both away from the place by its standard deviation.
    wide, gap = (variance > PASS_VARIANCE).float(), variance.sqrt()
    one, other = (place + wide * (at + way * gap - place) for place, way in zip(near, (-1, 1), strict=True))
    left = left + wide * (0.5 - left)
    return (one, left), (other, 1 - left)


def _places(to_source: Tensor, columns: Tensor, rows: Tensor, images: Tensor) -> Tensor:
    """Where destination pixels lie in ``grid_sample``'s units: [N, h, w, 2]."""
    axes = []
    for axis, length in ((0, images.shape[3]), (1, images.shape[2])):
        a, b, t = (to_source[:, axis, i, None] * (2 / length) for i in range(3))
        # -1 is the outer edge of the first pixel, at -0.5.
        axes.append((a * columns)[:, None, :] + (b * rows + (t + 1 / length - 1))[:, :, None])
    return torch.stack(axes, -1)
