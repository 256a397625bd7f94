"""Open a video with one of the readers, in batches that suit the memory."""

from os import PathLike
from typing import Any

import torch

from trtswap.arguments import expect
from trtswap.backends.sizing import frames_at_once
from trtswap.errors import InputError
from trtswap.limits import Limits
from trtswap.video.info import VideoInfo
from trtswap.video.nvdec_reader import NvdecReader
from trtswap.video.reader import Reader, VideoReader

READERS = ("pyav", "nvdec", "decord", "dali")


def open_reader(
    path: str | PathLike[str],
    *,
    reader: str = "pyav",
    batch: int | None = None,
    start: float | None = None,
    end: float | None = None,
    device: torch.device | str = "cpu",
    limits: Limits | None = None,
) -> Reader:
    """Open a video.

    Args:
        path: the video.
        reader: one of ``READERS``: who decodes.
        batch: frames at once; chosen from the free memory of ``device`` where None.
        start, end: seconds of the video to take.
        device: where the planes go.
        limits: what the video may hold; the defaults where None.

    Raises:
        InputError: there is no such reader, or ``start`` or ``end`` make no sense.
        ReadError: the file cannot be read, or not by this reader.
        LimitError: it holds more than ``limits`` allow; while it is read, too.
    """
    expect("reader", reader, str, "its name")
    if reader not in READERS:
        raise InputError(f"reader is {reader!r}, expected one of {', '.join(READERS)}.")
    opened: Reader = _reader_class(reader)(
        path, batch_size=batch or 1, start=start, end=end, device=device, limits=limits
    )
    if batch is None:
        opened.batch_size = frames_at_once(frame_bytes(opened.info), torch.device(device))
    return opened


def _reader_class(reader: str) -> Any:
    if reader == "nvdec":
        return NvdecReader
    if reader == "decord":
        from trtswap.video.decord_reader import DecordReader  # noqa: PLC0415 - for an optional library

        return DecordReader
    if reader == "dali":
        from trtswap.video.dali_reader import DaliReader  # noqa: PLC0415 - for an optional library

        return DaliReader
    return VideoReader


def frame_bytes(info: VideoInfo) -> int:
    """Bytes of one frame's planes."""
    (shift_x, shift_y), width, height = info.pixel_format.chroma_shift, info.width, info.height
    samples = width * height + 2 * (-(-width >> shift_x)) * (-(-height >> shift_y))
    return samples * (1 if info.pixel_format.bits == 8 else 2)
