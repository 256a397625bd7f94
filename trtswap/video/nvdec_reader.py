"""NVDEC as a reader: the GPU decodes, and the planes never leave it.

The same demuxer, clock and ranges as :class:`~trtswap.video.reader.VideoReader`; only the pictures come from PyAV's
CUDA hardware acceleration, as surfaces that DLPack hands to PyTorch.

What FFmpeg 8.1 and PyAV 18.1 do, by their sources (libavcodec/nvdec.c, libavutil/hwcontext_cuda.c, libavutil/frame.c;
av/codec/hwaccel.py, av/video/plane.py):

- A decoded picture is mapped and copied into a surface of FFmpeg's own pool by work that is only *queued*, on the
  stream of FFmpeg's CUDA device, which is always the context's default stream. Nobody waits for it.
- PyAV's ``__dlpack__`` takes ``stream=None`` alone and leaves all waiting to its caller.
- A surface whose last reference is gone is the next picture's.
- Context: PyAV asks FFmpeg for the primary one, which refuses if it is active with other flags than FFmpeg's (PyTorch
  has activated it with CUDA's default ones; PyAV pull request 2339). So FFmpeg is told to take the one that is current.
- Of a surface with an odd height FFmpeg copies one chroma row too few, and PyAV shows neither that row nor, of an odd
  width, the last column.
- Only what is cropped at the right and the bottom is taken off a surface.
"""

from collections.abc import Iterator
from os import PathLike
from typing import Any

import av
import torch
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from trtswap.errors import ReadError
from trtswap.limits import Limits
from trtswap.pixels.frames import Frames
from trtswap.video.formats import Layout, layout_of
from trtswap.video.in_flight import InFlight
from trtswap.video.info import VideoInfo
from trtswap.video.probe import READING, url_of
from trtswap.video.reader import VideoReader

# What NVDEC gives: bits of the planar format that the surface stands for.
SURFACES = {"nv12": 8, "p010le": 10}
# PyTorch's context, which must be current when the file is opened.
_CURRENT_CONTEXT: dict[str, object] = {"primary_ctx": "0", "current_ctx": "1"}


class NvdecReader(VideoReader):
    """Decode on an NVIDIA GPU. See :class:`~trtswap.video.reader.Reader` for the attributes.

    Batches are complete on the stream that is PyTorch's current one in the iterating thread; the host waits for none.

    Args:
        path, batch_size, start, end: as :class:`~trtswap.video.reader.VideoReader` has them.
        device: a CUDA device.

    Raises:
        ReadError: ``device`` is none of CUDA's or has no decoder for this video (Hopper has none for AV1 and 10-bit
            H.264), or the video is interlaced or has an odd width or height.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        batch_size: int = 8,
        start: float | None = None,
        end: float | None = None,
        device: torch.device | str = "cuda",
        limits: Limits | None = None,
    ) -> None:
        place = torch.device(device)
        if place.type != "cuda":
            raise ReadError(f"{path}: the reader nvdec decodes on a CUDA device, not on {place}. Use the reader pyav.")
        with VideoReader(path, batch_size=1, start=start, end=end, limits=limits) as headers:
            self._headers = headers.info
        self._in_flight = InFlight()
        self._check(path)
        if not torch.cuda.is_available():
            raise ReadError(f"{path}: NVDEC cannot decode it on {place}: PyTorch sees no CUDA device. "
                            "Use the reader pyav.")  # fmt: skip
        place = torch.device("cuda", torch.cuda.current_device() if place.index is None else place.index)
        # One thread: the GPU decodes, and each of FFmpeg's threads would take one more of NVDEC's 32 surfaces.
        super().__init__(path, batch_size=batch_size, start=start, end=end, device=place, threads=1, limits=limits)

    def close(self) -> None:
        self._in_flight.release()
        super().close()

    def _check(self, path: str | PathLike[str]) -> None:
        """Refuse what this way of decoding gets wrong."""
        info = self._headers
        if info.interlaced:
            raise ReadError(f"{path}: is interlaced, which the reader nvdec does not undo. Use the reader pyav.")
        if info.width % 2 or info.height % 2:
            raise ReadError(
                f"{path}: is {info.width}x{info.height}; the reader nvdec loses the last chroma samples of odd sizes. "
                "Use the reader pyav."
            )

    def _open_container(self) -> InputContainer:
        try:
            with torch.cuda.device(self.device):
                # Any call of CUDA's that needs a context makes PyTorch's current in this thread.
                torch.cuda.current_stream(self.device).synchronize()
                acceleration = HWAccel(
                    "cuda",
                    device=self.device.index,
                    allow_software_fallback=False,
                    options=_CURRENT_CONTEXT,
                    is_hw_owned=True,
                )
                return av.open(url_of(self.path), metadata_errors="replace", options=READING, hwaccel=acceleration)
        except (av.error.FFmpegError, OSError, RuntimeError, NotImplementedError) as error:
            raise self._refusal(getattr(error, "strerror", None) or str(error)) from error

    def _uniform(self, raw: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        for frame in super()._uniform(raw):
            if frame.interlaced_frame:
                raise self._refusal(f"it becomes interlaced at {frame.time:.2f} s")
            yield frame

    def _no_frame(self, start: float | None, end: float | None) -> ReadError:
        return self._refusal("it gives no picture")

    def _choose_layout(self, frame: av.VideoFrame) -> Layout:
        surface = frame.sw_format if frame.format.name == "cuda" else None
        layout = layout_of(surface.name) if surface is not None and surface.name in SURFACES else None
        if layout is None or layout.planar != self._headers.pixel_format.name:
            given = frame.format.name if surface is None else surface.name
            raise self._refusal(f"it would give {given} for {self._headers.pixel_format.name}")
        if (frame.width, frame.height) != (self._headers.width, self._headers.height):
            raise self._refusal(
                f"its pictures are {frame.width}x{frame.height} for {self._headers.width}x{self._headers.height}"
            )
        self._convert_to = None
        return layout

    def _describe(self, first: av.VideoFrame, *, interlaced: bool) -> VideoInfo:
        return self._headers

    def _to_batch(self, frames: list[av.VideoFrame]) -> Frames:
        stream = torch.cuda.current_stream(self.device)
        stream.wait_stream(torch.cuda.default_stream(self.device))
        surfaces = [planes_of_surface(frame, self._layout.bits) for frame in frames]
        y, u, v = (torch.stack(planes) for planes in zip(*surfaces, strict=True))
        self._in_flight.hold(tuple(frames), stream)
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
    """Y [H, W] and U, V [H/2, W/2] of an NV12 or P010 picture, views where they can be, wherever its memory is.

    Nothing is waited for, and the memory stays the frame's.

    Args:
        frame: of even width and height.
        bits: 8, or 10 for samples in the high bits of 16.

    Returns:
        uint8, or int16 above 8 bits.
    """
    y, uv = (_samples(plane, bits) for plane in frame.planes[:2])
    height, width = frame.height, frame.width
    uv = uv.reshape(uv.shape[0], -1, 2)[: height // 2, : width // 2]
    return y[:height, :width], uv[..., 0], uv[..., 1]


def _samples(plane: Any, bits: int) -> Tensor:
    # The capsule, not the plane: of a plane in a GPU's memory PyTorch asks for a stream, which PyAV does not take.
    samples = from_dlpack(plane.__dlpack__())
    if bits == 8:
        return samples
    # As unsigned numbers the samples are in the high bits; torch shifts signed ones, so what the sign fills is cut off.
    return (samples.view(torch.int16) >> (16 - bits)) & ((1 << bits) - 1)
