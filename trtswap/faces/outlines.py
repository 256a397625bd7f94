"""Outlines of a face and of its parts among the 478 points, and how far a place is inside of one.

Numbers are MediaPipe's (``face_mesh_connections.py``), each outline in the order in which it runs around.
"""

import torch
from torch import Tensor

from trtswap.faces.pose import LEFT_EYE, RIGHT_EYE

OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
# Of an eye's points those below run to the inner corner, and so do those above: as an outline these run back.
RIGHT_LIDS, LEFT_LIDS = ((*eye[:9], *eye[:8:-1]) for eye in (RIGHT_EYE, LEFT_EYE))

_LEAST = 1e-6  # of a division: edges of no length, and edges that run along a row


def cells(count: int, size: float) -> Tensor:
    """Centres of a square's cells in its pixels, row by row: float32 [count * count, 2].

    Args:
        count: cells along each side.
        size: of the square, pixels.
    """
    axis = (torch.arange(count) + 0.5) * (size / count) - 0.5
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).reshape(-1, 2)


def depth_in(points: Tensor, outline: tuple[int, ...], places: Tensor) -> Tensor:
    """How far each place lies inside of an outline: distance from its edge, negative outside: float32 [N, G].

    Args:
        points: float32 [N, 478, 2 or 3].
        outline: numbers of points; it may be concave.
        places: float32 [G, 2], in the same pixels.
    """
    start = points[:, list(outline), :2][:, None]  # [N, 1, E, 2]
    run, rise = (start.roll(-1, 2) - start).unbind(-1)
    x, y = (places[None, :, None, i] - start[..., i] for i in (0, 1))  # [N, G, E]
    along = ((x * run + y * rise) / (run * run + rise * rise).clamp(min=_LEAST)).clamp(0, 1)
    apart = ((x - along * run).square() + (y - along * rise).square()).amin(-1).sqrt()
    # A ray to the right crosses the outline an odd number of times from inside.
    crosses = ((y < 0).float() - (y < rise).float()).abs()
    across = run / torch.where(rise.abs() < _LEAST, _LEAST, rise) * y
    crossings = (crosses * (x < across).float()).sum(-1)
    inside = crossings - 2 * torch.floor(crossings / 2)
    return apart * (2 * inside - 1)
