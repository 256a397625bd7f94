"""What the graphs ask of a target's points: is it turned away, are its eyes shut, and which points count."""

import torch
from torch import Tensor

from trtswap.faces.pose import CHIN, INNER_CORNERS, IRISES, LOWER_LIDS, OUTER_CORNERS, TOP, UPPER_LIDS

from .controls import CONTROLS
from .light import between

PROFILE, TOWARDS = 0.95, 1.08  # see towards
NOSE, CHEEKS = 2, (234, 454)  # below its tip, and the face's edges at its widest
EYES = tuple(zip(IRISES, UPPER_LIDS, LOWER_LIDS, OUTER_CORNERS, INNER_CORNERS, strict=True))
IRIS = 5  # points
SHUT, OPEN = 0.12, 0.2  # distance of the lids, shares of the eye's width
LID = (0.95, 0.75)  # half axes of the ellipse that a shut eye fills, shares of its width


def towards(points: Tensor) -> Tensor:
    """1 for faces that look at the camera, 0 for profiles, and where there are no points: [N, 1, 1, 1].

    By how broad the face is in the picture for its height and its nose: as the mesh measures heads turned by 0, 40 and
    60 degrees, 1.3, 1.0 and 0.75. What tells the sides apart, as the place of the nose between the edges, it makes much
    too even for profiles.
    """
    eyes = points[:, list(OUTER_CORNERS)].mean(1)
    nose = (points[:, NOSE] - eyes).square().sum(1).sqrt()
    height = (points[:, TOP] - points[:, CHIN]).square().sum(1).sqrt()
    broad = _apart(points, *OUTER_CORNERS) * _apart(points, *CHEEKS) / (nose * height).clamp(min=1.0)
    return between(broad, PROFILE, TOWARDS)[:, None, None, None]


def counting(points: Tensor) -> Tensor:
    """How much each of ``CONTROLS`` counts: irises only as far as their eyes are open: [N, K]."""
    counts = torch.ones_like(points[:, CONTROLS, 0])
    for eye in EYES:
        of_iris = torch.tensor([float(eye[0] <= point < eye[0] + IRIS) for point in CONTROLS], dtype=points.dtype)
        counts = counts - _shut(points, eye)[:, None] * of_iris
    return counts


def open_eyes(points: Tensor, places: Tensor) -> Tensor:
    """Which places may show the source: 0 on shut eyes, since no open eye can be warped into them: [N, 1, G].

    Args:
        points: float32 [N, 478, 3].
        places: float32 [G, 2], in the same pixels.
    """
    seen = torch.ones_like(points[:, :1, :1])
    for eye in EYES:
        width = _apart(points, *eye[3:]).clamp(min=1)
        centre = points[:, list(eye[1:]), :2].mean(1)
        off = (places - centre[:, None]) / width[:, None, None]
        reach = (off[..., 0].square() / LID[0] ** 2 + off[..., 1].square() / LID[1] ** 2).sqrt()
        seen = seen * (1 - _shut(points, eye)[:, None] * (1 - between(reach, 0.5, 1)))[:, None]
    return seen


def _shut(points: Tensor, eye: tuple[int, ...]) -> Tensor:
    """1 for a shut eye, 0 for an open one: [N]."""
    _, upper, lower, outer, inner = eye
    return 1 - between(_apart(points, upper, lower) / _apart(points, outer, inner).clamp(min=1), SHUT, OPEN)


def _apart(points: Tensor, a: int, b: int) -> Tensor:
    """Distance of two points in the picture: [N]."""
    return (points[:, a, :2] - points[:, b, :2]).square().sum(1).sqrt()
