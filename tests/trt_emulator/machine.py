"""The machine that the emulator pretends to be: one GPU whose memory, streams and captures are the host's.

Work is executed at once when it is queued. What is checked is what would go wrong on a GPU: addresses must lie in
memory that the device gave out and that is still alive, on streams that exist; waiting is counted.
"""

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trtswap.backends.cuda import CudaDevice, out_of_memory
from trtswap.backends.device import GpuFacts, Stream
from trtswap.backends.lane import Lane

ALIGNMENT = 256
GPU = GpuFacts("Emulated GPU", "8.9", 24 * 2**30, "13.0", "580.95.05")


@dataclass
class Machine:
    """State of the emulated machine; faults are set by tests.

    Attributes:
        tensorrt: version that the library says it is.
        driver: whether there is one; without it any TensorRT object crashes the process.
        faults: names of things that shall go wrong.
        free: bytes of device memory that are free, None for no limit.
        waits: how often the host waited for a stream.
        allocations: how often device memory was asked for.
        launches, replays: how often an engine ran, and how often from a capture.
        current: an entry for each place in which its GPU is CUDA's current device; TensorRT takes that one.
        released: kinds of TensorRT objects in the order in which they went.
        parsed: file that a network was read from, by the network's ``id``.
        finished: how often TensorRT for RTX had to finish kernels that no cache had.
        kept: address of every tensor that was kept for a stream, and the stream.
    """

    tensorrt: str = "11.4.0.106"
    gpu: GpuFacts = GPU
    driver: bool = True
    faults: set[str] = field(default_factory=set)
    free: int | None = None
    waits: int = 0
    allocations: int = 0
    launches: int = 0
    replays: int = 0
    parsed: dict[int, str] = field(default_factory=dict)
    finished: int = 0
    current: list[int] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    streams: dict[int, "HostStream"] = field(default_factory=dict)
    capturing: dict[int, list[Callable[[], None]]] = field(default_factory=dict)
    kept: list[tuple[int, int]] = field(default_factory=list)
    memory: dict[int, tuple[int, "weakref.ref[torch.UntypedStorage]"]] = field(default_factory=dict)

    def wait(self, stream: "HostStream") -> None:
        """The host waits for a stream, which spoils a capture on it (cudaErrorStreamCaptureUnsupported)."""
        if stream.cuda_stream in self.capturing:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.waits += 1
        stream.pending.clear()

    def owns(self, address: int, size: int) -> bool:
        """Whether a range is inside device memory that is alive."""
        return any(
            start <= address and address + size <= start + length and storage() is not None
            for start, (length, storage) in self.memory.items()
        )


class HostStream:
    """A stream whose work is done when it is queued."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.cuda_stream = 0 if not machine.streams else 4096 + 16 * len(machine.streams)
        self.waited_for: list[int] = []
        self.pending: set[int] = set()
        machine.streams[self.cuda_stream] = self

    def wait_stream(self, stream: "HostStream") -> None:
        self.waited_for.append(stream.cuda_stream)

    def wait_event(self, made_on: "HostStream") -> None:
        """An event of the emulated machine is the stream that it was recorded on."""
        self.wait_stream(made_on)

    def synchronize(self) -> None:
        self._machine.wait(self)


class HostGpu(CudaDevice):
    """The real device's lanes, roles and order of captures, with streams and memory of the emulated machine."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(torch.device("cpu"))
        self._machine = machine
        if not machine.streams:
            HostStream(machine)
        self._current = threading.local()
        self._entered: list[tuple[int, int]] = []  # (stream, thread)

    @property
    def facts(self) -> GpuFacts:  # type: ignore[override]  # the machine's may change
        return self._machine.gpu

    def free_bytes(self) -> int:
        return self._machine.gpu.memory_bytes if self._machine.free is None else self._machine.free

    def allocate(self, size: int) -> Tensor:
        machine = self._machine
        machine.allocations += 1
        if machine.free is not None and size > machine.free:
            raise out_of_memory(size, machine.free, machine.gpu.memory_bytes, machine.gpu.name)
        whole = torch.full((size + ALIGNMENT,), 0xA5, dtype=torch.uint8)
        offset = -whole.data_ptr() % ALIGNMENT
        given = whole[offset : offset + size]
        machine.memory[given.data_ptr()] = size, weakref.ref(whole.untyped_storage())
        return given

    def current_stream(self) -> HostStream:
        stream: HostStream = getattr(self._current, "stream", self._machine.streams[0])
        return stream

    def new_stream(self) -> HostStream:
        return HostStream(self._machine)

    @contextmanager
    def current(self) -> Iterator[None]:
        self._machine.current.append(0)
        try:
            yield
        finally:
            self._machine.current.pop()

    @contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        """Whatever any thread queues on a stream is captured with the rest, so two may not be on one that captures."""
        assert isinstance(stream, HostStream)
        before, self._current.stream = self.current_stream(), stream
        place = stream.cuda_stream, threading.get_ident()
        self._entered.append(place)
        try:
            self._check_captures()
            with self.current():
                yield
        finally:
            self._entered.remove(place)
            self._current.stream = before

    def _check_captures(self) -> None:
        for captured in list(self._machine.capturing):
            if len({thread for stream, thread in list(self._entered) if stream == captured}) > 1:
                raise AssertionError(f"a thread works on stream {captured}, which another one captures")

    def keep(self, tensor: Tensor, stream: Stream) -> None:
        """Nothing runs later than it is queued; that it was asked for is noted."""
        self._machine.kept.append((tensor.data_ptr(), stream.cuda_stream))

    def send(self, item: Any) -> Any:
        return item, self.current_stream()

    def _captured(self, lane: Lane, launch: Callable[[], bool]) -> tuple[bool, Callable[[], None]]:
        stream = self.current_stream()
        stream.synchronize()
        steps: list[Callable[[], None]] = []
        self._machine.capturing[stream.cuda_stream] = steps
        try:
            self._check_captures()
            launched = launch()
        finally:
            del self._machine.capturing[stream.cuda_stream]

        def replay() -> None:
            self._machine.replays += 1
            for step in steps:
                step()

        return launched, replay
