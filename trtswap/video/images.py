"""Pictures from files, and arrays of pictures as Frames."""

from fractions import Fraction
from os import PathLike
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from trtswap.errors import InputError, SourceError
from trtswap.pixels.color import RGB24
from trtswap.pixels.frames import Frames
from trtswap.video.display import display_of


def read_image(path: str | PathLike[str]) -> Tensor:
    """Read a picture as it is meant to be seen: turned by its EXIF orientation, transparency on white.

    Any file that Pillow reads; of an animation the first picture. 16-bit samples lose their low bits.

    Returns:
        uint8 RGB [H, W, 3].

    Raises:
        SourceError: the file is missing or no picture that can be read.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            pixels = np.array(_to_rgb(upright))
    except FileNotFoundError as error:
        raise SourceError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise SourceError(f"{path}: is a folder, expected a picture") from error
    except UnidentifiedImageError as error:
        raise SourceError(f"{path}: not a picture that can be read, expected JPEG, PNG, WebP or the like") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SourceError(f"{path}: the picture cannot be read: {error}") from error
    return torch.from_numpy(pixels)


def frames_from_rgb(images: Any, *, copy: bool = False) -> Frames:
    """Pictures as frames whose planes are views into them: pasting into the frames changes ``images``.

    Args:
        images: uint8 RGB [B, H, W, 3]: torch, NumPy, or any DLPack or CUDA-array object; stays on its device.
        copy: give the frames memory of their own.

    Raises:
        InputError: another type, shape or dtype.
    """
    tensor = _as_tensor(images)
    if tensor.dtype != torch.uint8 or tensor.ndim != 4 or tensor.shape[-1] != 3:
        raise InputError(f"images are {tensor.dtype} {tuple(tensor.shape)}, expected uint8 RGB [B, H, W, 3]")
    if copy:
        tensor = tensor.clone()
    _, height, width, _ = tensor.shape
    display = display_of(width, height, Fraction(1), None)
    red, green, blue = tensor.unbind(-1)
    return Frames((red, green, blue), RGB24, display.to_tensor(), display.size)


def _as_tensor(images: Any) -> Tensor:
    if isinstance(images, np.ndarray) and not (images.flags.writeable and min(images.strides, default=0) >= 0):
        images = images.copy()  # torch has neither read-only memory nor negative strides
    try:
        if hasattr(images, "__dlpack__") and not isinstance(images, Tensor | np.ndarray):
            return from_dlpack(images)
        return torch.as_tensor(images)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"images are a {type(images).__name__}, expected a tensor, an array, or a DLPack or CUDA-array object"
        ) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit gray, which Pillow's own conversion would clip
        levels = np.asarray(image).astype(np.int64)
        return Image.fromarray((levels >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    return image.convert("RGB")
