"""Regions of planes: cut out of them, and layers blended into them; one face after the other, or many at once.

Many at once, as a GPU wants it, are cut out at one size, as large as the largest needs, and blended at one size too,
so that the number of launches does not grow with them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from trtswap.pixels.transfer import on_device
from trtswap.pixels.warp import (
    Filter,
    Region,
    blurred,
    bounds,
    filter_of,
    grouped,
    kinds,
    places,
    reach,
    read,
    reduced,
    shifted,
    smoothed,
    started,
)

# Pixels of a destination that are worked on at once on a CPU: what belongs to them stays in its cache.
_STRIP = 1 << 17
_ALL = 1 << 40


def cut(planes: Sequence[Tensor], frames: list[int], to_plane: Tensor, size: int, black: Tensor) -> Tensor:
    """Warp regions of planes into crops.

    Args:
        planes: P planes [B, H, W] of one size.
        frames: N rows of them.
        to_plane: float32 [N, 2, 3] on the host, crop pixel -> plane pixel; all of one kind of warp.
        size: side of the crops.
        black: float32 [P], is taken off each plane.

    Returns:
        float32 [N, P, size, size], code values above black.
    """
    height, width = planes[0].shape[1:]
    filters = [filter_of(t) for t in to_plane]
    boxes = [bounds(t, size, size, height, width) for t in to_plane]
    if len(frames) == 1:
        cells = _cells(planes, frames[0], boxes[0], filters[0], black)
    else:
        boxes = _of_one_size(boxes, width, height, filters[0].cell)
        index = _index(frames, boxes, planes[0].shape, planes[0].device)
        regions = torch.stack([p[index] for p in planes], 1)
        cells = blurred(reduced(regions, filters[0].cell) - black[:, None, None], filters)
    to_region = torch.stack([shifted(t, *box[:2]) for t, box in zip(to_plane, boxes, strict=True)])
    return read(cells, to_region, filters, places(size, size, cells.device))


def _cells(planes: Sequence[Tensor], frame: int, box: Region, how: Filter, black: Tensor) -> Tensor:
    """What is read of one region: float32 [1, P, h, w], its cells, blurred, in code values above black."""
    (x0, y0, x1, y1), (_, cell_height) = box, how.cell
    height = -(-(y1 - y0) // cell_height)
    step = _strip(x1 - x0, black.device) // cell_height or 1
    parts = []
    for top in range(0, height, step):
        bottom = min(top + step, height)
        # The blur reaches this far; at the ends of the region it repeats the edge.
        above, below = min(how.passes, top), min(how.passes, height - bottom)
        first, last = y0 + (top - above) * cell_height, min(y0 + (bottom + below) * cell_height, y1)
        region = torch.stack([p[frame, first:last, x0:x1] for p in planes])[None]
        cells = blurred(reduced(region, how.cell) - black[:, None, None], [how])
        parts.append(cells[:, :, above : above + bottom - top])
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def _strip(width: int, device: torch.device) -> int:
    """Rows that are worked on at once."""
    return max(1, (_STRIP if device.type == "cpu" else _ALL) // width)


def blend(
    planes: Sequence[Tensor],
    frames: list[int],
    to_canvas: Tensor,
    layers: Tensor,
    *,
    corner: tuple[int, int],
    peak: int,
) -> None:
    """Blend layers into the regions of planes that they cover; several may not overlap.

    Args:
        planes: P planes [B, H, W] of one size; written to.
        frames: N rows of them.
        to_canvas: float32 [N, 2, 3] on the host, plane pixel -> canvas pixel; all of one kind of warp.
        layers: float32 [N, P + 1, h, w], code values times alpha, and alpha: parts of the canvases.
        corner: (x, y), where in the canvases these parts begin.
        peak: largest code value.
    """
    filters = [filter_of(t) for t in to_canvas]
    to_layers = shifted(to_canvas, *corner)
    boxes = [reach(t, *layers.shape[2:], *planes[0].shape[1:]) for t in to_layers]
    cells, to_layers = smoothed(layers, to_layers, filters, padding="zeros", corner=corner)
    to_layers = torch.stack([started(t, *box[:2]) for t, box in zip(to_layers, boxes, strict=True)])
    if len(frames) > 1:
        columns, rows = _spread(boxes, layers.device)
        index = _index(frames, boxes, planes[0].shape, layers.device)
        *values, a = read(cells, to_layers, filters, (columns, rows), padding="zeros").unbind(1)
        for plane, value in zip(planes, values, strict=True):
            plane[index] = _over(value, a, plane[index], peak).to(plane.dtype)
        return
    ((x0, y0, x1, y1),) = boxes
    columns, rows = places(x1 - x0, y1 - y0, layers.device)
    height = _strip(x1 - x0, layers.device)
    for top in range(0, y1 - y0, height):
        part = rows[:, top : top + height]
        *values, a = read(cells, to_layers, filters, (columns, part), padding="zeros")[0]
        for plane, value in zip(planes, values, strict=True):
            region = plane[frames[0], y0 + top : y0 + top + part.shape[1], x0:x1]
            region.copy_(_over(value, a, region, peak))


def layer_order(
    frames: list[int], boxes: list[Region], grids: Sequence[tuple[Sequence[int], Tensor]]
) -> list[list[int]]:
    """Which layers can be blended at once, in an order that gives what one after the other would.

    Args:
        frames: N, the frame of each layer.
        boxes: N, what part of its canvas it is.
        grids: of each set of planes their (height, width), and float32 [N, 2, 3], plane pixel -> canvas pixel.
    """
    reached = [
        [
            reach(shifted(t, *box[:2]), box[3] - box[1], box[2] - box[0], *size)
            for t, box in zip(to_canvas, boxes, strict=True)
        ]
        for size, to_canvas in grids
    ]
    rounds: list[int] = []
    for i, frame in enumerate(frames):
        before = [j for j in range(i) if frames[j] == frame and any(_overlap(r[i], r[j]) for r in reached)]
        rounds.append(1 + max((rounds[j] for j in before), default=-1))
    order = sorted(range(len(frames)), key=rounds.__getitem__)
    of_kind = kinds(*(to_canvas for _, to_canvas in grids))
    return [[order[k] for k in rows] for rows in grouped((rounds[i], boxes[i], of_kind[i]) for i in order)]


def _overlap(one: Region, other: Region) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _over(value: Tensor, a: Tensor, below: Tensor, peak: int) -> Tensor:
    """Premultiplied code values over others, to be kept as integers."""
    return torch.addcmul(value, below.float(), 1 - a).round_().clamp_(0, peak)


def _of_one_size(boxes: list[Region], width: int, height: int, cell: tuple[int, int]) -> list[Region]:
    """Boxes made as large as the largest; still within the plane, but for what fills its last cells."""
    sides = []
    for axis, (n, size) in enumerate(zip((width, height), cell, strict=True)):
        longest = max(box[axis + 2] - box[axis] for box in boxes)
        longest, end = (-(-value // size) * size for value in (longest, n))
        sides.append([(first, first + longest) for first in (min(box[axis], end - longest) for box in boxes)])
    return [(x0, y0, x1, y1) for (x0, x1), (y0, y1) in zip(*sides, strict=True)]


def _spread(boxes: list[Region], device: torch.device) -> tuple[Tensor, Tensor]:
    """Columns and rows of boxes from their first pixel: float32 [N, w] and [N, h], w and h being the largest.

    A box that is smaller has its last column and row several times, so that what is written to it twice is the same.
    """
    columns, rows = _pixels(boxes)
    return on_device((columns - columns[:, :1]).float(), device), on_device((rows - rows[:, :1]).float(), device)


def _index(
    frames: list[int], boxes: list[Region], shape: Sequence[int], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Of planes [B, H, W] the pixels [N, h, w] of boxes: beyond a box, and beyond the plane, the last one again."""
    columns, rows = _pixels(boxes)
    columns.clamp_(max=shape[2] - 1)
    rows.clamp_(max=shape[1] - 1)
    frame, columns, rows = (on_device(t, device) for t in (torch.tensor(frames), columns, rows))
    return frame[:, None, None], rows[:, :, None], columns[:, None, :]


def _pixels(boxes: list[Region]) -> tuple[Tensor, Tensor]:
    """Columns [N, w] and rows [N, h] of boxes, on the host, w and h being the largest; the last of a box again."""
    x0, y0, x1, y1 = torch.tensor(boxes).T[..., None]
    columns, rows = (torch.arange(int((end - start).max())) for start, end in ((x0, x1), (y0, y1)))
    return torch.minimum(columns + x0, x1 - 1), torch.minimum(rows + y0, y1 - 1)
