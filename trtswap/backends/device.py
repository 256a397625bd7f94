"""The GPU as the TensorRT backend needs it: what it is, its memory, its streams, and recorded work.

This is the one place that CUDA is reached through. The protocols say all that the backend asks of a device;
:func:`find_gpu` gives the one that PyTorch sees.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from trtswap.errors import BackendError, DeviceMemoryError

_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class GpuFacts:
    """What a GPU is.

    Attributes:
        name: as the driver has it, such as ``NVIDIA L4``.
        compute_capability: such as ``8.9``.
        memory_bytes: all of its memory.
        cuda: CUDA version of PyTorch's runtime; None where it is unknown.
        driver: version of the driver; None where the system does not tell.
    """

    name: str
    compute_capability: str
    memory_bytes: int
    cuda: str | None
    driver: str | None


class Stream(Protocol):
    """A queue of work on a GPU: what :class:`torch.cuda.Stream` has."""

    @property
    def cuda_stream(self) -> int:
        """The ``cudaStream_t`` as a number; 0 is the default stream."""

    def wait_stream(self, stream: Any) -> None:
        """Work queued from now on waits for what is queued on another stream so far; the host does not."""

    def synchronize(self) -> None:
        """The host waits for everything queued so far."""


class NotRecordableError(Exception):
    """Work cannot be recorded for replay; the message says why."""


class Gpu(Protocol):
    """One device."""

    @property
    def device(self) -> torch.device: ...

    @property
    def facts(self) -> GpuFacts: ...

    def allocate(self, size: int) -> Tensor:
        """Uninitialised memory: uint8 [size], aligned to 256 bytes.

        Raises:
            DeviceMemoryError: there is not enough.
        """

    def current_stream(self) -> Stream:
        """The stream that the calling thread queues its work on, whoever made it."""

    def new_stream(self) -> Stream: ...

    def on(self, stream: Stream) -> AbstractContextManager[Any]:
        """Queue PyTorch's work on a stream."""

    def record(self, stream: Stream, launch: Callable[[], bool]) -> Callable[[], None]:
        """Record what ``launch`` queues on a stream, without running it; the host waits for the stream first.

        Returns:
            A call that queues the recorded work again, with the same addresses and shapes, on the current stream.

        Raises:
            NotRecordableError: ``launch`` returned False, or did something that cannot be recorded.
        """


class CudaGpu:
    """A CUDA device, through PyTorch."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

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

    def on(self, stream: Stream) -> AbstractContextManager[Any]:
        return torch.cuda.stream(stream)  # type: ignore[arg-type]

    def record(self, stream: Stream, launch: Callable[[], bool]) -> Callable[[], None]:
        # torch.cuda.graph would also collect garbage and empty PyTorch's cache, which costs far more than the capture.
        # thread_local: what other threads do meanwhile, decoding for one, neither is recorded nor spoils the recording.
        graph = torch.cuda.CUDAGraph()
        with self.on(stream):
            stream.synchronize()
            try:
                graph.capture_begin(capture_error_mode="thread_local")
                try:
                    launched = launch()
                finally:
                    graph.capture_end()
            except RuntimeError as e:
                raise NotRecordableError(str(e)) from e
        if not launched:
            raise NotRecordableError("it was refused during recording")
        return graph.replay


def find_gpu(device: torch.device | None = None) -> Gpu:
    """The GPU that PyTorch sees; nothing of CUDA is touched where there is none.

    Args:
        device: a CUDA device; None: PyTorch's current one.

    Raises:
        BackendError: there is no driver or no GPU, this PyTorch has no CUDA, or ``device`` is no CUDA device.
    """
    if device is not None and device.type != "cuda":
        raise BackendError(f"device is {str(device)!r}; expected a GPU: cuda or cuda:N.")
    if not torch.cuda.is_available():
        built = f"PyTorch {torch.__version__} is built for CUDA {torch.version.cuda}"
        why = f"{built}; check the driver with nvidia-smi" if torch.version.cuda else "this PyTorch is a CPU build"
        raise BackendError(f"PyTorch sees no GPU: {why}.")
    return CudaGpu(torch.device("cuda", torch.cuda.current_device()) if device is None else device)


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
