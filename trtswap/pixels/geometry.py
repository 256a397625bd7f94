"""Landmark templates, similarity transforms between them and faces, and 2-D affine algebra.

Convention: points are (x, y), x right, y down, pixel centres at integers, so that the corner of the first
pixel is (-0.5, -0.5). A transform is [2, 3] and maps source points to destination points as OpenCV's
``warpAffine`` takes it: ``p' = A p + t``. ``tests/trtswap/pixels/test_geometry.py`` pins this against OpenCV.
"""

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor


@dataclass(frozen=True)
class Template:
    """Where five landmarks lie in an aligned square crop.

    Attributes:
        size: side of the square that the points are given for, pixels.
        points: right eye, left eye, nose, right and left mouth corner, (x, y) each.
    """

    size: int
    points: tuple[tuple[float, float], ...]

    def scaled(self, size: int) -> Tensor:
        """The points for a crop of another size: float32 [5, 2]."""
        return torch.tensor(self.points, dtype=torch.float32) * (size / self.size)


# arcface_112_v1 and its four turned companions: SimSwap's pose templates; arcface_112_v2: insightface; arcface_128: the
# same with 8 pixels more on each side; mtcnn_512: of HifiFace; ffhq_512: FFHQ alignment; mesh_192: where YuNet's points
# lie, on average and symmetric, in the square that MediaPipe's face mesh is given: the mesh's own box, upright, 1.5
# times as large (138 frames of a speaker, after three rounds from the mesh's own points).
TEMPLATES = MappingProxyType(
    {
        "arcface_112_v1": Template(
            112, ((39.730, 51.138), (72.270, 51.138), (56.000, 68.493), (42.463, 87.010), (69.537, 87.010))
        ),
        "arcface_112_v1_right": Template(
            112, ((45.031, 50.118), (65.568, 50.872), (39.677, 68.111), (45.177, 86.190), (64.246, 86.758))
        ),
        "arcface_112_v1_far_right": Template(
            112, ((51.642, 50.115), (57.617, 49.990), (35.740, 69.007), (51.157, 89.050), (57.025, 89.702))
        ),
        "arcface_112_v1_left": Template(
            112, ((46.845, 50.872), (67.382, 50.118), (72.737, 68.111), (48.167, 86.758), (67.236, 86.190))
        ),
        "arcface_112_v1_far_left": Template(
            112, ((54.796, 49.990), (60.771, 50.115), (76.673, 69.007), (55.388, 89.702), (61.257, 89.050))
        ),
        "arcface_112_v2": Template(
            112, ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
        ),
        "arcface_128": Template(
            128, ((46.2946, 51.6963), (81.5318, 51.5014), (64.0252, 71.7366), (49.5493, 92.3655), (78.7299, 92.2041))
        ),
        "mtcnn_512": Template(
            512,
            (
                (187.20187, 239.27705),
                (324.12360, 238.51973),
                (256.09793, 317.14795),
                (199.84871, 397.30597),
                (313.23620, 396.67880),
            ),
        ),
        "mesh_192": Template(192, ((69.0, 74.5), (122.0, 74.5), (95.5, 105.0), (73.3, 125.5), (117.7, 125.5))),
        "ffhq_512": Template(
            512,
            (
                (192.98138, 239.94708),
                (318.90277, 240.1936),
                (256.63416, 314.01935),
                (201.26117, 371.41043),
                (313.08905, 371.15118),
            ),
        ),
    }
)


def similarity(src: Tensor, dst: Tensor) -> Tensor:
    """Least-squares similarity (rotation, uniform scale, shift) that maps points onto points.

    The closed form of Umeyama (1991) for two dimensions without reflection: with centred points as complex
    numbers p, q the best factor is sum(conj(p) q) / sum(|p|^2). No SVD, no iteration, differentiable.

    Args:
        src: float [N, P, 2], P >= 2 points, finite and not all equal: those that are have no similarity, and come out
            as NaN. The detector drops such faces (:func:`trtswap.faces.detect.alignable`).
        dst: float [N, P, 2] or [P, 2].

    Returns:
        float [N, 2, 3], from src to dst.
    """
    dst = dst.expand_as(src)
    src_mean, dst_mean = src.mean(1, keepdim=True), dst.mean(1, keepdim=True)
    p, q = src - src_mean, dst - dst_mean
    norm = p.square().sum((1, 2))
    a = (p * q).sum((1, 2)) / norm
    b = (p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]).sum(1) / norm
    linear = torch.stack([torch.stack([a, -b], -1), torch.stack([b, a], -1)], -2)
    shift = dst_mean - src_mean @ linear.mT
    return torch.cat([linear, shift.mT], -1)


def align(landmarks: Tensor, templates: tuple[str, ...], size: int) -> Tensor:
    """Transforms from the frame to aligned square crops.

    With several templates each face takes the one that its landmarks fit best (least sum of distances in
    the crop, as SimSwap's 224 path does with five poses).

    Args:
        landmarks: float [N, 5, 2], frame pixels.
        templates: names in ``TEMPLATES``.
        size: side of the crop, pixels.

    Returns:
        float [N, 2, 3], frame to crop.
    """
    points = torch.stack([TEMPLATES[name].scaled(size) for name in templates]).to(landmarks)
    fits = torch.stack([similarity(landmarks, p) for p in points])  # [T, N, 2, 3]
    if len(templates) == 1:
        return fits[0]
    # Distances, not their squares, as SimSwap's estimate_norm has it: with squares one face in 28 takes another pose.
    error = (transform_points(fits, landmarks) - points[:, None]).square().sum(-1).sqrt().sum(-1)
    return fits[error.argmin(0), torch.arange(landmarks.shape[0], device=landmarks.device)]


def transform_points(transform: Tensor, points: Tensor) -> Tensor:
    """Apply transforms [..., 2, 3] to points [..., P, 2]; leading dimensions broadcast."""
    return points @ transform[..., :2].mT + transform[..., None, :, 2]


def compose(after: Tensor, before: Tensor) -> Tensor:
    """The transform that does ``before``, then ``after``; any leading dimensions."""
    linear = after[..., :2] @ before[..., :2]
    shift = after[..., :2] @ before[..., 2:] + after[..., 2:]
    return torch.cat([linear, shift], -1)


def invert(transform: Tensor) -> Tensor:
    """Inverse of [..., 2, 3], in closed form (no solver call, so the same on every device)."""
    (a, b, c), (d, e, f) = (transform[..., i, :].unbind(-1) for i in (0, 1))
    det = a * e - b * d
    a, b, d, e = e / det, -b / det, -d / det, a / det
    rows = torch.stack([a, b, -(a * c + b * f), d, e, -(d * c + e * f)], -1)
    return rows.view(*rows.shape[:-1], 2, 3)


def identity_transform(device: torch.device | str = "cpu") -> Tensor:
    """float32 [2, 3] that changes nothing."""
    return torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], device=device)


def scale_of(transform: Tensor) -> Tensor:
    """Geometric mean of the magnification of [..., 2, 3]: destination pixels per source pixel."""
    linear = transform[..., :2]
    det = linear[..., 0, 0] * linear[..., 1, 1] - linear[..., 0, 1] * linear[..., 1, 0]
    return det.abs().sqrt()
