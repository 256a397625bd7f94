"""Open a picture's file: formats by an explicit list, limits from its header, every fault a typed error."""

import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from os import PathLike

from PIL import Image, UnidentifiedImageError

from trtswap.errors import LimitError, SourceError, TrtswapError
from trtswap.limits import Limits, check_scans

# Those whose decoders do nothing but decode. Pillow knows others: for PostScript it starts another program.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "TGA", "JPEG2000", "AVIF", "HEIF")
# Their decoders take more for a pixel than others: JPEG 2000's 100 bytes, and Ctrl-C waits for it.
_MOST_PIXELS = {"JPEG2000": 2**24}


def open_picture(picture: str | PathLike[str] | bytes, limits: Limits | None = None) -> Image.Image:
    """A picture's header, with Pillow; of the formats that are read, whatever the file is called.

    Args:
        picture: the file, or its bytes.
        limits: what it may hold; the defaults where None.

    Raises:
        SourceError: as :func:`read_image`.
        LimitError: it has more pixels than :class:`~trtswap.limits.Limits` allow.
    """
    name = f"a picture of {len(picture)} bytes" if isinstance(picture, bytes) else picture
    with refused(name):
        kind = stat.S_IFREG if isinstance(picture, bytes) else os.stat(picture).st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise SourceError(f"{name}: is a pipe, a socket or a device, expected a file")
    with refused(name):
        Image.init()
        file = BytesIO(picture) if isinstance(picture, bytes) else picture
        image = Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN])
    try:
        pixels = image.width * image.height
        (limits or Limits()).check("pixels", pixels, name)
        if pixels > (most := _MOST_PIXELS.get(image.format or "", pixels)):
            raise LimitError(
                f"{name}: has {pixels:,} pixels, as {image.format} at most {most:,} are taken. Save it as PNG."
            )
        if image.format in ("JPEG", "MPO"):
            _check_scans(picture, name)
    except LimitError:
        image.close()
        raise
    return image


def _check_scans(picture: str | PathLike[str] | bytes, name: object) -> None:
    if isinstance(picture, bytes):
        check_scans(picture, name)
        return
    with open(picture, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        check_scans(data, name)


@contextmanager
def refused(path: object) -> Iterator[None]:
    """Whatever goes wrong with a stranger's picture becomes a SourceError."""
    try:
        yield
    except TrtswapError:
        raise
    except FileNotFoundError as error:
        raise SourceError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise SourceError(f"{path}: is a folder, expected a picture") from error
    except UnidentifiedImageError as error:
        raise SourceError(f"{path}: not a picture that can be read, expected JPEG, PNG, WebP or the like") from error
    # The warning is raised where a program makes warnings errors.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LimitError(f"{path}: has more pixels than Pillow takes: {error}") from error
    except Exception as error:  # decoders of damaged pictures raise whatever comes
        raise SourceError(f"{path}: the picture cannot be read: {error or type(error).__name__}") from error
