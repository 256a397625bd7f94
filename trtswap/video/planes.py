"""Planes between FFmpeg's frames and torch tensors: one copy each way, line strides respected."""

from collections.abc import Sequence
from typing import Any

import av
import numpy as np
import torch
from av.video.reformatter import Interpolation
from numpy.typing import NDArray
from torch import Tensor

from trtswap.pixels.color import PixelFormat
from trtswap.video.formats import Layout, layout_of


def planes_from_frames(
    frames: Sequence[av.VideoFrame], layout: Layout, *, pin: bool = False, clamp: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Copy frames of one size and format into a batch.

    Args:
        clamp: samples may be beyond their bits, as raw video's are; encoders take for granted that none is.
        pin: into memory that a GPU can fetch from while the host goes on.

    Returns:
        Y [B,H,W], U, V [B,h,w], or R, G, B [B,H,W]; uint8, or int16 above 8 bits. Gray gets neutral chroma.
    """
    width, height = frames[0].width, frames[0].height
    dtype = torch.uint8 if layout.bits == 8 else torch.int16
    batch = []
    for channel in range(3):
        shape = _plane_size(width, height, layout, channel)
        if channel >= len(layout.planes):
            batch.append(torch.full((len(frames), *shape), 1 << (layout.bits - 1), dtype=dtype, pin_memory=pin))
            continue
        plane = torch.empty((len(frames), *shape), dtype=dtype, pin_memory=pin)
        for target, frame in zip(plane.numpy(), frames, strict=True):
            _read_channel(frame, layout, channel, target)
            if clamp and layout.bits > 8:
                unsigned = target.view(np.uint16)
                np.minimum(unsigned, (1 << layout.bits) - 1, out=unsigned)
        batch.append(plane)
    return batch[0], batch[1], batch[2]


def frame_from_planes(
    planes: tuple[Tensor, Tensor, Tensor], index: int, fmt: PixelFormat, size: tuple[int, int] | None = None
) -> av.VideoFrame:
    """Frame ``index`` of a batch as a frame of FFmpeg's, with its own memory and no timestamp.

    Args:
        size: (width, height), pixels: by one larger than the planes where an encoder takes even sizes alone; the last
            column and line are repeated there. The planes' own where None.
    """
    layout = layout_of(fmt.name)
    if layout is None or layout.planar != fmt.name:
        raise ValueError(f"{fmt.name} is no planar format")
    height, width = planes[0].shape[-2:]
    frame = av.VideoFrame(*(size or (width, height)), fmt.name)
    for (plane, _, _), tensor in zip(layout.planes, planes, strict=False):
        source = tensor[index].cpu().numpy()
        rows = _rows(frame, plane, source.dtype)
        lines, samples = source.shape
        rows[:lines, :samples] = source
        shown = frame.planes[plane].width, frame.planes[plane].height
        if shown != (samples, lines):
            rows[:lines, samples : shown[0]] = source[:, -1:]
            rows[lines : shown[1], : shown[0]] = rows[lines - 1, : shown[0]]
    return frame


def convert(
    frame: av.VideoFrame,
    name: str,
    *,
    size: tuple[int, int] | None = None,
    matrix: int | None = None,
    to_range: int | None = None,
) -> av.VideoFrame:
    """The frame in another pixel format, through swscale.

    Args:
        size: (width, height), pixels; the frame's own if not given.
        matrix: swscale's number of the Y'CbCr matrix; needed only between RGB and Y'CbCr.
        to_range: 1 limited, 2 full; the frame's own if not given.
    """
    width, height = size or (frame.width, frame.height)
    return frame.reformat(
        width,
        height,
        name,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=frame.color_range,
        dst_color_range=frame.color_range if to_range is None else to_range,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
    )


def scaled(frame: av.VideoFrame, like: av.VideoFrame) -> av.VideoFrame:
    """The frame at another one's size and format, at its own time."""
    made = convert(frame, like.format.name, size=(like.width, like.height), to_range=like.color_range)
    made.pts, made.duration, made.time_base = frame.pts, frame.duration, frame.time_base
    return made


def _read_channel(frame: av.VideoFrame, layout: Layout, channel: int, target: NDArray[Any]) -> None:
    plane, first, step = layout.planes[channel]
    height, width = target.shape
    # Samples in the high bits use all 16, so those are shifted as unsigned numbers.
    dtype = np.dtype("<u2") if layout.right_shift else target.dtype
    source = _rows(frame, plane, dtype)[:height, first : first + width * step : step]
    target[:] = source >> layout.right_shift if layout.right_shift else source


def _rows(frame: av.VideoFrame, plane: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A plane's memory as [lines, samples per line with padding], writable."""
    memory = frame.planes[plane]
    samples: NDArray[Any] = np.frombuffer(memoryview(memory), dtype)
    return samples.reshape(-1, memory.line_size // dtype.itemsize)


def _plane_size(width: int, height: int, layout: Layout, channel: int) -> tuple[int, int]:
    if channel == 0 or layout.rgb:
        return height, width
    sx, sy = layout.chroma_shift
    return -(-height >> sy), -(-width >> sx)
