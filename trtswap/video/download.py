"""Planes on their way from a GPU to the encoder, without a wait on the host where they are sent off."""

from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from trtswap.pixels.frames import Frames


@dataclass(frozen=True)
class Download:
    """Frames that arrive on the host once :meth:`wait` has been called.

    The planes lie in pinned memory, the only kind that a GPU writes while the host goes on. It comes from PyTorch's
    pinned allocator (``CachingHostAllocator`` in its aten/src/ATen/core), which gives a buffer out again once nobody
    holds it and no copy into it is under way: there are as many buffers as batches between the role that sends and
    the one that takes.

    Attributes:
        frames: on the host; not to be looked at before :meth:`wait`.
        arrived: passes when they are complete; None where they always were.
    """

    frames: Frames
    arrived: torch.cuda.Event | None = None

    @classmethod
    def of(cls, frames: Frames) -> "Download":
        """Queue the copy behind what PyTorch's current stream has to do; frames on the host stay where they are.

        The planes may be changed or dropped afterwards by work that is queued on the same stream.
        """
        if frames.device.type != "cuda":
            return cls(frames)
        y, u, v = _pinned_like(frames.planes)
        for target, plane in zip((y, u, v), frames.planes, strict=True):
            target.copy_(plane, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record(torch.cuda.current_stream(frames.device))
        return cls(replace(frames, planes=(y, u, v)), arrived)

    def wait(self) -> Frames:
        """The frames, complete; the host waits for this copy alone. May be called from any thread, more than once."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.frames


def _pinned_like(planes: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Three planes in one buffer, since the pinned allocator rounds each one up to a power of two."""
    sizes = [prod(plane.shape) for plane in planes]
    buffer = torch.empty(sum(sizes), dtype=planes[0].dtype, pin_memory=True)
    y, u, v = (part.view(plane.shape) for part, plane in zip(torch.split(buffer, sizes), planes, strict=True))
    return y, u, v
