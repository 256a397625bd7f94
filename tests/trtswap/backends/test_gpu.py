"""CUDA as the TensorRT backend reaches it. The calls are checked here with stand-ins, and on a GPU for real."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trtswap.backends import device as gpus
from trtswap.backends.device import CudaGpu, NotRecordableError, find_gpu
from trtswap.errors import DeviceMemoryError

GPU = CudaGpu(torch.device("cuda", 0))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one GPU, as far as these calls go."""
    properties = SimpleNamespace(name="A GPU", major=8, minor=9, total_memory=2**34)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**34))


class FakeGraph:
    """Notes what is asked of a recording."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def capture_begin(self, **options: Any) -> None:
        self.calls.append(options)

    def capture_end(self) -> None:
        self.calls.append("end")

    def replay(self) -> None:
        self.calls.append("replay")


class FakeStream:
    cuda_stream = 7

    def synchronize(self) -> None:
        """Nothing is queued."""


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> FakeGraph:
    from contextlib import nullcontext

    graph = FakeGraph()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    return graph


@pytest.mark.usefixtures("cuda")
def test_facts() -> None:
    found = find_gpu().facts
    assert (found.name, found.compute_capability, found.memory_bytes) == ("A GPU", "8.9", 2**34)
    assert found.cuda == torch.version.cuda
    assert find_gpu(torch.device("cuda", 3)).device == torch.device("cuda", 3)


def test_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path / "version")
    assert gpus.driver_version() is None
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\nGCC version: 12\n"
    )
    assert gpus.driver_version() == "580.95.05"


@pytest.mark.usefixtures("cuda")
def test_memory_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "empty", full)
    with pytest.raises(DeviceMemoryError, match=r"A GPU has no memory for 3 MiB: 1024 of 16384 MiB are free\. Close"):
        GPU.allocate(3 * 2**20)


def test_a_recording_is_made_on_its_stream_and_disturbed_by_no_other_thread(recorded: FakeGraph) -> None:
    replay = GPU.record(FakeStream(), lambda: recorded.calls.append("launch") or True)  # type: ignore[arg-type,func-returns-value]
    replay()
    assert recorded.calls == [{"capture_error_mode": "thread_local"}, "launch", "end", "replay"]


def fails() -> bool:
    raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.parametrize(("launch", "reason"), [(lambda: False, "it was refused"), (fails, "not permitted")])
def test_what_cannot_be_recorded_is_said(recorded: FakeGraph, launch: Callable[[], bool], reason: str) -> None:
    with pytest.raises(NotRecordableError, match=reason):
        GPU.record(FakeStream(), launch)  # type: ignore[arg-type]
    assert recorded.calls[-1] == "end"


@pytest.mark.gpu
def test_on_a_real_gpu() -> None:
    gpu = find_gpu()
    stream = gpu.new_stream()
    memory = gpu.allocate(1024)
    assert memory.data_ptr() % 256 == 0
    with gpu.on(stream):
        assert gpu.current_stream().cuda_stream == stream.cuda_stream
        memory.fill_(1)

    def launch() -> bool:
        memory.add_(1)
        return True

    replay = gpu.record(stream, launch)
    with gpu.on(stream):
        replay()
        replay()
    stream.synchronize()
    assert int(memory[0]) == 3
    with pytest.raises(NotRecordableError):
        gpu.record(stream, lambda: bool(memory.sum() > 0))
    with pytest.raises(DeviceMemoryError):
        gpu.allocate(2**50)
