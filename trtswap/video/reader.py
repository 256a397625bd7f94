"""Read a video as batches of planes."""

import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from math import prod
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import av
import torch
from av.container import InputContainer

from trtswap.errors import InputError, ReadError
from trtswap.limits import Limits, check_span
from trtswap.pixels.frames import Frames
from trtswap.video.clock import Clock
from trtswap.video.deinterlace import Deinterlacer
from trtswap.video.demux import Demuxer
from trtswap.video.formats import Layout, layout_of, nearest_planar
from trtswap.video.hdr import hdr_warnings
from trtswap.video.info import Loss, VideoInfo
from trtswap.video.planes import convert, planes_from_frames, scaled
from trtswap.video.probe import describe, open_input, origin_of, video_stream

# Frame threads each hold a frame; more of them than this cost memory and gain nothing for one stream.
MAX_DECODER_THREADS = 16
# Decoders whose samples never exceed their bits; what raw and some lossless video holds is whatever was written.
_WITHIN_THEIR_BITS = frozenset((
    "h264", "hevc", "vvc", "vp9", "libvpx-vp9", "av1", "libdav1d", "prores", "dnxhd", "mpeg2video", "mjpeg",
))  # fmt: skip
# Seconds to step back from the wanted start, until a key frame lies before it.
_SEEK_MARGINS = (0, 2, 8, 30)


__all__ = ["Loss", "Reader", "VideoReader"]


@runtime_checkable
class Reader(Protocol):
    """What every reader offers: a context manager that is iterated once.

    Attributes:
        info: what is known about the video.
        batch_size: frames of a batch; may be changed before the first one is taken.
        loss: set after the last frame if the file ended before its own header says so.
        damaged_packets: packets so far that gave no picture; they are skipped.
        corrupt_frames: frames delivered so far that the decoder marked as damaged.
        warnings: what a user should be told, in the order it was found.
    """

    info: VideoInfo
    batch_size: int
    loss: Loss | None
    corrupt_frames: int
    warnings: list[str]

    @property
    def damaged_packets(self) -> int: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Frames]: ...

    def close(self) -> None: ...


class VideoReader:
    """Decode on the CPU with PyAV. See :class:`Reader` for the attributes.

    Args:
        path: the video.
        batch_size: frames per batch; the last batch may be shorter.
        start: seconds from the video's beginning; the first frame is the first one shown at or after it.
        end: seconds from the video's beginning; frames from there on are left out.
        device: where the planes go.
        threads: decoder threads, 0 for one per core (at most 16).
        limits: what the file may hold; the defaults where None.

    Raises:
        InputError: ``batch_size``, ``start`` or ``end`` make no sense.
        ReadError: the file is missing, empty, no video, or nothing in it can be decoded.
        LimitError: it holds more than ``limits`` allow; while it is read, too.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        batch_size: int = 8,
        start: float | None = None,
        end: float | None = None,
        device: torch.device | str = "cpu",
        threads: int = 0,
        limits: Limits | None = None,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}, expected 1 or more")
        check_span(start, end)
        self.path = Path(path)
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.loss: Loss | None = None
        self.corrupt_frames = 0
        self.warnings: list[str] = []
        self._threads = threads
        self._limits = limits or Limits()
        self._open()
        try:
            self._begin(start, end)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the decoder and the file; safe to call twice."""
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._close_container()

    def _close_container(self) -> None:
        """Free decoder and file.

        Freeing waits for the decoder's threads with the interpreter held; flushing, which releases it, waits for them
        first, so that other threads go on meanwhile.
        """
        context = self._stream.codec_context
        if context is not None and context.is_open:
            context.flush_buffers()
        self._container.close()

    @property
    def damaged_packets(self) -> int:
        return self._demuxer.damaged_packets

    def __iter__(self) -> Iterator[Frames]:
        """Yields batches in presentation order, each with memory of its own.

        Raises:
            ReadError: reading stopped.
        """
        batch: list[av.VideoFrame] = []
        # Asked for anew each time, since close() puts an empty iterator there.
        while (frame := next(self._frames, None)) is not None:
            batch.append(frame)
            if len(batch) == self.batch_size:
                yield self._to_batch(batch)
                batch = []
        if batch:
            yield self._to_batch(batch)

    def _open(self) -> None:
        self._container = self._open_container()
        self._stream = video_stream(self._container, self.path)
        context = self._stream.codec_context
        context.thread_type = "AUTO"
        context.thread_count = min(self._threads or os.cpu_count() or 1, MAX_DECODER_THREADS)
        if self._stream.time_base is None:
            raise ReadError(f"{self.path}: its video stream has no time base")
        self._time_base = self._stream.time_base
        self._limits.check("frame_pixels", context.width * context.height, self.path)
        self._demuxer = Demuxer(self._container, self._stream, limits=self._limits, path=self.path)
        self._clock = Clock(self._stream)

    def _begin(self, start: float | None, end: float | None) -> None:
        origin = origin_of(self._container)
        start_tick = None if start is None else self._tick(origin + Fraction(start))
        end_tick = None if end is None else self._tick(origin + Fraction(end))
        raw = self._demuxer.frames() if start_tick is None else self._frames_from(start_tick)
        frames = self._in_range(raw, start_tick, end_tick)
        first = next(frames, None)
        if first is None:
            raise self._no_frame(start, end)
        self._frames = chain([first], frames)
        self._layout = self._choose_layout(first)
        interlaced = self._deinterlacer.deinterlaced > 0
        self.info = self._describe(first, interlaced=interlaced)
        self._limits.check("frame_pixels", prod(self.info.display_size), self.path)
        self.warnings += hdr_warnings(self.info.pixel_format)

    def _open_container(self) -> InputContainer:
        return open_input(self.path, self._limits)

    def _no_frame(self, start: float | None, end: float | None) -> ReadError:
        span = f" from {float(start or 0):g} s on" + (f" to {float(end):g} s" if end else "")
        return ReadError(f"{self.path}: no frame of it can be decoded{span}; it is {self._length()} long")

    def _describe(self, first: av.VideoFrame, *, interlaced: bool) -> VideoInfo:
        return describe(self._container, self._stream, first, self._layout, self.path, interlaced=interlaced)

    def _length(self) -> str:
        duration = self._container.duration
        return "an unknown time" if duration is None else f"{duration / av.time_base:g} s"

    def _tick(self, seconds: Fraction) -> int:
        return round(seconds / self._time_base)

    def _frames_from(self, start_tick: int) -> Iterator[av.VideoFrame]:
        """Frames from a key frame that lies at or before ``start_tick``; MPEG-TS often lands after the wanted place."""
        for margin in _SEEK_MARGINS:
            try:
                self._demuxer.seek(start_tick - round(margin / self._time_base))
            except av.error.FFmpegError:  # some formats cannot seek
                break
            frames = self._demuxer.frames()
            key = next((frame for frame in frames if frame.key_frame), None)
            if key is not None and key.pts is not None and key.pts <= start_tick:
                return chain([key], frames)
        self._close_container()
        self._open()
        return self._demuxer.frames()

    def _in_range(
        self, raw: Iterator[av.VideoFrame], start_tick: int | None, end_tick: int | None
    ) -> Iterator[av.VideoFrame]:
        """Frames to deliver; sets ``loss`` when the file, not ``end_tick``, is what ends them."""
        delivered, delivered_end = 0, Fraction(0)
        for frame in self._progressive(raw):
            pts = frame.pts or 0
            if end_tick is not None and pts >= end_tick:
                break
            if start_tick is not None and pts < start_tick:
                continue
            delivered += 1
            self._limits.check("seconds", float(pts * self._time_base - origin_of(self._container)), self.path)
            delivered_end = (pts + frame.duration) * self._time_base
            self.corrupt_frames += frame.is_corrupt
            yield frame
        else:
            self.loss = self._demuxer.loss(delivered, delivered_end)
        self._warn_about_time()

    def _warn_about_time(self) -> None:
        if self._clock.repaired:
            self.warnings.append(f"{self._clock.repaired} frames had no usable timestamp and were given one")
        if self._clock.gaps:
            first = float(self._clock.gaps[0][0] * self._time_base)
            self.warnings.append(
                f"{len(self._clock.gaps)} times pictures are missing for over 0.5 s, first at {first:.2f} s"
            )

    def _progressive(self, raw: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        self._deinterlacer = Deinterlacer(self._stream)
        for frame in self._clock.stamp(self._uniform(raw)):
            if self._deinterlacer.wants(frame) and not self._deinterlacer.deinterlaced:
                self.warnings.append("the source is interlaced: each of its frames was deinterlaced (bwdif)")
            yield from self._deinterlacer.push(frame)
        yield from self._deinterlacer.flush()

    def _uniform(self, raw: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """Frames of one size and format, the first one's, since a file has one size for all."""
        first: av.VideoFrame | None = None
        told: set[str] = set()
        for frame in raw:
            first = first or frame
            if (frame.width, frame.height, frame.format.name) == (first.width, first.height, first.format.name):
                yield frame
                continue
            self._limits.check("frame_pixels", frame.width * frame.height, self.path)
            was, now = (f"{one.width}x{one.height} {one.format.name}" for one in (first, frame))
            when = "" if frame.time is None else f" at {frame.time:.2f} s"
            if now not in told:
                told.add(now)
                self.warnings.append(f"the picture changes from {was} to {now}{when}: it was scaled to {was}")
            try:
                yield scaled(frame, first)
            except (av.error.FFmpegError, OSError, ValueError) as error:
                raise ReadError(f"{self.path}: {now}{when} cannot become {was}: {error}") from error

    def _choose_layout(self, frame: av.VideoFrame) -> Layout:
        name = frame.format.name
        if frame.format.is_bayer:  # FFmpeg's conversion writes beyond its memory at odd sizes
            raise ReadError(f"{self.path}: its pictures are a sensor's mosaic ({name}), expected developed ones")
        layout = layout_of(name)
        if layout is None:
            name = nearest_planar(name)
            layout = layout_of(name)
            if layout is None:
                raise ReadError(f"{self.path}: pixel format {frame.format.name} is not supported")
            if layout.rgb < frame.format.is_rgb or layout.bits < max(c.bits for c in frame.format.components):
                self.warnings.append(f"pixel format {frame.format.name} is converted to {name}")
        self._convert_to = None if name == frame.format.name else name
        return layout

    def _to_batch(self, frames: list[av.VideoFrame]) -> Frames:
        pts = tuple(frame.pts or 0 for frame in frames)
        durations = tuple(frame.duration for frame in frames)
        if self._convert_to is not None:
            try:
                frames = [convert(frame, self._convert_to) for frame in frames]
            except (av.error.FFmpegError, OSError, ValueError) as error:
                name = frames[0].format.name
                raise ReadError(f"{self.path}: pixel format {name} is not supported: {error}") from error
        clamp = self.info.codec not in _WITHIN_THEIR_BITS
        planes = planes_from_frames(frames, self._layout, pin=self.device.type == "cuda", clamp=clamp)
        y, u, v = (plane.to(self.device, non_blocking=True) for plane in planes)
        return Frames(
            planes=(y, u, v),
            format=self.info.pixel_format,
            to_display=self.info.display.to_tensor(),
            display_size=self.info.display_size,
            pts=pts,
            durations=durations,
            time_base=self._time_base,
        )
