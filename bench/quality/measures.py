"""What is measured of a swapped picture. Pictures are float32 RGB [3, H, W], 0..1."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from kornia.metrics import ssim
from torch import Tensor

from trtswap.canvas.parse import FACE, MOUTH


def mask_of(labels: Tensor, classes: Sequence[int]) -> Tensor:
    """bool, of labels uint8 [..., H, W]."""
    return torch.isin(labels, torch.tensor(classes, dtype=labels.dtype))


def face_area(target: Tensor, truth: Tensor) -> Tensor:
    """Where both the scene and its truth show the face: bool [H, W]."""
    return mask_of(target, FACE) & mask_of(truth, FACE)


def psnr(a: Tensor, b: Tensor, area: Tensor) -> float:
    """Peak signal to noise ratio over an area bool [H, W], dB; 100 where there is no difference."""
    error = float((a - b)[:, area].square().mean())
    return 100.0 if error == 0 else -10 * float(torch.tensor(error).log10())


def similarity(a: Tensor, b: Tensor, area: Tensor) -> float:
    """Structural similarity (Wang et al. 2004, window of 11), mean over an area."""
    return float(ssim(a[None], b[None], 11)[0].mean(0)[area].mean())


def sharpness(made: Tensor, truth: Tensor, area: Tensor) -> float:
    """How steep colours are in an area, over the same of the truth: below 1 is softer. What is sharp may be wrong."""
    return float(_slope(made)[area].mean() / _slope(truth)[area].mean())


def mouth_error(made: Tensor, target: Tensor, labels: Tensor) -> float | None:
    """Mean difference from the target's own teeth and tongue, which show what it says, 0..1; None without them."""
    mouth = mask_of(labels, MOUTH)
    if int(mouth.sum()) < 30:
        return None
    return float((made - target)[:, mouth].abs().mean())


def landmark_error(found: Tensor, wanted: Tensor) -> float:
    """Mean distance of landmarks [5, 2], as a share of the distance between the wanted eyes."""
    return float((found - wanted).norm(dim=-1).mean() / (wanted[1] - wanted[0]).norm())


def edge_visibility(made: Tensor, truth: Tensor, labels: Tensor) -> float:
    """How much steeper colours are along the face's border than in the truth: mean of the excess, levels of 255.

    A seam is a step that the truth does not have.
    """
    face = mask_of(labels, FACE).float()[None, None]
    ring = (F.max_pool2d(face, 7, 1, 3) - (-F.max_pool2d(-face, 7, 1, 3)))[0, 0] > 0.5
    excess = (_slope(made) - _slope(truth)).clamp(min=0)
    return float(excess[ring].mean()) * 255


def _slope(picture: Tensor) -> Tensor:
    gray = picture.mean(0)
    dx = F.pad(gray[:, 1:] - gray[:, :-1], (0, 1))
    dy = F.pad(gray[1:] - gray[:-1], (0, 0, 0, 1))
    return (dx * dx + dy * dy).sqrt()


def mean_overlap(found: Tensor, truth: Tensor, classes: int) -> tuple[float, dict[int, float]]:
    """Intersection over union of labels [N, H, W], per class over all pictures, and its mean over present classes."""
    pairs = truth.flatten().long() * classes + found.flatten().long()
    table = torch.bincount(pairs, minlength=classes * classes).view(classes, classes).float()
    both = table.diagonal()
    either = table.sum(0) + table.sum(1) - both
    per_class = {c: float(both[c] / either[c]) for c in range(classes) if table[c].sum() > 0}
    return sum(per_class.values()) / len(per_class), per_class


def average_precision(scores: Tensor, correct: Tensor, faces: int) -> float:
    """Area under precision over recall, all points (as in PASCAL VOC 2010).

    Args:
        scores: of all detections [M].
        correct: bool [M], whether each found a face that no better one had found.
        faces: how many there were.
    """
    order = scores.argsort(descending=True, stable=True)
    hits = correct[order].float().cumsum(0)
    precision = hits / torch.arange(1, len(hits) + 1)
    recall = hits / faces
    best = precision.flip(0).cummax(0).values.flip(0)
    steps = torch.diff(recall, prepend=torch.zeros(1))
    return float((best * steps).sum())


def flicker(made: Tensor, truth: Tensor, area: Tensor) -> float:
    """Difference of temporal differences from the truth's, levels of 255, mean over an area.

    Args:
        made, truth: two frames each, [2, 3, H, W].
        area: bool [H, W].
    """
    return float(((made[1] - made[0]) - (truth[1] - truth[0]))[:, area].abs().mean()) * 255
