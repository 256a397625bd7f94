"""CUDA, through PyTorch: the one place that it is reached through."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trtswap.backends.device import GpuFacts, NotCapturableError, Stream, tensors_in
from trtswap.backends.lane import Lane
from trtswap.errors import DeviceMemoryError

_DRIVER = Path("/proc/driver/nvidia/version")


class CudaDevice:
    """A CUDA device; :class:`~trtswap.backends.device.Gpu` says what it does.

    Nothing here grows with the number of videos: there is one lane for each name of a role.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._lanes: dict[str, Lane] = {}
        self._lock = threading.Lock()
        self._capturing = threading.Lock()
        self._capture_stream: Stream | None = None

    @cached_property
    def facts(self) -> GpuFacts:
        properties = torch.cuda.get_device_properties(self.device)
        return GpuFacts(
            name=properties.name,
            compute_capability=f"{properties.major}.{properties.minor}",
            memory_bytes=properties.total_memory,
            cuda=torch.version.cuda,
            driver=driver_version(),
        )

    def free_bytes(self) -> int:
        """Also counts what PyTorch has taken and given to nobody."""
        free, _ = torch.cuda.mem_get_info(self.device)
        return free + torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)

    def allocate(self, size: int) -> Tensor:
        try:
            return torch.empty(size, dtype=torch.uint8, device=self.device)
        except torch.OutOfMemoryError as e:
            free, total = torch.cuda.mem_get_info(self.device)
            raise out_of_memory(size, free, total, self.facts.name) from e

    def current_stream(self) -> Stream:
        return torch.cuda.current_stream(self.device)

    def new_stream(self) -> Stream:
        stream: Stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        return stream

    def current(self) -> AbstractContextManager[Any]:
        return torch.cuda.device(self.device)

    def on(self, stream: Stream) -> AbstractContextManager[Any]:
        return torch.cuda.stream(stream)  # type: ignore[arg-type]

    def lane(self, role: str) -> Lane:
        with self._lock:
            if role not in self._lanes:
                self._lanes[role] = Lane(self)
            return self._lanes[role]

    def keep(self, tensor: Tensor, stream: Stream) -> None:
        tensor.record_stream(stream)  # type: ignore[arg-type]

    def role(self, name: str) -> AbstractContextManager[None]:
        return self._in_role(self.lane(name).stream, self.current_stream())

    @contextmanager
    def _in_role(self, stream: Stream, callers: Stream) -> Iterator[None]:
        with self.current(), self.on(stream):
            stream.wait_stream(callers)
            try:
                yield
            finally:
                callers.wait_stream(stream)

    def send(self, item: Any) -> Any:
        made = torch.cuda.Event()  # type: ignore[no-untyped-call]
        made.record(torch.cuda.current_stream(self.device))
        return item, made

    def receive(self, parcel: tuple[Any, torch.cuda.Event]) -> Any:
        item, made = parcel
        stream: Any = self.current_stream()
        stream.wait_event(made)
        for tensor in tensors_in(item):
            if tensor.device == self.device:
                self.keep(tensor, stream)
        return item

    def capture(self, lane: Lane, launch: Callable[[Stream], bool]) -> Callable[[], None]:
        # torch.cuda.graph would also collect garbage and empty PyTorch's cache, which costs far more than the capture.
        # A stream of its own: whatever any thread queues on a capturing stream is captured, and other videos go on
        # with their work on the lane's meanwhile. thread_local: what they call neither spoils the capture. A wait for
        # the whole device would spoil it in any mode (NVIDIA/TensorRT#2888), so ours is under the lock.
        with self._capturing, self.current():
            stream = self._capture_stream = self._capture_stream or self.new_stream()
            try:
                with self.on(stream):
                    launched, replay = self._captured(lane, lambda: launch(stream))
            except RuntimeError as e:
                raise NotCapturableError(str(e)) from e
        if not launched:
            raise NotCapturableError("it was refused during the capture")
        return replay

    def _captured(self, lane: Lane, launch: Callable[[], bool]) -> tuple[bool, Callable[[], None]]:
        """What ``launch`` says, and a call that replays what it queued on the current stream."""
        torch.cuda.synchronize(self.device)
        pool = lane.graph_pool = lane.graph_pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        ended = False
        try:
            graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            try:
                return launch(), graph.replay
            finally:
                graph.capture_end()
                ended = True
        finally:
            if not ended:
                self._forget(graph, pool)

    def _forget(self, graph: torch.cuda.CUDAGraph, pool: Any) -> None:
        """Bring PyTorch back after a capture that did not end.

        ``capture_begin`` and ``capture_end`` raise before they have told the allocator where CUDA refuses or calls the
        capture spoiled (CUDAGraph.cpp of PyTorch 2.13). It would count a capture as under way for good then, and give
        no memory that passed between streams to anybody again.
        """
        graph.reset()
        with suppress(RuntimeError):  # that no capture into the pool is under way
            torch._C._cuda_endAllocateToPool(self.device.index, pool)
            torch._C._cuda_releasePool(self.device.index, pool)


def driver_version() -> str | None:
    """Version of NVIDIA's kernel module, such as ``580.95.05``; None where Linux does not tell."""
    if not _DRIVER.is_file():
        return None
    words = _DRIVER.read_text("utf-8").split()
    return next((w for w in words if w[0].isdigit() and w.count(".") >= 1), None)


def driver_cuda_version() -> str | None:
    """Newest CUDA that the driver runs, such as ``13.0``; None without cuda-bindings or without a driver."""
    try:
        from cuda.bindings import runtime  # noqa: PLC0415 - part of the tensorrt extra
    except ImportError:
        return None
    error, number = runtime.cudaDriverGetVersion()
    # CUDA counts 1000 for the major and 10 for the minor version, and gives 0 where there is no driver.
    return f"{number // 1000}.{number % 1000 // 10}" if int(error) == 0 and number else None


def out_of_memory(size: int, free: int, total: int, name: str) -> DeviceMemoryError:
    """An error that says what was wanted and what is there, all in bytes."""
    return DeviceMemoryError(
        f"{name} has no memory for {size / 2**20:.0f} MiB: {free / 2**20:.0f} of {total / 2**20:.0f} MiB are free. "
        "Close other programs that use it, or build engines for fewer faces: "
        "`trtswap build-engines --faces 1,2,4 --batch 1,4,8`."
    )
