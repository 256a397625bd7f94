"""A CUDA device without one: work is queued on streams, and runs as late as it may.

As CUDA documents its streams: work of one stream keeps its order; two streams know nothing of each other unless one
waits for an event of the other (PyTorch's streams are non-blocking, so not even the default stream is waited for). A
stream runs when the host waits for one of its events, or when another stream that waits for it runs.
"""

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch


class Stream:
    cuda_stream = 0x1000

    def __init__(self) -> None:
        self.queue: list[Callable[[], object]] = []
        self.done = 0

    def add(self, work: Callable[[], object]) -> None:
        self.queue.append(work)

    def run(self, until: int | None = None) -> None:
        until = len(self.queue) if until is None else until
        while self.done < until:
            self.done += 1
            self.queue[self.done - 1]()

    def wait_stream(self, other: "Stream") -> None:
        until = len(other.queue)
        self.add(lambda: other.run(until))

    def wait_event(self, event: "Event") -> None:
        self.add(event.synchronize)

    def synchronize(self) -> None:
        self.run()


class Event:
    def record(self, stream: Stream | None = None) -> None:
        self.stream = stream or torch.cuda.current_stream()
        self.position = len(self.stream.queue)

    def query(self) -> bool:
        return self.stream.done >= self.position

    def synchronize(self) -> None:
        self.stream.run(self.position)


class DeviceTensor(torch.Tensor):
    """Memory of the device: what reads it is queued on the current stream; views are taken at once."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("cuda", 0)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.stack, torch.Tensor.__rshift__, torch.Tensor.__and__):
            plain = [[on_host(t) for t in args[0]], *args[1:]] if func is torch.stack else [on_host(args[0]), *args[1:]]
            out = torch.zeros_like(func(*plain, **kwargs))
            torch.cuda.current_stream().add(lambda: out.copy_(func(*plain, **kwargs)))
            return on_device(out)
        if func is torch.Tensor.copy_:
            target, source = args[0], on_host(args[1])
            assert kwargs.get("non_blocking"), "the host would wait"
            torch.cuda.current_stream().add(lambda: target.copy_(source))
            return target
        return super().__torch_function__(func, types, args, kwargs)


def on_device(tensor: torch.Tensor) -> DeviceTensor:
    return tensor.as_subclass(DeviceTensor)


def on_host(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_subclass(torch.Tensor)


class CudaArray:
    """An array of pycuda's: it has ``__cuda_array_interface__`` and nothing else. Its memory is a NumPy array's."""

    def __init__(self, array: np.ndarray, **interface: Any) -> None:
        self.array = array
        seen = array.__array_interface__
        self.__cuda_array_interface__ = {
            "shape": seen["shape"],
            "strides": seen["strides"],
            "data": seen["data"],
            "typestr": seen["typestr"],
            "stream": None,
            "version": 3,
        } | interface


def _as_tensor(data: CudaArray, *, device: str | None = None) -> torch.Tensor:
    """PyTorch's (``internal_new_from_data`` in csrc/utils/tensor_new.cpp): without a device it copies to the host."""
    interface = data.__cuda_array_interface__
    if interface["data"][1]:
        raise TypeError("the read only flag is not supported, should always be False")
    pointed_at = SimpleNamespace(
        __array_interface__={k: v for k, v in interface.items() if k not in ("stream", "mask")}
    )
    tensor = torch.from_numpy(np.asarray(pointed_at))
    return tensor.clone() if device is None else on_device(tensor)


def plug_in(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Give PyTorch this device: its default stream, a role's stream that is current, a foreign one, what was pinned."""
    device = SimpleNamespace(default=Stream(), current=Stream(), pinned=[], foreign={1: Stream()})
    empty = torch.empty

    def pinned_empty(*shape: Any, pin_memory: bool = False, **kwargs: Any) -> torch.Tensor:
        tensor = empty(*shape, **kwargs)
        if pin_memory:
            device.pinned.append(tensor)
        return tensor

    monkeypatch.setattr(torch, "empty", pinned_empty)
    monkeypatch.setattr(torch, "as_tensor", _as_tensor)
    for name, value in {
        "Event": Event,
        "is_available": lambda: True,
        "current_device": lambda: 0,
        "device": lambda device: nullcontext(),
        "default_stream": lambda place=None: device.default,
        "current_stream": lambda place=None: device.current,
        "ExternalStream": lambda handle, place=None: device.foreign[handle],
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return device
