"""A CUDA stream for each thread of a flow, ordered by events; nothing waits on the host."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from trtswap.session.flow import Handover, InMemory


class CudaStreams:
    """The work of a role is queued on a stream of its own.

    An item that passes to another role carries an event: what the next role queues runs after what the one before
    has queued. Memory of the item is not given to anyone else before both streams are done with it.
    """

    def __init__(self, device: torch.device):
        self._device = device

    @contextmanager
    def role(self, name: str) -> Iterator[None]:
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        with torch.cuda.device(self._device), torch.cuda.stream(stream):
            yield

    def send(self, item: Any) -> tuple[Any, torch.cuda.Event]:
        made = torch.cuda.Event()  # type: ignore[no-untyped-call]
        made.record()
        return item, made

    def receive(self, parcel: Any) -> Any:
        item, made = parcel
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(made)
        for tensor in tensors_of(item):
            if tensor.is_cuda:
                tensor.record_stream(stream)
        return item


def handover_for(device: torch.device) -> Handover:
    """How the roles of a swap on this device pass items on."""
    return CudaStreams(device) if device.type == "cuda" else InMemory()


def tensors_of(item: Any) -> Iterator[Tensor]:
    """Every tensor inside of dataclasses, sequences and mappings."""
    if isinstance(item, Tensor):
        yield item
    elif is_dataclass(item) and not isinstance(item, type):
        for entry in fields(item):
            yield from tensors_of(getattr(item, entry.name))
    elif isinstance(item, Mapping):
        for value in item.values():
            yield from tensors_of(value)
    elif isinstance(item, Sequence) and not isinstance(item, str | bytes):
        for value in item:
            yield from tensors_of(value)
