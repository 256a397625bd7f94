"""A picture's file taken apart, so that it can be put together again with nothing but its faces changed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import accumulate
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from trtswap.errors import SourceError
from trtswap.limits import Limits
from trtswap.pictures.colour import as_srgb, srgb_profile
from trtswap.pictures.opening import open_picture, refused
from trtswap.pictures.png import kept_chunks
from trtswap.pictures.webp import is_lossless
from trtswap.pixels.color import RGB24, PixelFormat
from trtswap.pixels.frames import Frames
from trtswap.video.display import DisplayMatrix, display_of

Samples: TypeAlias = npt.NDArray[Any]

# Of 16 bits, frames hold 15: their planes are int16.
_DEEP = PixelFormat("gbrp15", bits=15)
_GRAY_MODES = ("1", "L", "LA", "La", "I")
_DIRECT = ("RGB", "RGBA", "L", "LA", "P", "PA", "1")
# What becomes of pixels that are neither gray nor RGB.
_MODES = {"F": "32-bit floating point: it became 8 bits", "I": "of 32 bits: it became 8"}
_ORIENTATION = 0x0112
_LUMA = np.array([19_595, 38_470, 7_471])  # 0.299, 0.587, 0.114 of 2^16
_LINES = 512
_MOST_DPI, _MOST_MILLISECONDS, _MOST_PLAYS = 1e5, 600_000, 65_535
# EXIF 3.0, 4.6.4 A, as matrices of ISO/IEC 14496-12: x' = a x + c y, y' = b x + d y.
_TURNS: Mapping[int, tuple[int, int, int, int]] = {
    2: (-1, 0, 0, 1), 3: (-1, 0, 0, -1), 4: (1, 0, 0, -1), 5: (0, 1, 1, 0), 6: (0, 1, -1, 0), 7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}  # fmt: skip


@dataclass(frozen=True)
class About:
    """What a picture's file says beside its pixels.

    Attributes:
        exif: EXIF without the thumbnail, which would show the old face; empty where there is none.
        profile: an ICC profile that fits the pixels.
        dpi: pixels per inch, (x, y).
        xmp: as bytes.
        comment: of a JPEG or GIF.
        chunks: of a PNG, which stand beside its pixels: (name, contents).
        durations: how long each picture of an animation is shown, milliseconds.
        loop: how often an animation is played, 0 for ever; None: once, without being said.
        apart: the first picture is no part of the animation: an APNG's, for viewers that know no animations.
        lossless: a WebP whose pixels are kept to the bit.
    """

    exif: bytes = b""
    profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    xmp: bytes | None = None
    comment: bytes | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    durations: tuple[float, ...] = ()
    loop: int | None = None
    apart: bool = False
    lossless: bool = False


@dataclass(frozen=True)
class Picture:
    """One picture, or the F pictures of an animation.

    Attributes:
        samples: as the file has them, not turned: uint8 or uint16 [F, H, W, 3] RGB, or [F, H, W, 1] for gray.
        alpha: the same type [F, H, W], 0 is transparent; None: opaque.
        turn: how it is to be seen, from its EXIF orientation.
        about: everything else.
        warnings: what could not be kept, one sentence each.
    """

    samples: Samples
    alpha: Samples | None
    turn: DisplayMatrix | None
    about: About
    warnings: tuple[str, ...] = field(default=())

    @property
    def gray(self) -> bool:
        return int(self.samples.shape[-1]) == 1

    @property
    def deep(self) -> bool:
        """It has 16 bits."""
        return self.samples.dtype == np.uint16

    def frames(self) -> Frames:
        """As frames with memory of their own: RGB of 8 bits, or the upper 15 of 16."""
        samples = (self.samples >> 1).astype(np.int16) if self.deep else self.samples
        planes = [torch.from_numpy(samples[..., channel % samples.shape[-1]].copy()) for channel in range(3)]
        _, height, width, _ = samples.shape
        display = display_of(width, height, Fraction(1), self.turn)
        durations = tuple(round(one * 1000) for one in self.about.durations) or (0,) * len(samples)
        pts = tuple(accumulate(durations[:-1], initial=0))
        return Frames(
            (planes[0], planes[1], planes[2]), _DEEP if self.deep else RGB24, display.to_tensor(), display.size,
            pts, durations, Fraction(1, 1_000_000),
        )  # fmt: skip

    def with_frames(self, frames: Frames) -> "Picture":
        """The same picture with the pixels of frames that differ; all others are to the bit what they were."""
        samples = self.samples.copy()
        planes = [plane.cpu().numpy() for plane in frames.planes]
        for where in in_parts(samples):
            part, new = samples[where], np.stack([plane[where] for plane in planes], -1)
            changed = (new != (part >> 1 if self.deep else part)).any(-1)
            part[changed] = self._samples_of(new[changed])
        return replace(self, samples=samples)

    def _samples_of(self, pixels: Samples) -> Samples:
        """Pixels [K, 3] of frames as samples [K, 3 or 1] of the picture."""
        whole: Samples = pixels.astype(np.int64)
        if self.deep:
            whole = (whole << 1) | (whole >> 14)
        if self.gray:  # of Rec. 601, as Pillow makes gray
            whole = (whole @ _LUMA + 32_768 >> 16)[:, None]
        return whole.astype(self.samples.dtype)


def in_parts(samples: Samples) -> Iterator[tuple[int, slice]]:
    """Where the lines [F, H] of pictures lie, some at a time, so that memory for work does not go with the whole."""
    for number, picture in enumerate(samples):
        for first in range(0, len(picture), _LINES):
            yield number, slice(first, first + _LINES)


def read_picture(path: str | PathLike[str], limits: Limits | None = None) -> Picture:
    """Read a picture's file, whole.

    Colours of CMYK, CIELAB and the like go through their ICC profile, or a plain conversion, to sRGB.

    Args:
        path: the file.
        limits: what it may hold, checked before it is decoded; for an animation the pixels of all pictures together.

    Raises:
        SourceError: it is missing or no picture that can be read.
        LimitError: it has more pixels than ``limits`` allow.
    """
    limits = limits or Limits()
    with open_picture(path, limits) as image, refused(path):
        deep = _is_deep(image)  # asked first: an image that is loaded does not tell any more
        count = getattr(image, "n_frames", 1) if image.format not in ("MPO", "TIFF") else 1
        limits.check("pixels", image.width * image.height * count, path)
        about, warnings = _about(image), list[str]()
        if image.format == "WEBP":
            about = replace(about, lossless=is_lossless(Path(path)))
        if image.format == "PNG":
            about = replace(about, chunks=kept_chunks(Path(path).read_bytes()))
        if image.format in ("MPO", "TIFF") and getattr(image, "n_frames", 1) > 1:
            warnings.append(f"{path} holds {image.n_frames} pictures: the first was taken")  # type: ignore[attr-defined]
        orientation = image.getexif().get(_ORIENTATION, 1)
        if deep:
            samples, alpha = _read_deep(path, image)
            return Picture(samples, alpha, _matrix(orientation), about, tuple(warnings))
        if image.mode not in _DIRECT:
            about = replace(about, profile=srgb_profile())
            warnings.append(f"{path} is {_MODES.get(image.mode, f'{image.mode}: its colours became sRGB')}")
        samples, alpha, durations = _all_pictures(image, count, path)
        if count > 1:
            apart = image.format == "PNG" and bool(image.info.get("default_image"))
            about = replace(about, durations=durations, loop=_loop(image), apart=apart)
        return Picture(samples, alpha, _matrix(orientation), about, tuple(warnings))


def _all_pictures(image: Image.Image, count: int, path: object) -> tuple[Samples, Samples | None, tuple[float, ...]]:
    """Samples [F, H, W, 3 or 1], alpha [F, H, W], and milliseconds of each where there are several."""
    size, pictures, durations = image.size, [], []
    for number in range(count):
        image.seek(number)
        if image.size != size:  # Pillow makes a GIF's canvas grow, beyond what was checked
            raise SourceError(f"{path}: its pictures have several sizes, expected {size[0]}x{size[1]} throughout")
        pictures.append(_taken_apart(image, gray=image.mode in _GRAY_MODES and count == 1))
        durations.append(min(max(float(image.info.get("duration") or 0), 0), _MOST_MILLISECONDS))
    alpha = None
    if any(one is not None for _, one in pictures):
        opaque = np.full(pictures[0][0].shape[:2], 255, np.uint8)
        alpha = np.stack([opaque if one is None else one for _, one in pictures])
    return np.stack([one for one, _ in pictures]), alpha, tuple(durations) if count > 1 else ()


def _loop(image: Image.Image) -> int | None:
    loop = image.info.get("loop")
    return min(max(loop, 0), _MOST_PLAYS) if isinstance(loop, int) else None


def _about(image: Image.Image) -> About:
    info = image.info
    exif = image.getexif()  # written anew it has no thumbnail
    return About(
        exif=exif.tobytes() if exif else b"",
        profile=_as_bytes(info.get("icc_profile")),
        dpi=_dpi(info.get("dpi")),
        xmp=_as_bytes(info.get("xmp")),
        comment=_as_bytes(info.get("comment")),
    )


def _as_bytes(value: Any) -> bytes | None:
    """What Pillow found, whose type is the file's to say."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return value if isinstance(value, bytes) else None


def _dpi(value: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(one) for one in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < _MOST_DPI and 0 < y < _MOST_DPI else None


def _matrix(orientation: Any) -> DisplayMatrix | None:
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return None if turn is None else (turn[0], turn[1], 0, turn[2], turn[3], 0, 0, 0, 1)


def _taken_apart(image: Image.Image, *, gray: bool) -> tuple[Samples, Samples | None]:
    """Samples uint8 [H, W, 3 or 1] and alpha [H, W] of the picture that an image shows at this moment."""
    if image.mode not in _DIRECT:
        return np.array(as_srgb(image)), None
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        pixels = np.array(image.convert("RGBA"))
        samples, alpha = pixels[..., :1] if gray else pixels[..., :3], pixels[..., 3]
        return samples, alpha
    pixels = np.array(image.convert("L" if gray else "RGB"))
    return (pixels[..., None] if gray else pixels), None


def _is_deep(image: Image.Image) -> bool:
    """It has 16 bits a sample, of which Pillow shows 8 wherever there is colour or transparency."""
    modes = [image.mode, *(str(tile.args) for tile in getattr(image, "tile", ()))]
    return image.format in ("PNG", "TIFF", "PPM") and any(";16" in mode for mode in modes)


def _read_deep(path: str | PathLike[str], image: Image.Image) -> tuple[Samples, Samples | None]:
    """Samples uint16 [1, H, W, 3 or 1] and alpha [1, H, W]."""
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.uint16)[None, ..., None], None
    demuxer = {"PNG": "png_pipe", "TIFF": "tiff_pipe", "PPM": "ppm_pipe"}[image.format or ""]
    with open(path, "rb") as file, av.open(file, "r", format=demuxer) as container:
        frame = next(container.decode(video=0))
    name = frame.format.name
    if (frame.width, frame.height) != image.size or ("16" not in name and not name.startswith(("rgb48", "rgba64"))):
        raise SourceError(f"{path}: has 16 bits in a form that cannot be read ({name})")
    pixels = frame.to_ndarray(format="rgba64le")
    gray, transparent = name.startswith(("gray", "ya")), any(c.is_alpha for c in frame.format.components)
    return pixels[None, ..., : 1 if gray else 3], pixels[None, ..., 3] if transparent else None
