"""NVDEC as a reader: the GPU decodes, and the planes never leave it.

The same demuxer, clock and ranges as :class:`~trtswap.video.reader.VideoReader`; only the pictures come from PyAV's
CUDA hardware acceleration, as surfaces that DLPack hands to PyTorch.
"""

from os import PathLike
from typing import Any

import av
import torch
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from trtswap.errors import ReadError
from trtswap.pixels.frames import Frames
from trtswap.video.formats import Layout, layout_of
from trtswap.video.info import VideoInfo
from trtswap.video.reader import VideoReader

# What NVDEC gives: bits of the planar format that the surface stands for.
SURFACES = {"nv12": 8, "p010le": 10}


class NvdecReader(VideoReader):
    """Decode on an NVIDIA GPU. See :class:`~trtswap.video.reader.Reader` for the attributes.

    Args:
        path, batch_size, start, end: as :class:`~trtswap.video.reader.VideoReader` has them.
        device: a CUDA device.

    Raises:
        ReadError: ``device`` is none of CUDA's or has no decoder for this video (Hopper has none for AV1 and 10-bit
            H.264), or the video is interlaced.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        batch_size: int = 8,
        start: float | None = None,
        end: float | None = None,
        device: torch.device | str = "cuda",
    ) -> None:
        place = torch.device(device)
        if place.type != "cuda":
            raise ReadError(f"{path}: the reader nvdec decodes on a CUDA device, not on {place}. Use the reader pyav.")
        with VideoReader(path, batch_size=1, start=start, end=end) as headers:
            self._headers = headers.info
        if self._headers.interlaced:
            raise ReadError(f"{path}: is interlaced, which the reader nvdec does not undo. Use the reader pyav.")
        super().__init__(path, batch_size=batch_size, start=start, end=end, device=place)

    def _open_container(self) -> InputContainer:
        try:
            # No fallback: what is asked for is taken or refused.
            return av.open(str(self.path), hwaccel=HWAccel("cuda", device=self.device.index or 0, is_hw_owned=True))
        except (av.error.FFmpegError, OSError, RuntimeError, NotImplementedError) as error:
            raise self._refusal(getattr(error, "strerror", None) or str(error)) from error

    def _choose_layout(self, frame: av.VideoFrame) -> Layout:
        surface = frame.sw_format
        name = frame.format.name if surface is None else surface.name
        layout = layout_of(name) if name in SURFACES else None
        if layout is None or layout.planar != self._headers.pixel_format.name:
            raise self._refusal(f"it would give {name} for {self._headers.pixel_format.name}")
        self._convert_to = None
        return layout

    def _describe(self, first: av.VideoFrame, *, interlaced: bool) -> VideoInfo:
        return self._headers

    def _to_batch(self, frames: list[av.VideoFrame]) -> Frames:
        surfaces = [planes_of_surface(frame, self._layout.bits) for frame in frames]
        y, u, v = (torch.stack(planes) for planes in zip(*surfaces, strict=True))
        return Frames(
            planes=(y, u, v),
            format=self.info.pixel_format,
            to_display=self.info.display.to_tensor(),
            display_size=self.info.display_size,
            pts=tuple(frame.pts or 0 for frame in frames),
            durations=tuple(frame.duration for frame in frames),
            time_base=self._time_base,
        )

    def _refusal(self, why: str) -> ReadError:
        return ReadError(f"{self.path}: NVDEC cannot decode it on {self.device}: {why}. Use the reader pyav.")


def planes_of_surface(frame: av.VideoFrame, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Y [H, W] and U, V [h, w] of an NV12 or P010 picture, views where they can be, wherever its memory is.

    Args:
        bits: 8, or 10 for samples in the high bits of 16.

    Returns:
        uint8, or int16 above 8 bits.
    """
    y, uv = (_samples(plane, bits) for plane in frame.planes[:2])
    height, width = frame.height, frame.width
    uv = uv.reshape(uv.shape[0], -1, 2)[: -(-height // 2), : -(-width // 2)]
    return y[:height, :width], uv[..., 0], uv[..., 1]


def _samples(plane: Any, bits: int) -> Tensor:
    samples = from_dlpack(plane)
    if bits == 8:
        return samples
    # As unsigned numbers the samples are in the high bits; torch shifts signed ones, so what the sign fills is cut off.
    return (samples.view(torch.int16) >> (16 - bits)) & ((1 << bits) - 1)
