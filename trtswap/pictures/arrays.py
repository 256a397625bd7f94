"""Arrays of pictures of any library as Frames, and a picture's file as an array."""

from collections.abc import Sequence
from fractions import Fraction
from os import PathLike
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.dlpack import DLDeviceType, from_dlpack

from trtswap.errors import InputError
from trtswap.limits import Limits
from trtswap.pictures.colour import as_srgb
from trtswap.pictures.opening import open_picture, refused
from trtswap.pixels.color import RGB24
from trtswap.pixels.frames import Frames
from trtswap.video.display import display_of


def read_image(picture: str | PathLike[str] | bytes, *, limits: Limits | None = None) -> Tensor:
    """Read a picture as it is meant to be seen: turned by its EXIF orientation, transparency on white.

    JPEG, PNG, WebP, GIF, TIFF, BMP, PPM, TGA, JPEG 2000, and AVIF and HEIF where Pillow has them; of an animation the
    first picture. 16-bit samples lose their low bits.

    Args:
        picture: the file, or its bytes.
        limits: what it may hold, checked before it is decoded; the defaults where None.

    Returns:
        uint8 RGB [H, W, 3].

    Raises:
        SourceError: the file is missing or no picture that can be read.
        LimitError: it has more pixels than :class:`~trtswap.limits.Limits` allow.
    """
    name = "a picture" if isinstance(picture, bytes) else picture
    with open_picture(picture, limits) as image, refused(name):
        return torch.from_numpy(np.array(_to_rgb(ImageOps.exif_transpose(image))))


def frames_from_rgb(images: Any, *, copy: bool | None = None) -> Frames:
    """Pictures as frames whose planes are views into them: pasting into the frames changes ``images``.

    Args:
        images: uint8 RGB [B, H, W, 3], as :func:`pixels_of` takes them.
        copy: give the frames memory of their own; False: never; None: where it cannot be shared.

    Raises:
        InputError: another type, shape or dtype; or ``copy`` is False, and one has to be made.
    """
    tensor = pixels_of(images, copy=copy)
    _, height, width, _ = tensor.shape
    display = display_of(width, height, Fraction(1), None)
    red, green, blue = tensor.unbind(-1)
    return Frames((red, green, blue), RGB24, display.to_tensor(), display.size)


def pixels_of(images: Any, *, copy: bool | None = None) -> Tensor:
    """The memory of pictures as a tensor, on the device where they lie.

    Every slice, step and transposition of an array shares its memory. A copy is made of lists, of arrays that are
    read-only or have negative strides, and where pixels share their memory (broadcast arrays). What speaks DLPack
    before version 1 on the host counts as read-only, since it cannot say.

    Args:
        images: uint8 RGB [B, H, W, 3]: torch, NumPy, or any DLPack or CUDA-array object (CuPy, pycuda); or a list of
            pictures of one size, each such an object [H, W, 3] or a PIL image, which is taken as it is meant to be
            seen. An object that has nothing but ``__cuda_array_interface__`` must lie in the primary context
            (``pycuda.autoprimaryctx``) and comes to PyTorch's current CUDA device; work that its interface says is
            queued is waited for, by the current stream.
        copy: give the tensor memory of its own; False: never; None: where it cannot be shared.

    Returns:
        uint8 [B, H, W, 3].

    Raises:
        InputError: another type, shape or dtype; or ``copy`` is False, and one has to be made.
    """
    listed = isinstance(images, list | tuple)
    tensor, why = (_stacked(images), "pictures of a list lie apart") if listed else _as_tensor(images, "images are")
    if tensor.dtype != torch.uint8 or tensor.ndim != 4 or tensor.shape[-1] != 3 or 0 in tensor.shape:
        empty = ", none of them 0" if 0 in tensor.shape else ""
        raise InputError(f"images are {_described(tensor)}, expected uint8 RGB [B, H, W, 3]{empty}")
    owned, shares = bool(why), _shares_pixels(tensor)
    if copy is False and (owned or shares):
        why = why or "its pixels share their memory"
        raise InputError(
            f"images are a {type(images).__name__} that has to be copied, since {why}; expected an array that can be "
            "written into as it is"
        )
    return tensor.clone(memory_format=torch.contiguous_format) if not owned and (copy or shares) else tensor


def _stacked(pictures: Sequence[Any]) -> Tensor:
    """A list of pictures [H, W, 3] as one tensor [B, H, W, 3] of its own."""
    if not pictures:
        raise InputError("images are an empty list, expected pictures")
    tensors = []
    for number, picture in enumerate(pictures):
        what = f"images[{number}] is"
        tensor = _from_pil(picture, what) if isinstance(picture, Image.Image) else _as_tensor(picture, what)[0]
        if tensor.dtype != torch.uint8 or tensor.ndim != 3 or tensor.shape[-1] != 3:
            raise InputError(f"{what} {_described(tensor)}, expected uint8 RGB [H, W, 3] in a list of pictures")
        tensors.append(tensor)
    kinds = sorted({f"{tuple(tensor.shape)} on {tensor.device}" for tensor in tensors})
    if len(kinds) > 1:
        raise InputError(f"images are a list of {', '.join(kinds)}, expected one size and device")
    return torch.stack(tensors)


def _described(tensor: Tensor) -> str:
    """Type and shape; whose array it was, the caller knows."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _from_pil(image: Image.Image, what: str) -> Tensor:
    try:
        return torch.from_numpy(np.array(_to_rgb(ImageOps.exif_transpose(image))))
    except (OSError, SyntaxError, ValueError) as error:  # files are read when their pixels are asked for
        raise InputError(f"{what} a PIL image that cannot be read: {error}") from error


def _as_tensor(images: Any, what: str) -> tuple[Tensor, str]:
    """The memory of an array of any library, where its layout and its library allow, else a copy, and why it is one.

    Args:
        images: an array of any shape and type.
        what: begins the error.
    """
    kind = type(images).__name__
    try:
        shared = _shared(images)
    except Exception as error:  # whatever somebody else's object raises
        raise InputError(f"{what} a {kind} that PyTorch does not take: {error}") from error
    if shared is None:
        raise InputError(
            f"{what} a {kind}, expected a tensor, an array, a DLPack or CUDA-array object, or a list of pictures"
        )
    tensor, _ = shared
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_nested:
        raise InputError(f"{what} a tensor of layout {tensor.layout} on {tensor.device}, expected pixels in memory")
    return shared


def _shared(images: Any) -> tuple[Tensor, str] | None:
    if isinstance(images, Tensor):
        foreign = images.is_inference() and not torch.is_inference_mode_enabled()
        return (images.clone(), "it was made in inference mode") if foreign else (images, "")
    if isinstance(images, np.ma.MaskedArray):
        raise TypeError("masked pixels have no colour")
    if isinstance(images, np.ndarray):
        return _of_numpy(images)
    if hasattr(images, "__dlpack__"):
        return _of_dlpack(images)
    if hasattr(images, "__cuda_array_interface__"):
        return _of_cuda_array(images), ""
    return None


def _of_numpy(images: "np.ndarray[Any, Any]") -> tuple[Tensor, str]:
    why = "" if images.flags.writeable else "it is read-only, or does not say otherwise"
    if min(images.strides, default=0) < 0:
        why = "its strides are negative"
    return torch.from_numpy(images.copy() if why else images), why


def _of_dlpack(images: Any) -> tuple[Tensor, str]:
    """PyTorch takes no notice of memory that is only to be read, and ends the process for negative strides."""
    if images.__dlpack_device__()[0] == DLDeviceType.kDLCPU:
        return _of_numpy(np.from_dlpack(images))
    interface = getattr(images, "__cuda_array_interface__", {})
    if min(interface.get("strides") or (), default=0) < 0:
        raise ValueError("its strides are negative; copy it first")
    tensor, (_, read_only) = from_dlpack(images), interface.get("data", (0, False))
    return (tensor.clone(), "it is read-only") if read_only else (tensor, "")


def _of_cuda_array(images: Any) -> Tensor:
    """Numba's CUDA array interface, version 3, as its documentation has it."""
    interface = images.__cuda_array_interface__
    if interface.get("mask") is not None:
        raise TypeError("masked pixels have no colour")
    if min(interface.get("strides") or (), default=0) < 0:
        raise ValueError("its strides are negative; copy it first")
    tensor = torch.as_tensor(images, device="cuda")  # without a device PyTorch would copy it to the host
    if (stream := interface.get("stream")) is not None:
        queued = torch.cuda.ExternalStream(stream, tensor.device)  # type: ignore[no-untyped-call]
        torch.cuda.current_stream(tensor.device).wait_stream(queued)
    return tensor


def _shares_pixels(tensor: Tensor) -> bool:
    return any(step == 0 and extent > 1 for step, extent in zip(tensor.stride(), tensor.shape, strict=True))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit gray, which Pillow's own conversion would clip
        levels = np.asarray(image) >> 8
        return Image.fromarray(levels.clip(0, 255, out=levels).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image if image.mode == "RGBA" else image.convert("RGBA"))
        return opaque.convert("RGB")
    return as_srgb(image)
