"""A second look at faces that may lie on their side or stand on their head.

Detectors are trained on upright faces. A turned one gets a lower score, and landmarks as if it were upright: with YuNet
0.86 and a third of the distance between the eyes at 60 degrees, 0.83 and 1.25 of it at 180 (0.94 upright). Faces with
a low score are therefore looked at again in copies that are turned by quarters, and the best is taken.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from trtswap.faces.faces import Faces
from trtswap.pixels.frames import Frames
from trtswap.pixels.geometry import invert, transform_points

Search = Callable[[Tensor], tuple[Tensor, ...]]
"""Images float32 [B, 3, H, W], RGB 0..1, to scores [B, K], boxes [B, K, 4] and landmarks [B, K, 5, 2]."""

DOUBTFUL = 0.9
"""Scores from here on are upright faces: 0.93 and more in photographs, 0.96 and more of the pack avatar's own."""

SIDE = 192
"""Of the copies, pixels: the face fills half of it, where detectors of the kind find it best."""

BETTER = 0.03
"""By how much a turned copy's score has to exceed the upright one's."""

_ROOM = 2.0
_QUARTERS = 4


def set_upright(frames: Frames, faces: Faces, search: Search, side: int = SIDE) -> Faces:
    """Landmarks, boxes and scores of faces, those of turned ones from the copy in which they are upright.

    Args:
        frames: that the faces were found in.
        faces: on the host, in any order.
        search: the detect graph.
        side: of the copies, pixels.

    Returns:
        The same faces, in the same order.
    """
    rows = (faces.score < DOUBTFUL).nonzero()[:, 0]
    if not len(rows):
        return faces
    transforms = torch.cat([_turned(faces.box[rows], quarter, side) for quarter in range(_QUARTERS)])
    copies = frames.sample(faces.frame_index[rows].repeat(_QUARTERS), transforms, side).clamp_(0, 1)
    scores, boxes, landmarks = (part.cpu() for part in search(copies))
    score, best = _in_the_middle(scores, boxes, side).max(1)
    everyone = torch.arange(len(best))
    boxes, landmarks = boxes[everyone, best], landmarks[everyone, best]
    by_quarter = score.view(_QUARTERS, -1)
    highest, quarter = by_quarter.max(0)
    better = (quarter > 0) & (highest > by_quarter[0] + BETTER)
    found, which = rows[better], (quarter * len(rows) + torch.arange(len(rows)))[better]
    back = invert(transforms[which])
    corners = boxes[which][:, (0, 1, 2, 1, 2, 3, 0, 3)].view(-1, 4, 2)
    corners, points = transform_points(back, corners), transform_points(back, landmarks[which])
    box, marks, sure = faces.box.clone(), faces.landmarks.clone(), faces.score.clone()
    box[found] = torch.cat([corners.amin(1), corners.amax(1)], 1)
    marks[found] = points
    sure[found] = highest[better]
    return replace(faces, box=box, landmarks=marks, score=sure)


def _turned(box: Tensor, quarter: int, side: int) -> Tensor:
    """Displayed pixel -> pixel of a copy that is turned by so many quarters: float32 [N, 2, 3]."""
    centre = (box[:, :2] + box[:, 2:]) / 2
    scale = side / (_ROOM * (box[:, 2:] - box[:, :2]).amax(1))
    cosine, sine = round(math.cos(quarter * math.pi / 2)), round(math.sin(quarter * math.pi / 2))
    linear = scale[:, None, None] * torch.tensor([[cosine, -sine], [sine, cosine]], dtype=box.dtype)
    shift = (side - 1) / 2 - (linear @ centre[:, :, None])[:, :, 0]
    return torch.cat([linear, shift[:, :, None]], 2)


def _in_the_middle(scores: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Scores [B, K] of faces whose middle lies in the middle half of their copy; 0 elsewhere: it shows others, too."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    return scores * ((middle - (side - 1) / 2).abs() < side / 4).all(-1)
