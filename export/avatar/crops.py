"""Aligned crops of many renders at once, as the runtime cuts them, with the errors that a detector makes."""

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.pixels.geometry import align, invert

IDENTIFY, CANVAS = ("arcface_112_v1",), ("ffhq_512",)
# The standard deviation of found landmarks about the true ones, as a share of the distance between the eyes.
LANDMARK_NOISE = 0.035


def noisy(landmarks: Tensor, generator: torch.Generator, amount: float = LANDMARK_NOISE) -> Tensor:
    """Landmarks [N, 5, 2] as a detector would find them."""
    eyes = (landmarks[:, 1] - landmarks[:, 0]).norm(dim=-1).clamp(min=8.0)
    return landmarks + torch.randn(landmarks.shape, generator=generator) * (amount * eyes)[:, None, None]


def cut(images: Tensor, transforms: Tensor, size: int, *, oversample: int = 1, mode: str = "bilinear") -> Tensor:
    """Crops of images.

    Args:
        images: float32 [N, C, H, W].
        transforms: float32 [N, 2, 3], picture pixel -> crop pixel.
        size: side of the crops, pixels.
        oversample: samples per pixel and axis; 2 where the crop is smaller than the face, against aliasing.

    Returns:
        float32 [N, C, size, size]; outside the pictures their edge is repeated.
    """
    count = size * oversample
    axis = (torch.arange(count, dtype=torch.float32) + 0.5) / oversample - 0.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1).view(1, -1, 3) @ invert(transforms).mT
    high, wide = images.shape[2:]
    scale = torch.tensor([2.0 / wide, 2.0 / high])
    grid = ((points + 0.5) * scale - 1).view(len(images), count, count, 2)
    crops = F.grid_sample(images, grid, mode=mode, padding_mode="border", align_corners=False)
    return F.avg_pool2d(crops, oversample) if oversample > 1 else crops


def identify_transforms(landmarks: Tensor, size: int) -> Tensor:
    """Picture to the crop that the identity network sees, [N, 2, 3]."""
    return align(landmarks, IDENTIFY, size)


def canvas_transforms(landmarks: Tensor, size: int) -> Tensor:
    """Picture to canvas, or to the swap's crop, which is a small canvas, [N, 2, 3].

    The template of the identity network ends above the chin, where a swap would leave the target's own.
    """
    return align(landmarks, CANVAS, size)


def pictures(images: Tensor) -> Tensor:
    """uint8 to float32 0..1."""
    return images.float() / 255


def recoloured(images: Tensor, generator: torch.Generator, amount: float = 0.1) -> Tensor:
    """Each picture under another exposure, white balance and contrast."""
    n = len(images)
    gain = 1 + amount * torch.randn(n, 3, 1, 1, generator=generator) * 0.5
    gain = gain * (1 + amount * torch.randn(n, 1, 1, 1, generator=generator))
    gamma = torch.exp(amount * torch.randn(n, 1, 1, 1, generator=generator))
    return (images.clamp(1e-4, 1) ** gamma * gain).clamp(0, 1)


def mirrored(crops: Tensor, where: Tensor) -> Tensor:
    """Crops [N, C, S, S], those where bool [N] is True mirrored left to right; laid out for a CPU's kernels."""
    turned = torch.where(where[:, None, None, None], crops.flip(-1), crops)
    return turned.contiguous(memory_format=torch.channels_last)


def covered(crops: Tensor, generator: torch.Generator) -> Tensor:
    """Crops [N, C, S, S] with a grey rectangle of up to half their width and height at a random place of each."""
    size = crops.shape[-1]
    low = torch.rand(len(crops), 2, generator=generator) * size
    high = low + torch.rand(len(crops), 2, generator=generator) * size / 2
    axis = torch.arange(size)
    inside = (axis >= low[..., None]) & (axis < high[..., None])
    hidden = inside[:, 0, :, None] & inside[:, 1, None, :]
    return torch.where(hidden[:, None], 0.5, crops)
