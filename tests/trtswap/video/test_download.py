"""Frames come back from a GPU in pinned memory, and only who reads them waits."""

from fractions import Fraction
from functools import partial

import pytest
import torch

from trtswap.pixels.color import PixelFormat
from trtswap.pixels.frames import Frames
from trtswap.video.download import Download

from .standin_cuda import on_device, on_host, plug_in

FORMAT = PixelFormat("yuv420p", 8, (1, 1), "bt709", False)


def frames(seed: int, *, device: bool) -> Frames:
    generator = torch.Generator().manual_seed(seed)
    planes = [
        torch.randint(0, 256, size, generator=generator).to(torch.uint8) for size in ((2, 6, 10), (2, 3, 5), (2, 3, 5))
    ]
    y, u, v = map(on_device, planes) if device else planes
    return Frames((y, u, v), FORMAT, torch.eye(2, 3), (10, 6), (0, 40), (40, 40), Fraction(1, 1000))


def test_frames_on_the_host_pass_as_they_are() -> None:
    batch = frames(0, device=False)
    assert Download.of(batch).wait() is batch


def test_the_copy_is_queued_and_waited_for_by_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = plug_in(monkeypatch)
    batch, truth = frames(1, device=True), frames(1, device=False)
    for plane in batch.planes:  # as pasting does: queued before the download
        gpu.current.add(partial(on_host(plane).add_, 1))
    sent = Download.of(batch)
    assert gpu.current.done == 0, "the host has waited"
    gpu.current.add(on_host(batch.planes[0]).zero_)  # the memory is used again after the download
    got = sent.wait()
    assert gpu.current.done == len(gpu.current.queue) - 1, "the host has waited for more than the download"
    for plane, expected in zip(got.planes, truth.planes, strict=True):
        assert plane.device.type == "cpu"
        assert torch.equal(plane, expected + 1)
    assert (got.pts, got.durations, got.time_base) == (batch.pts, batch.durations, batch.time_base)
    assert got.format == FORMAT


def test_one_pinned_buffer_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = plug_in(monkeypatch)
    got = Download.of(frames(2, device=True)).wait()
    (buffer,) = gpu.pinned
    assert buffer.numel() == sum(plane.numel() for plane in got.planes)
    start = buffer.data_ptr()
    assert all(start <= plane.data_ptr() < start + buffer.nbytes for plane in got.planes)


def test_batches_on_their_way_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch)
    sent = [Download.of(frames(seed, device=True)) for seed in range(3)]
    for seed, parcel in reversed(list(enumerate(sent))):
        for plane, expected in zip(parcel.wait().planes, frames(seed, device=False).planes, strict=True):
            assert torch.equal(plane, expected)
