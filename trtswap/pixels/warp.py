"""Bilinear warps of small regions, anti-aliased when they shrink.

Convention: geometry's (pixel centres at integers, ``p' = A p + t``). A warp is given as the transform from
*destination* pixels to *source* pixels, the direction in which it is evaluated.

A destination pixel of a warp that shrinks by s covers a square of s source pixels, of variance s^2 / 12 along each
axis. How near the warp comes to the mean over that square depends on s (:class:`Filter` says how for one warp):

* up to about 3.3 the source is blurred with at most two passes of three taps, to the variance (s^2 - 1) / 12 of that
  square less a source pixel's. It vanishes smoothly at s = 1, so that a face whose size wavers about the crop's does
  not flicker between sharp and soft;
* beyond, the source is first shrunk by a power of two into cells that are means, until a destination pixel covers
  2.4 to 4.8 of them, and is then read at nine places spread over the destination pixel, so far apart that the whole
  has the same variance as before. So the cost goes with the destination, and with one reading of what it covers.

``torch.nn.functional.grid_sample`` is called directly: a grid built by broadcasting costs a tenth of a
general one, and the grid is most of the cost of a small warp.
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.pixels.geometry import invert
from trtswap.pixels.transfer import on_device

# Largest variance, square pixels, of one pass of the three-tap blur; a larger one would ring.
PASS_VARIANCE = 0.4
_MAX_PASSES = 2
# Readings along each axis of a destination pixel that covers many cells, and the most cells that they stand for.
_TAPS = 3
_STEPS = tuple(i - (_TAPS - 1) / 2 for i in range(_TAPS))
_MAX_CELLS = 4.8

Region = tuple[int, int, int, int]


class Filter(NamedTuple):
    """How one warp is kept from aliasing.

    Attributes:
        passes: of the three-tap blur.
        variance: of each pass, square source pixels.
        cell: width and height of the cells that the source is shrunk to first, source pixels; powers of two.
        spacing: of the nine readings along each axis of a destination pixel, destination pixels; 0 reads once.
    """

    passes: int = 0
    variance: float = 0.0
    cell: tuple[int, int] = (1, 1)
    spacing: float = 0.0

    @property
    def kind(self) -> tuple[int, tuple[int, int], bool]:
        """Warps of one kind can be evaluated together."""
        return self.passes, self.cell, self.spacing > 0


def filter_of(to_source: Tensor) -> Filter:
    """The filter that a warp needs: :class:`Filter`, from its transform [2, 3] on the host."""
    (a, b, _), (c, d, _) = to_source.tolist()
    covered = _covered(to_source)
    variance = (covered - 1.0) / 12.0
    passes = max(0, math.ceil(variance / PASS_VARIANCE))
    if passes <= _MAX_PASSES:
        return Filter(passes, variance / passes if passes else 0.0)
    cell = _cell(math.hypot(a, b)), _cell(math.hypot(c, d))
    area = cell[0] * cell[1]
    # Twelve times the variances, in source pixels: wanted is covered - 1 and, as before, a bilinear reading's (2 on an
    # average of its places). Cells have area - 1, and a reading of them 2 * area. The readings' spread is the rest.
    rest = max(0.0, covered + 2 - 3 * area)
    return Filter(cell=cell, spacing=math.sqrt(rest / covered / (_TAPS**2 - 1)))


def _cell(shrink: float) -> int:
    return int(2 ** max(0, math.ceil(math.log2(max(shrink, 1.0) / _MAX_CELLS))))


def warp(
    image: Tensor,
    to_source: Tensor,
    height: int,
    width: int,
    *,
    padding: str = "border",
    corner: tuple[int, int] = (0, 0),
) -> Tensor:
    """Resample one image through an affine transform.

    Args:
        image: float32 [C, H, W].
        to_source: float [2, 3] on the host, destination pixel -> source pixel of ``image``.
        height, width: size of the result.
        padding: ``border`` repeats the edge outside the image, ``zeros`` fades to 0.
        corner: (x, y) of the image's first pixel in the whole that it was cut out of; cells keep to the whole's grid.

    Returns:
        float32 [C, height, width] on the image's device.
    """
    return warp_alike(image[None], to_source[None], height, width, padding=padding, corner=corner)[0]


def warp_alike(
    images: Tensor,
    to_source: Tensor,
    height: int,
    width: int,
    *,
    padding: str = "border",
    corner: tuple[int, int] = (0, 0),
) -> Tensor:
    """:func:`warp` of N images, all of one kind (:func:`kinds`): float32 [N, C, height, width] from [N, C, H, W]."""
    filters = [filter_of(t) for t in to_source]
    cells, to_source = smoothed(images, to_source, filters, padding=padding, corner=corner)
    return read(cells, to_source, filters, places(width, height, images.device), padding=padding)


def warp_all(images: Tensor, to_source: Tensor, height: int, width: int, *, padding: str = "border") -> Tensor:
    """:func:`warp_alike` of N images whose filters need not be of one kind; those that are, together."""
    parts = grouped(kinds(to_source))
    if len(parts) == 1:
        return warp_alike(images, to_source, height, width, padding=padding)
    warped = [
        warp_alike(
            images[on_device(torch.tensor(rows), images.device)], to_source[rows], height, width, padding=padding
        )
        for rows in parts
    ]
    order = torch.tensor([row for rows in parts for row in rows]).argsort()
    return torch.cat(warped)[on_device(order, images.device)]


def smoothed(
    images: Tensor, to_source: Tensor, filters: Sequence[Filter], *, padding: str, corner: tuple[int, int] = (0, 0)
) -> tuple[Tensor, Tensor]:
    """All of a warp that comes before :func:`read`: what is read, and from where."""
    left, top = (c % size for c, size in zip(corner, filters[0].cell, strict=True))
    if left or top:
        images = _padded(images, left, top, 0, 0, repeat_edge=padding == "border")
        to_source = shifted(to_source, -left, -top)
    cells = reduced(images, filters[0].cell, repeat_edge=padding == "border")
    return blurred(cells, filters, padding=padding), to_source


def kinds(*transforms: Tensor) -> list[Hashable]:
    """Of each row of warps [N, 2, 3]: rows with the same value can be evaluated together, in every one of these.

    Their filters are of one kind, and their scales within a factor of two, so that what is cut out for the smallest is
    not much less than for the largest.
    """
    return [
        tuple((filter_of(t).kind, math.ceil(math.log2(_covered(t) / _MAX_CELLS**2) / 2)) for t in of_row)
        for of_row in zip(*transforms, strict=True)
    ]


def grouped(values: Iterable[Hashable]) -> list[list[int]]:
    """Positions of equal values, in the order in which each value is first seen."""
    found: dict[Hashable, list[int]] = {}
    for position, value in enumerate(values):
        found.setdefault(value, []).append(position)
    return list(found.values())


def reduced(images: Tensor, cell: tuple[int, int], *, repeat_edge: bool = True) -> Tensor:
    """Images [..., H, W], of integers too, shrunk to the means of cells: float32 [..., H / height, W / width].

    The last cells are filled up with the edge or, if it is not to be repeated, with 0.
    """
    width, height = cell
    if cell == (1, 1):
        return images
    images = _padded(images, 0, 0, -images.shape[-1] % width, -images.shape[-2] % height, repeat_edge=repeat_edge)
    for dim, size in ((-2, height), (-1, width)):
        for _ in range(size.bit_length() - 1):
            even, odd = (images[..., i::2, :] if dim == -2 else images[..., i::2] for i in (0, 1))
            images = even.float().add_(odd) if images.dtype != torch.float32 else even + odd
    return images.mul_(1.0 / (width * height))


def _padded(images: Tensor, left: int, top: int, right: int, bottom: int, *, repeat_edge: bool) -> Tensor:
    if not (left or top or right or bottom):
        return images
    if not repeat_edge:
        return F.pad(images, (left, right, top, bottom))
    height, width = images.shape[-2:]
    rows = torch.arange(-top, height + bottom, device=images.device).clamp_(0, height - 1)
    columns = torch.arange(-left, width + right, device=images.device).clamp_(0, width - 1)
    return images[..., rows[:, None], columns]


def places(width: int, height: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The columns and the rows of a whole destination: float32 [1, width] and [1, height]."""
    xs, ys = (torch.arange(size, dtype=torch.float32, device=device)[None] for size in (width, height))
    return xs, ys


def blurred(cells: Tensor, filters: Sequence[Filter], *, padding: str = "border") -> Tensor:
    """The passes of the three-tap blur: float32 [N, C, h, w] from the same."""
    e = _each([f.variance / 2 for f in filters], cells.device)
    for _ in range(filters[0].passes):
        cells = _blurred(cells, e, repeat_edge=padding == "border")
    return cells


def read(
    cells: Tensor, to_source: Tensor, filters: Sequence[Filter], at: tuple[Tensor, Tensor], *, padding: str = "border"
) -> Tensor:
    """The last step of N warps of one kind.

    Args:
        cells: float32 [N, C, h, w], reduced and blurred for these filters.
        to_source: float [N, 2, 3] on the host, destination pixel -> pixel of the source before it was reduced.
        filters: N.
        at: destination pixels to be evaluated: columns [N or 1, width] and rows [N or 1, height], float32.
        padding: ``border`` or ``zeros``.

    Returns:
        float32 [N, C, height, width].
    """
    cell_width, cell_height = filters[0].cell
    terms = _terms(to_source, cells.shape[-1] * cell_width, cells.shape[-2] * cell_height, cells.device)
    if not filters[0].spacing:
        return _read(cells, _grid(terms, *at), padding)
    spacing = _each([f.spacing for f in filters], cells.device)
    xs = torch.cat([at[0] + step * spacing for step in _STEPS], 1)
    total, *others = (_read(cells, _grid(terms, xs, at[1] + step * spacing), padding) for step in _STEPS)
    for part in others:
        total.add_(part)
    left, *others = torch.split(total, at[0].shape[1], 3)
    for part in others:
        left = left + part
    return left.mul_(1.0 / _TAPS**2)


def _read(cells: Tensor, grid: Tensor, padding: str) -> Tensor:
    return F.grid_sample(cells, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def _terms(to_source: Tensor, width: int, height: int, device: torch.device) -> "list[float] | list[Tensor]":
    """What a destination pixel's column and row add to its place in the source, in ``grid_sample``'s units.

    Args:
        to_source: float [N, 2, 3].
        width, height: the source's.

    Returns:
        Of x: by column, by row, constant; of y: the same. Numbers of one warp, float32 [N, 1] of several.
    """
    # grid_sample without align_corners: -1 is the outer edge of the first pixel, at -0.5 in our convention.
    unit = torch.tensor([[2.0 / width], [2.0 / height]], dtype=torch.float64)
    half = torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64)
    terms = ((to_source.double() + half) * unit).flatten(1) - torch.tensor([0.0, 0, 1, 0, 0, 1], dtype=torch.float64)
    if len(terms) == 1:
        return terms[0].tolist()
    return list(on_device(terms.float(), device).T[..., None].unbind())


def _grid(terms: "list[float] | list[Tensor]", xs: Tensor, ys: Tensor) -> Tensor:
    """Where each destination pixel lies in the source, in ``grid_sample``'s units: float32 [N, height, width, 2].

    A position is a row's part plus a column's part. As complex numbers x + iy both are added, and written, at once.
    """
    ax, bx, tx, ay, by, ty = terms
    along = torch.complex(xs * ax, xs * ay)
    down = torch.complex(ys * bx + tx, ys * by + ty)
    return torch.view_as_real(along[:, None, :] + down[:, :, None])


def _each(values: list[float], device: torch.device) -> "float | Tensor":
    """A number of each warp: as it is where there is one, else float32 [N, 1]."""
    return values[0] if len(values) == 1 else on_device(torch.tensor(values)[:, None], device)


def bounds(to_source: Tensor, height: int, width: int, source_height: int, source_width: int) -> Region:
    """Source pixels that :func:`warp` can touch: ``(x0, y0, x1, y1)``, half open, inside the source, not empty.

    With ``padding="border"`` a warp of the cut-out region equals the warp of the whole source: it begins and ends at
    borders of the filter's cells, or where the source ends.
    """
    how = filter_of(to_source)
    return _around(to_source, (height, width), (source_height, source_width), 1 + how.passes, how.cell)


def reach(to_source: Tensor, source_height: int, source_width: int, height: int, width: int) -> Region:
    """Destination pixels that a source outside of which all is 0 can change: as :func:`bounds`, of the destination."""
    to_destination = invert(to_source)
    # At the source's edge readings fade to 0 within half a source pixel, or cell; that is less than this many pixels.
    margin = 1 + max(0, math.ceil((_covered(to_destination) - 1.0) / 12.0 / PASS_VARIANCE))
    return _around(to_destination, (source_height, source_width), (height, width), margin)


def _around(
    transform: Tensor, size: tuple[int, int], within: tuple[int, int], margin: int, cell: tuple[int, int] = (1, 1)
) -> Region:
    """Pixels around a transformed rectangle of ``size``, with a margin in cells, to whole cells, inside of ``within``.

    Sizes are (height, width).
    """
    height, width = size
    corners = torch.tensor([[-0.5, -0.5], [width - 0.5, -0.5], [-0.5, height - 0.5], [width - 0.5, height - 0.5]])
    points = corners.to(transform) @ transform[:, :2].T + transform[:, 2]
    sides = []
    for low, high, step, n in zip(points.amin(0).tolist(), points.amax(0).tolist(), cell, within[::-1], strict=True):
        # Of what lies outside the edge is seen, and with it all that the edge is blurred with.
        inner = min(margin * step + 1, n)
        first = min(max(math.floor(low) - margin * step, 0), n - inner) // step * step
        last = max(math.ceil(high) + margin * step + 1, inner)
        sides.append((first, min(-(-last // step) * step, n)))
    (x0, x1), (y0, y1) = sides
    return x0, y0, x1, y1


def shifted(to_source: Tensor, x0: float, y0: float) -> Tensor:
    """The same warp, or warps [..., 2, 3], for a source that was cut out at (x0, y0)."""
    return to_source - to_source.new_tensor([[0.0, 0.0, x0], [0.0, 0.0, y0]])


def started(to_source: Tensor, x0: float, y0: float) -> Tensor:
    """The same warp for a destination whose first pixel is the old (x0, y0)."""
    return torch.cat([to_source[:, :2], to_source[:, 2:] + to_source[:, :2] @ to_source.new_tensor([[x0], [y0]])], 1)


def _covered(to_source: Tensor) -> float:
    """Area of a destination pixel, square source pixels."""
    (a, b, _), (c, d, _) = to_source.tolist()
    return abs(float(a * d - b * c))


def _blurred(images: Tensor, e: "float | Tensor", *, repeat_edge: bool) -> Tensor:
    """Three taps (e, 1 - 2e, e) along both axes of [N, C, H, W]; their variance is 2e."""
    if isinstance(e, Tensor):
        e = e[..., None, None]
    for dim in (2, 3):
        n = images.shape[dim]
        out = images * (1 - 2 * e)
        _add(out.narrow(dim, 1, n - 1), images.narrow(dim, 0, n - 1), e)
        _add(out.narrow(dim, 0, n - 1), images.narrow(dim, 1, n - 1), e)
        if repeat_edge:
            for edge in (0, n - 1):
                _add(out.narrow(dim, edge, 1), images.narrow(dim, edge, 1), e)
        images = out
    return images


def _add(total: Tensor, part: Tensor, weight: "float | Tensor") -> None:
    if isinstance(weight, Tensor):
        total.addcmul_(part, weight)
    else:
        total.add_(part, alpha=weight)
