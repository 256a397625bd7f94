"""CUDA as the TensorRT backend reaches it. The calls are checked here with stand-ins, and on a GPU for real."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from trtswap.backends import cuda as in_cuda
from trtswap.backends import device as devices
from trtswap.backends.cuda import CudaDevice
from trtswap.backends.device import HostDevice, NotCapturableError, Stream, device_of, find_gpu, tensors_in
from trtswap.errors import BackendError, DeviceMemoryError


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one GPU, as far as these calls go."""
    properties = SimpleNamespace(name="A GPU", major=8, minor=9, total_memory=2**34)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**34))


class FakeStream:
    """Notes what is asked of it."""

    numbers = count(1)

    def __init__(self, device: object = None) -> None:
        self.cuda_stream = next(self.numbers)
        self.calls: list[tuple[str, int]] = []

    def synchronize(self) -> None:
        """Nothing is queued."""

    def wait_stream(self, stream: "FakeStream") -> None:
        self.calls.append(("wait", stream.cuda_stream))

    def wait_event(self, event: "FakeEvent") -> None:
        self.calls.append(("event of", event.stream.cuda_stream))


class FakeEvent:
    def record(self, stream: FakeStream) -> None:
        self.stream = stream


class FakeGraph:
    """A graph of PyTorch, and of its allocator what a capture changes; notes what is asked of it.

    Attributes:
        refused, spoiled: CUDA refuses to begin the capture, or calls it spoiled when it is to end.
        allocating: pools that the allocator believes to be captured into.
    """

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.refused = self.spoiled = self.ended = False
        self.allocating: list[Any] = []
        self.pools: list[Any] = []

    def capture_begin(self, *, pool: Any, capture_error_mode: str) -> None:
        self.calls.append(capture_error_mode)
        self.ended = False
        self.allocating.append(pool)
        self.pools.append(pool)
        if self.refused:
            raise RuntimeError("operation not permitted when stream is capturing")

    def capture_end(self) -> None:
        self.calls.append("end")
        if self.spoiled:
            raise RuntimeError("operation failed due to a previous error during capture")
        self.allocating.pop()
        self.ended = True

    def end_allocating(self, device: int, pool: Any) -> None:
        if pool not in self.allocating:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.allocating.remove(pool)

    def release(self, device: int, pool: Any) -> None:
        self.pools.remove(pool)

    def reset(self) -> None:
        """Also what dropping it does: a capture that ended holds its pool."""
        if self.ended:
            self.pools.pop()

    def replay(self) -> None:
        self.calls.append("replay")


@pytest.fixture
def graph_of_torch(monkeypatch: pytest.MonkeyPatch) -> FakeGraph:
    graph, handles = FakeGraph(), count(1)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, next(handles)))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: graph.calls.append("wait for the device"))
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", graph.end_allocating)
    monkeypatch.setattr(torch._C, "_cuda_releasePool", graph.release)
    return graph


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, cuda: None) -> CudaDevice:
    """A device whose streams are stand-ins; each thread has a current one."""
    current, default = threading.local(), FakeStream()

    @contextmanager
    def on(stream: FakeStream) -> Iterator[None]:
        before, current.stream = getattr(current, "stream", default), stream
        try:
            yield
        finally:
            current.stream = before

    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: getattr(current, "stream", default))
    return CudaDevice(torch.device("cuda", 0))


@pytest.mark.usefixtures("cuda")
def test_facts() -> None:
    found = find_gpu().facts
    assert (found.name, found.compute_capability, found.memory_bytes) == ("A GPU", "8.9", 2**34)
    assert found.cuda == torch.version.cuda
    assert find_gpu(torch.device("cuda", 3)).device == torch.device("cuda", 3)


@pytest.mark.usefixtures("cuda")
def test_there_is_one_object_of_each_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_DEVICES", {})
    host = device_of(torch.device("cpu"))
    assert isinstance(host, HostDevice)
    assert device_of(torch.device("cpu", 0)) is host
    with ThreadPoolExecutor(4) as threads:
        (first,) = set(threads.map(device_of, [torch.device("cuda", 1)] * 8))
    assert first.device == torch.device("cuda", 1)
    assert find_gpu() is device_of(torch.device("cuda")) is device_of(torch.device("cuda", 0)) is not first
    with pytest.raises(BackendError, match="device is 'meta'; expected cpu, cuda or cuda:N"):
        device_of(torch.device("meta"))


def test_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(in_cuda, "_DRIVER", tmp_path / "version")
    assert in_cuda.driver_version() is None
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\nGCC version: 12\n"
    )
    assert in_cuda.driver_version() == "580.95.05"


def test_memory_that_is_not_there(monkeypatch: pytest.MonkeyPatch, gpu: CudaDevice) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "empty", full)
    with pytest.raises(DeviceMemoryError, match=r"A GPU has no memory for 3 MiB: 1024 of 16384 MiB are free\. Close"):
        gpu.allocate(3 * 2**20)


def test_free_memory_counts_what_pytorch_holds_and_has_given_to_nobody(
    monkeypatch: pytest.MonkeyPatch, gpu: CudaDevice
) -> None:
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 2**29)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2**28)
    assert gpu.free_bytes() == 2**30 + 2**28


def test_a_role_has_one_stream_that_runs_after_and_before_its_callers(gpu: CudaDevice) -> None:
    callers = gpu.current_stream()
    assert isinstance(callers, FakeStream)
    streams = []

    def work(place: Any) -> None:
        with place:
            streams.append(gpu.current_stream())

    with ThreadPoolExecutor(1) as thread:
        for _ in range(3):
            place = gpu.role("swap")  # in the thread of the flow's caller
            thread.submit(work, place).result()
    (stream,) = set(streams)
    assert stream is gpu.lane("swap").stream
    assert stream.calls == 3 * [("wait", callers.cuda_stream)]
    assert callers.calls == 3 * [("wait", stream.cuda_stream)]
    assert gpu.lane("detect").stream is not stream


def test_the_callers_stream_waits_for_a_role_that_fails(gpu: CudaDevice) -> None:
    callers = gpu.current_stream()
    with pytest.raises(ZeroDivisionError), gpu.role("swap"):
        raise ZeroDivisionError
    assert callers.calls == [("wait", gpu.lane("swap").stream.cuda_stream)]  # type: ignore[attr-defined]


def test_an_item_is_received_after_it_was_made(gpu: CudaDevice) -> None:
    with gpu.role("detect"):
        parcel = gpu.send({"faces": torch.zeros(2)})
    with gpu.role("swap"):
        (tensor,) = tensors_in(gpu.receive(parcel))
    assert tensor.shape == (2,)
    assert gpu.lane("swap").stream.calls[-1] == (  # type: ignore[attr-defined]
        "event of",
        gpu.lane("detect").stream.cuda_stream,
    )


def test_a_received_tensor_is_kept_for_the_taking_stream(gpu: CudaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[FakeStream] = []
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: kept.append(stream))
    with FakeTensorMode():
        parcel = gpu.send([torch.empty(2, device="cuda"), torch.empty(2)])
    with gpu.role("swap"):
        gpu.receive(parcel)
    assert kept == [gpu.lane("swap").stream]  # what is on the host needs none


def test_a_capture_waits_for_the_device_and_is_disturbed_by_no_other_thread(
    gpu: CudaDevice, graph_of_torch: FakeGraph
) -> None:
    """Other videos go on with the lane's stream meanwhile, so the capture has one of its own."""
    streams: list[Any] = []

    def launch(stream: Stream) -> bool:
        streams.append(stream)
        graph_of_torch.calls.append(gpu.current_stream())
        return True

    replay = gpu.capture(gpu.lane("swap"), launch)
    replay()
    assert graph_of_torch.calls == ["wait for the device", "thread_local", streams[0], "end", "replay"]
    gpu.capture(gpu.lane("detect"), launch)
    assert streams[0] is streams[1]
    assert streams[0] not in [gpu.lane("swap").stream, gpu.lane("detect").stream, gpu.current_stream()]


def test_captures_of_all_lanes_follow_each_other(gpu: CudaDevice, graph_of_torch: FakeGraph) -> None:
    under_way: list[int] = []
    most: list[int] = []

    def launch(_: Stream) -> bool:
        under_way.append(1)
        most.append(len(under_way))
        time.sleep(0.01)
        under_way.pop()
        return True

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda role: gpu.capture(gpu.lane(role), launch), "abcd"))
    assert most == [1, 1, 1, 1]


def test_captures_of_a_lane_share_memory(gpu: CudaDevice, graph_of_torch: FakeGraph) -> None:
    for role in ("swap", "swap", "detect"):
        gpu.capture(gpu.lane(role), lambda _: True)
    assert graph_of_torch.pools == [(0, 1), (0, 1), (0, 2)]


def fails(_: Stream) -> bool:
    raise RuntimeError("operation not permitted when stream is capturing")


def is_stopped(_: Stream) -> bool:
    raise KeyboardInterrupt


@pytest.mark.parametrize("fault", ["refused", "spoiled", ""])
@pytest.mark.parametrize("launch", [fails, is_stopped, lambda _: False])
def test_a_failed_capture_leaves_the_device_as_it_was(
    gpu: CudaDevice, graph_of_torch: FakeGraph, launch: Callable[[Stream], bool], fault: str
) -> None:
    """PyTorch's allocator stays in its state of capturing where CUDA refuses, or calls the capture spoiled."""
    callers = gpu.current_stream()
    if fault:
        setattr(graph_of_torch, fault, True)
    error = KeyboardInterrupt if launch is is_stopped and not fault else NotCapturableError
    with pytest.raises(error, match=r"refused|not permitted|previous error|^$"):
        gpu.capture(gpu.lane("swap"), launch)
    graph_of_torch.reset()
    assert graph_of_torch.allocating == graph_of_torch.pools == []
    assert gpu.current_stream() is callers
    graph_of_torch.refused = graph_of_torch.spoiled = False
    gpu.capture(gpu.lane("swap"), lambda _: True)()
    assert graph_of_torch.calls[-2:] == ["end", "replay"]


@pytest.mark.gpu
def test_on_a_real_gpu() -> None:
    gpu = find_gpu()
    lane = gpu.lane("test")
    stream = lane.stream
    memory = gpu.allocate(1024)
    assert memory.data_ptr() % 256 == 0
    with gpu.on(stream):
        assert gpu.current_stream().cuda_stream == stream.cuda_stream
        memory.fill_(1)

    def launch(_: Stream) -> bool:
        memory.add_(1)
        return True

    replay = gpu.capture(lane, launch)
    with gpu.on(stream):
        replay()
        replay()
    stream.synchronize()
    assert int(memory[0]) == 3
    with pytest.raises(NotCapturableError):
        gpu.capture(lane, lambda _: bool(memory.sum() > 0))
    gpu.capture(lane, launch)()
    stream.synchronize()
    assert int(memory[0]) == 4
    with pytest.raises(DeviceMemoryError):
        gpu.allocate(2**50)
