"""The reader nvdec on surfaces that behave as PyAV's and FFmpeg's do: filled late, handed out once, used again."""

import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from av.codec.hwaccel import HWAccel

from trtswap.errors import ReadError
from trtswap.pixels.frames import Frames
from trtswap.video import nvdec_reader
from trtswap.video import reader as reader_module
from trtswap.video.demux import Demuxer
from trtswap.video.formats import layout_of
from trtswap.video.in_flight import InFlight
from trtswap.video.nvdec_reader import NvdecReader, planes_of_surface
from trtswap.video.planes import planes_from_frames
from trtswap.video.reader import VideoReader

from .clips import Clip, picture
from .standin_cuda import Stream, on_device, on_host, plug_in

POISON = 0xA5
KCUDA = 2


class Plane:
    """PyAV's plane of a frame in a GPU's memory."""

    def __init__(self, memory: np.ndarray) -> None:
        self._memory = memory

    def __dlpack_device__(self) -> tuple[int, int]:
        return KCUDA, 0

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        if stream is not None:
            raise NotImplementedError("CUDA stream synchronization is not supported.")
        return torch.from_numpy(self._memory).__dlpack__()


class Surface:
    """A decoded frame on the GPU: poison until FFmpeg's stream has run, and again once nobody holds it."""

    alive = 0

    def __init__(self, frame: av.VideoFrame, surface: str, decoder: Stream) -> None:
        self.format, self.sw_format = SimpleNamespace(name="cuda"), SimpleNamespace(name=surface)
        for name in ("width", "height", "pts", "duration", "key_frame", "is_corrupt", "interlaced_frame", "time"):
            setattr(self, name, getattr(frame, name))
        rows = [(plane.line_size, bytes(plane)) for plane in frame.reformat(format=surface).planes]
        dtype = np.dtype(np.uint8 if surface == "nv12" else np.uint16)
        self._memory = [np.full(len(content), POISON, np.uint8) for _, content in rows]
        shapes = [(self.height, self.width), (self.height // 2, self.width // 2, 2)]
        steps = [(dtype.itemsize,), (2 * dtype.itemsize, dtype.itemsize)]
        self.planes = [
            Plane(np.lib.stride_tricks.as_strided(memory.view(dtype), shape, (line_size, *step)))
            for memory, (line_size, _), shape, step in zip(self._memory, rows, shapes, steps, strict=True)
        ]
        decoder.add(partial(self._decode, weakref.ref(self), [content for _, content in rows]))
        Surface.alive += 1

    @staticmethod
    def _decode(found: "weakref.ref[Surface]", contents: list[bytes]) -> None:
        if (surface := found()) is not None:
            for memory, content in zip(surface._memory, contents, strict=True):
                memory[:] = np.frombuffer(content, np.uint8)

    def __del__(self) -> None:
        Surface.alive -= 1
        for memory in self._memory:
            memory[:] = POISON


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The stand-in device; what a test asks the decoder for, and what the reader asked PyAV for, are its attributes."""
    device = plug_in(monkeypatch)
    device.surface, device.asked, device.change = "nv12", [], lambda number, frame: None
    real_open, real_dlpack = av.open, nvdec_reader.from_dlpack

    class OnGpu(Demuxer):
        def frames(self) -> Iterator[Any]:
            for number, frame in enumerate(super().frames()):
                surface = Surface(frame, device.surface, device.default)
                device.change(number, surface)
                yield surface

    def open_container(*args: Any, hwaccel: HWAccel | None = None, **kwargs: Any) -> Any:
        if hwaccel is not None:
            device.asked.append(hwaccel)
            monkeypatch.setattr(reader_module, "Demuxer", OnGpu)
        return real_open(*args, **kwargs)

    monkeypatch.setattr(av, "open", open_container)
    monkeypatch.setattr(nvdec_reader, "from_dlpack", lambda capsule: on_device(real_dlpack(capsule)))
    return device


def truth(path: Path) -> list[Frames]:
    with VideoReader(path, batch_size=3) as plain:
        return list(plain)


def same(got: list[Frames], wanted: list[Frames]) -> bool:
    return [b.pts for b in got] == [b.pts for b in wanted] and all(
        torch.equal(on_host(plane), expected)
        for ours, theirs in zip(got, wanted, strict=True)
        for plane, expected in zip(ours.planes, theirs.planes, strict=True)
    )


TEN_BITS = {
    "codec": "libx265",
    "pix_fmt": "yuv420p10le",
    "options": {"preset": "ultrafast", "x265-params": "log-level=error"},
}


@pytest.mark.parametrize(("surface", "clip"), [("nv12", Clip()), ("p010le", Clip(**TEN_BITS))])
def test_planes_are_read_after_they_are_decoded_and_before_they_are_given_back(
    surface: str, clip: Clip, gpu: SimpleNamespace, tmp_path: Path
) -> None:
    path = clip.write(tmp_path / "clip.mkv")
    wanted = truth(path)
    gpu.surface = surface
    alive = Surface.alive
    with NvdecReader(path, batch_size=3) as reader:
        got, most = [], 0
        for batch in reader:
            got.append(batch)
            most = max(most, Surface.alive - alive)
        assert len(reader._in_flight) > 0, "the host has waited for the last batch"
    gpu.current.run()
    assert same(got, wanted)
    assert most <= 3 * 4, "surfaces are kept without a bound"
    assert Surface.alive == alive


def test_what_is_asked_of_pyav(gpu: SimpleNamespace, tmp_path: Path) -> None:
    path = Clip().write(tmp_path / "clip.mkv")
    with NvdecReader(path, device="cuda:1") as reader:
        assert reader._stream.codec_context.thread_count == 1
        assert reader.device == torch.device("cuda", 1)
    (asked,) = gpu.asked
    assert (asked.allow_software_fallback, asked.is_hw_owned, asked.device_id) == (False, True, 1)
    assert asked.options == {"primary_ctx": "0", "current_ctx": "1"}


def test_the_current_device_is_meant_by_cuda(
    gpu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    with NvdecReader(Clip().write(tmp_path / "clip.mkv"), device="cuda") as reader:
        assert reader.device == torch.device("cuda", 3)
    assert gpu.asked[0].device_id == 3


def software(number: int, frame: Any) -> None:
    frame.format, frame.sw_format = SimpleNamespace(name="nv12"), None


def cropped_at_the_left(number: int, frame: Any) -> None:
    frame.width += 2


def late_fields(number: int, frame: Any) -> None:
    frame.interlaced_frame = number > 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (software, "would give nv12 for yuv420p"),
        (cropped_at_the_left, "its pictures are 98x64 for 96x64"),
        (late_fields, r"becomes interlaced at 0\.20 s"),
    ],
)
def test_what_nvdec_gets_wrong_is_refused(change: Any, words: str, gpu: SimpleNamespace, tmp_path: Path) -> None:
    gpu.change = change
    with pytest.raises(ReadError, match=rf"NVDEC cannot decode it on cuda:0: .*{words}.*Use the reader pyav"):
        list(NvdecReader(Clip().write(tmp_path / "clip.mkv")))


def test_a_decoder_that_gives_nothing_is_named(
    gpu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = Clip().write(tmp_path / "clip.mkv")
    open_container = av.open

    def silent(*args: Any, hwaccel: HWAccel | None = None, **kwargs: Any) -> Any:
        container = open_container(*args, hwaccel=hwaccel, **kwargs)
        if hwaccel is not None:
            monkeypatch.setattr(reader_module.Demuxer, "frames", lambda self: iter(()))
        return container

    monkeypatch.setattr(av, "open", silent)
    with pytest.raises(ReadError, match="NVDEC cannot decode it on cuda:0: it gives no picture"):
        NvdecReader(path)


@pytest.mark.parametrize("size", [(95, 64), (96, 63)])
def test_odd_sizes_are_refused(size: tuple[int, int], gpu: SimpleNamespace, tmp_path: Path) -> None:
    path = Clip(codec="libvpx-vp9", size=size, options={"crf": "30", "b": "0", "cpu-used": "8"}).write(
        tmp_path / "a.mkv"
    )
    with pytest.raises(ReadError, match=f"is {size[0]}x{size[1]}; .*loses the last chroma samples of odd sizes"):
        NvdecReader(path)
    assert not gpu.asked


def test_in_flight_waits_only_for_what_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = plug_in(monkeypatch).current
    kept = InFlight(depth=2)
    for number in range(4):
        stream.add(lambda: None)
        kept.hold(object(), stream)
        assert (len(kept), stream.done) == (min(number + 1, 2), max(0, number - 1))
    stream.run()
    kept.hold(object(), stream)
    assert len(kept) == 0
    stream.add(lambda: None)
    kept.hold(object(), stream)
    kept.release()
    assert (len(kept), stream.done) == (0, len(stream.queue))


@pytest.mark.parametrize(("surface", "planar", "bits"), [("nv12", "yuv420p", 8), ("p010le", "yuv420p10le", 10)])
def test_surfaces_are_the_planes_of_their_planar_format(surface: str, planar: str, bits: int) -> None:
    """NVDEC's layouts, on frames in the host's memory, which PyAV hands out in the same way."""
    frame = picture(3, (94, 62), planar)
    if bits == 10:  # above the middle the sign bit of 16 bits is set
        np.frombuffer(frame.planes[0], np.uint16)[:40] = 1023
    y, u, v = planes_of_surface(frame.reformat(format=surface), bits)
    layout = layout_of(planar)
    assert layout is not None
    for got, expected in zip((y, u, v), planes_from_frames([frame], layout), strict=True):
        assert torch.equal(got, expected[0])
