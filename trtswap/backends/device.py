"""Devices: one object for each that this process computes on, with its memory and the streams of the roles on it.

:func:`device_of` gives it. A host has memory only; of a GPU the protocol :class:`Gpu` says all that backends ask beyond
that, and :mod:`trtswap.backends.cuda` is the one place that CUDA is reached through.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from trtswap.backends import host_memory
from trtswap.errors import BackendError

if TYPE_CHECKING:
    from trtswap.backends.lane import Lane


class Device(Protocol):
    """What computes. It is also how items pass from one role of a :class:`~trtswap.session.flow.Flow` to the next."""

    @property
    def device(self) -> torch.device: ...

    def free_bytes(self) -> int:
        """Memory that nobody uses now."""

    def role(self, name: str) -> AbstractContextManager[None]:
        """The work of a role on its own stream, which is made once for each name.

        Called in the thread that runs the flow; the result is entered in the role's thread, whose work is queued on
        the stream from then on, after what the caller had queued. When it is left, the caller's stream waits for the
        role's.
        """

    def send(self, item: Any) -> Any:
        """Called in the giving thread; what comes back is put into the queue."""

    def receive(self, parcel: Any) -> Any:
        """Called in the taking thread with what :meth:`send` made; gives the item back."""


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


class NotCapturableError(Exception):
    """Work cannot be captured for replay; the message says why."""


class Gpu(Device, Protocol):
    """A device with streams and memory of its own."""

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

    def current(self) -> AbstractContextManager[Any]:
        """Make it CUDA's current device in this thread: libraries that are given no device take that one."""

    def on(self, stream: Stream) -> AbstractContextManager[Any]:
        """Queue PyTorch's work on a stream."""

    def lane(self, role: str) -> "Lane":
        """The stream of a role and what the engines on it share; made once for each role."""

    def keep(self, tensor: Tensor, stream: Stream) -> None:
        """Give a tensor's memory to nobody before what is queued on ``stream`` when it is freed has run."""

    def capture(self, lane: "Lane", launch: Callable[[Stream], bool]) -> Callable[[], None]:
        """Capture what ``launch`` queues, without running it.

        One capture at a time on a device; it begins when everything queued on the device has run. Where it fails, the
        device is as it was before. What other threads queue meanwhile, on the lane too, is not captured.

        Args:
            lane: where the work will be played back; the captures of one share memory.
            launch: queues the work on the stream that it is given, which is the current one.

        Returns:
            A call that queues the captured work again, with the same addresses and shapes, on the current stream.

        Raises:
            NotCapturableError: ``launch`` returned False, or did something that cannot be captured.
        """


class HostDevice:
    """The CPU: work is done when a call returns, so that nothing has to be ordered."""

    device = torch.device("cpu")

    def free_bytes(self) -> int:
        return host_memory.free_bytes()

    def role(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def send(self, item: Any) -> Any:
        return item

    def receive(self, parcel: Any) -> Any:
        return parcel


# Streams and captures are the process's own, so all that use a device have to share one object. By index of the GPU;
# None is the host.
_DEVICES: dict[int | None, Device] = {}
_LOCK = threading.Lock()


def device_of(device: torch.device) -> Device:
    """The one object of a device in this process.

    Raises:
        BackendError: it is neither a CPU nor a CUDA device.
    """
    if device.type not in ("cpu", "cuda"):
        raise BackendError(f"device is {str(device)!r}; expected cpu, cuda or cuda:N.")
    index = None
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
    with _LOCK:
        if index not in _DEVICES:
            from trtswap.backends.cuda import CudaDevice  # noqa: PLC0415 - imports this module

            _DEVICES[index] = HostDevice() if index is None else CudaDevice(torch.device("cuda", index))
        return _DEVICES[index]


def find_gpu(device: torch.device | None = None) -> Gpu:
    """The GPU that PyTorch sees; nothing of CUDA is touched where there is none.

    Args:
        device: a CUDA device; None: PyTorch's current one.

    Raises:
        BackendError: there is no driver or no GPU, this PyTorch has no CUDA, or ``device`` is no CUDA device.
    """
    from trtswap.backends.cuda import CudaDevice  # noqa: PLC0415 - imports this module

    if device is not None and device.type != "cuda":
        raise BackendError(f"device is {str(device)!r}; expected a GPU: cuda or cuda:N.")
    if not torch.cuda.is_available():
        built = f"PyTorch {torch.__version__} is built for CUDA {torch.version.cuda}"
        why = (
            f"{built}; check the driver with nvidia-smi"
            if torch.version.cuda
            else (
                "this PyTorch is a CPU build; a GPU needs NVIDIA's driver and the CUDA build of torch, from pytorch.org"
            )
        )
        raise BackendError(f"PyTorch sees no GPU: {why}.")
    gpu = device_of(device or torch.device("cuda"))
    assert isinstance(gpu, CudaDevice)  # noqa: S101 - of a CUDA device there is no other
    return gpu


def tensors_in(item: Any) -> Iterator[Tensor]:
    """Every tensor inside of dataclasses, sequences and mappings."""
    if isinstance(item, Tensor):
        yield item
    elif is_dataclass(item) and not isinstance(item, type):
        for entry in fields(item):
            yield from tensors_in(getattr(item, entry.name))
    elif isinstance(item, Mapping):
        for value in item.values():
            yield from tensors_in(value)
    elif isinstance(item, Sequence) and not isinstance(item, str | bytes):
        for value in item:
            yield from tensors_in(value)
