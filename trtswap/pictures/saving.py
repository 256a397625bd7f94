"""Write a picture with everything that its file said, as far as the new file's format has a place for it."""

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from PIL import Image

from trtswap.errors import InputError, WriteError
from trtswap.files import Target
from trtswap.pictures.picture import About, Picture, Samples, in_parts
from trtswap.pictures.png import KEPT, SIGNATURE, chunk, chunks_of

# Pillow's options by file type: what is lossy is written at a quality that shows no loss.
_SAVING: Mapping[str, Mapping[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "quality": 95, "method": 4, "exact": True},
    ".tif": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
    ".tiff": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
    ".bmp": {"format": "BMP"},
    ".gif": {"format": "GIF", "optimize": False},
    ".avif": {"format": "AVIF", "quality": 95, "subsampling": "4:4:4"},
}
SUFFIXES = tuple(_SAVING)
# What of a picture Pillow writes into which format; TIFF's own tags would be replaced by those of another file's EXIF.
_SAYS: Mapping[str, tuple[str, ...]] = {
    "PNG": ("exif", "icc_profile", "dpi"),
    "JPEG": ("exif", "icc_profile", "dpi", "xmp", "comment"),
    "WEBP": ("exif", "icc_profile", "dpi", "xmp"),
    "TIFF": ("icc_profile", "dpi"),
    "BMP": (),
    "GIF": ("comment",),
    "AVIF": ("exif", "icc_profile", "dpi", "xmp"),
}
_OPAQUE = frozenset(("JPEG", "BMP"))
_MOVING = frozenset(("GIF", "WEBP", "PNG", "AVIF"))


def check_suffix(target: Path) -> None:
    """Refuse a name that no picture is written by.

    Raises:
        InputError: names the suffixes.
    """
    if target.suffix.lower() not in _SAVING:
        raise InputError(
            f"{target}: cannot write a picture as {target.suffix or 'a file without suffix'}; expected one of "
            f"{', '.join(SUFFIXES)}. Of animations a GIF alone becomes a video."
        )


def fitted(picture: Picture, target: Path) -> Picture:
    """The picture as a file's format holds it, with a warning for each thing that it does not.

    Raises:
        InputError: the picture is an animation, and the format holds one picture.
    """
    kind = _SAVING[target.suffix.lower()]["format"]
    warnings = list(picture.warnings)
    if len(picture.samples) > 1 and kind not in _MOVING:
        raise InputError(
            f"{target}: {kind} holds one picture, the source has {len(picture.samples)}; expected .gif, .webp, .png or "
            ".avif."
        )
    if picture.about.apart and kind != "PNG":
        warnings.append(f"the picture that the animation does not show is left out: {kind} has none")
        about = replace(picture.about, apart=False, durations=picture.about.durations[1:])
        alpha = None if picture.alpha is None else picture.alpha[1:]
        picture = replace(picture, samples=picture.samples[1:], alpha=alpha, about=about)
    if picture.deep and not (kind in ("PNG", "TIFF") and len(picture.samples) == 1):
        warnings.append(f"16 bits became 8: {kind} holds no more")
        alpha = None if picture.alpha is None else _to_8(picture.alpha)
        picture = replace(picture, samples=_to_8(picture.samples), alpha=alpha)
    if picture.alpha is not None and kind in _OPAQUE:
        warnings.append(f"transparency became white: {kind} has none")
        picture = replace(picture, samples=_on_white(picture.samples, picture.alpha), alpha=None)
    return replace(picture, warnings=tuple(warnings))


def save(picture: Picture, target: Target) -> None:
    """Write a picture that is :func:`fitted`; its file gets its name when it is whole.

    Raises:
        WriteError: the format does not take its size, or the disk is full.
    """
    suffix = target.path.suffix.lower()
    try:
        if picture.deep and suffix == ".png":
            data = _deep(picture, "png")
        elif picture.deep and not (picture.gray and picture.alpha is None):
            data = _deep(picture, "tiff")
        else:
            data = _shallow(picture, suffix)
        if suffix == ".png":
            data = _with_chunks(data, picture.about)
        target.temporary.write_bytes(data)
    except Exception as error:  # encoders raise whatever comes: WebP has no pictures beyond 16,383 pixels
        raise WriteError(f"{target.path}: writing failed: {getattr(error, 'strerror', None) or error}") from error
    target.commit()


def _shallow(picture: Picture, suffix: str) -> bytes:
    """With Pillow."""
    about, options, images = picture.about, dict(_SAVING[suffix]), list(_images(picture))
    kind = options["format"]
    said = {"exif": about.exif, "icc_profile": about.profile, "dpi": about.dpi, "xmp": about.xmp,
            "comment": about.comment}  # fmt: skip
    names = ("exif",) if kind == "PNG" and about.chunks else _SAYS[kind]  # the others are among the chunks
    options |= {name: said[name] for name in names if said[name]}
    if kind == "WEBP" and about.lossless:
        options |= {"lossless": True}
    if len(images) > 1:
        durations = [round(one) for one in about.durations[about.apart :]]
        options |= {"save_all": True, "append_images": images[1:], "duration": durations}
        options |= {"default_image": True} if about.apart else {}
        options |= {} if about.loop is None else {"loop": about.loop}
        options |= {"disposal": 2} if kind == "GIF" and picture.alpha is not None else {}
    data = BytesIO()
    images[0].save(data, **options)
    return data.getvalue()


def _images(picture: Picture) -> Iterator[Image.Image]:
    for number, samples in enumerate(picture.samples):
        pixels = samples
        if picture.alpha is not None:
            pixels = np.concatenate((samples, picture.alpha[number][..., None]), -1)
        yield Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _deep(picture: Picture, codec: str) -> bytes:
    """With FFmpeg, since Pillow holds no colour of 16 bits."""
    samples, alpha = picture.samples[0], None if picture.alpha is None else picture.alpha[0]
    channels = [samples] if alpha is None else [samples, alpha[..., None]]
    if picture.gray and (codec == "tiff" and alpha is not None):
        channels[0] = np.repeat(samples, 3, -1)
    pixels = np.concatenate(channels, -1)
    name = {1: "gray16", 2: "ya16", 3: "rgb48", 4: "rgba64"}[pixels.shape[-1]]
    order = "be" if codec == "png" else "le"
    frame = av.VideoFrame(pixels.shape[1], pixels.shape[0], name + order)
    rows = np.frombuffer(memoryview(frame.planes[0]), ">u2" if order == "be" else "<u2")
    rows = rows.reshape(frame.height, -1)
    rows[:, : pixels.shape[1] * pixels.shape[-1]] = pixels.reshape(frame.height, -1)
    encoder = cast(av.VideoCodecContext, av.CodecContext.create(codec, "w"))
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, frame.format.name
    encoder.time_base = Fraction(1, 25)  # any will do
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))


def _with_chunks(data: bytes, about: About) -> bytes:
    """A PNG with what another PNG, or another kind of file, said beside its pixels."""
    chunks = list(chunks_of(data))
    extra = list(about.chunks)
    if not extra and about.profile and not any(name == b"iCCP" for name, _ in chunks):
        extra.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(about.profile)))
    if about.exif and not any(name == b"eXIf" for name, _ in chunks):
        extra.append((b"eXIf", about.exif.removeprefix(b"Exif\0\0")))
    given = {name for name, _ in extra}
    own = [(name, content) for name, content in chunks[1:] if name not in given or name not in KEPT]
    return SIGNATURE + b"".join(chunk(*one) for one in (chunks[0], *extra, *own))


def _to_8(samples: Samples) -> Samples:
    return _by_lines(lambda part: (part.astype(np.uint32) * 255 + 32_767) // 65_535, samples)


def _on_white(samples: Samples, alpha: Samples) -> Samples:
    def blend(part: Samples, share: Samples) -> Samples:
        seen: Samples = share[..., None].astype(np.uint32)
        flat: Samples = (part * seen + 255 * (255 - seen) + 127) // 255
        return flat

    return _by_lines(blend, samples, alpha)


def _by_lines(work: Callable[..., Samples], *arrays: Samples) -> Samples:
    """Made a part at a time into uint8 of the first one's shape, so that memory does not go with the whole."""
    made: Samples = np.empty(arrays[0].shape, np.uint8)
    for where in in_parts(made):
        made[where] = work(*(one[where] for one in arrays))
    return made
