"""Readers of other libraries, which give frames by number, as RGB: what they cannot do is refused, never guessed.

PyAV reads the headers and every packet's time; the other library decodes. What it gives is turned back into the planes
that the decoder had, so that everything after it is the same as with PyAV. The way over 8-bit RGB costs up to two code
values everywhere in the picture, and more where RGB could not hold a colour.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.errors import ReadError
from trtswap.limits import Limits
from trtswap.pixels.color import PixelFormat, planes_from_rgb
from trtswap.pixels.frames import Frames
from trtswap.video.hdr import hdr_warnings
from trtswap.video.info import Loss, VideoInfo
from trtswap.video.probe import open_input, video_stream
from trtswap.video.reader import VideoReader


class RgbReader(ABC):
    """Decode with another library. See :class:`~trtswap.video.reader.Reader` for the attributes.

    Args:
        path: the video.
        batch_size, start, end, device, limits: as :class:`~trtswap.video.reader.VideoReader` has them.

    Raises:
        InputError: ``batch_size``, ``start`` or ``end`` make no sense.
        ReadError: the file cannot be read, or this library would get it wrong.
    """

    library: ClassVar[str]
    """Name of the library, for messages."""
    level: ClassVar[float] = 0.0
    """What its RGB is too dark by on average, code values of 8 bits."""

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        batch_size: int = 8,
        start: float | None = None,
        end: float | None = None,
        device: torch.device | str = "cpu",
        limits: Limits | None = None,
    ) -> None:
        self.path = Path(path)
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.loss: Loss | None = None
        self.corrupt_frames = self.damaged_packets = 0
        with VideoReader(path, batch_size=batch_size, start=start, end=end, limits=limits) as headers:
            self.info: VideoInfo = headers.info
        self.warnings = [f"{self.library} decodes to 8-bit RGB: the whole picture may change by two code values"]
        self.warnings += hdr_warnings(self.info.pixel_format)
        self._check()
        times = frame_times(self.path)
        self._times = times
        origin = self.info.origin
        low, high = (None if t is None else round((origin + Fraction(t)) / self.info.time_base) for t in (start, end))
        self._wanted = [
            n for n, (pts, _) in enumerate(times) if (low is None or pts >= low) and (high is None or pts < high)
        ]
        found = self._open()
        if found != len(times):
            self.close()
            self._refuse(f"it counts {found} frames where the file has {len(times)}")

    @abstractmethod
    def _open(self) -> int:
        """Open the file; gives back how many frames the library counts.

        Raises:
            ReadError: the library is not installed, or cannot open it.
        """

    @abstractmethod
    def _rgb(self, numbers: list[int]) -> Tensor:
        """Frames of these numbers, rising by one: uint8 RGB [B, H, W, 3].

        Raises:
            ReadError: they cannot be decoded.
        """

    @abstractmethod
    def close(self) -> None:
        """Free decoder and file; safe to call twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frames]:
        for first in range(0, len(self._wanted), self.batch_size):
            numbers = self._wanted[first : first + self.batch_size]
            rgb = self._rgb(numbers)
            expected = (len(numbers), self.info.height, self.info.width, 3)
            if tuple(rgb.shape) != expected:
                self._refuse(f"it gave pictures of shape {tuple(rgb.shape)}, expected {expected}")
            yield self._frames(rgb.to(self.device), numbers)

    def _frames(self, rgb: Tensor, numbers: list[int]) -> Frames:
        fmt = self.info.pixel_format
        # What the library's own conversion used: the tag's matrix, and BT.601 without one.
        used = replace(fmt, matrix=self.info.color.matrix_name(0) or fmt.matrix)
        return Frames(
            planes=planes_of(rgb, used, self.level),
            format=fmt,
            to_display=self.info.display.to_tensor(),
            display_size=self.info.display_size,
            pts=tuple(self._times[n][0] for n in numbers),
            durations=tuple(self._times[n][1] for n in numbers),
            time_base=self.info.time_base,
        )

    def _check(self) -> None:
        """Refuse what these libraries get wrong without a word."""
        info, fmt = self.info, self.info.pixel_format
        if info.container == "mpegts":
            self._refuse("it loses the frames before the first seek point of MPEG-TS files and repeats the last")
        if has_edit_list(self.path):
            self._refuse("it ignores the file's edit list and would show frames that are cut out")
        if fmt.bits != 8 or fmt.matrix == "rgb" or fmt.name.startswith("gray"):
            self._refuse(f"it gives 8-bit RGB, and the video is {fmt.name}")
        if info.interlaced:
            self._refuse("the video is interlaced")
        if info.display.matrix is not None:
            self._refuse("the video is stored rotated or mirrored")

    def _refuse(self, why: str) -> None:
        raise ReadError(f"{self.path}: {self.library} cannot read this file: {why}. Use the reader pyav.")


def frame_times(path: Path) -> list[tuple[int, int]]:
    """(pts, duration) of every frame, in the order of presentation, from the packets; nothing is decoded.

    Raises:
        ReadError: a packet has no pts, or two have the same.
    """
    with open_input(path) as container:
        stream = video_stream(container, path)
        found = sorted((p.pts, p.duration or 0) for p in container.demux(stream) if p.size and p.pts is not None
                       and not p.is_discard)  # fmt: skip
    if len({pts for pts, _ in found}) != len(found):
        raise ReadError(f"{path}: two frames have the same time, expected different ones. Use the reader pyav.")
    gaps = [later - pts for (pts, _), (later, _) in pairwise(found)]
    return [(pts, duration or gap) for (pts, duration), gap in zip(found, [*gaps, 1], strict=True)]


def has_edit_list(path: Path) -> bool:
    """The file says that some of its coded frames are not to be shown."""
    with open_input(path) as container:
        return any(entry.is_discard for entry in video_stream(container, path).index_entries)


def planes_of(rgb: Tensor, fmt: PixelFormat, level: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Y'CbCr planes, 8 bit, of RGB pictures: the inverse of a conversion that gave each chroma sample to its pixels.

    Args:
        rgb: uint8 [B, H, W, 3].
        fmt: matrix, range and subsampling of the planes.
        level: is added to RGB, code values of 8 bits.

    Returns:
        uint8 Y [B, H, W], and U, V [B, h, w].
    """
    matrix, offset = planes_from_rgb(fmt, rgb.device)
    step = (1 << fmt.chroma_shift[1], 1 << fmt.chroma_shift[0])
    outs: list[list[Tensor]] = [[], [], []]
    for picture in rgb:
        values = picture.permute(2, 0, 1).flatten(1).float().add_(level).div_(255)
        planes = torch.addmm(offset[:, None], matrix, values).view(3, *picture.shape[:2])
        chroma = F.avg_pool2d(planes[1:], step, ceil_mode=True, count_include_pad=False)
        for out, plane in zip(outs, (planes[0], *chroma), strict=True):
            out.append(plane.round_().clamp_(0, 255).to(torch.uint8))
    y, u, v = (torch.stack(out) for out in outs)
    return y, u, v
