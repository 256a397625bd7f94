"""Streams and scratch memory that the engines of one Swapper share."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trtswap.backends.device import Gpu, Stream

# cudaStreamLegacy and cudaStreamPerThread are the default stream by another name.
DEFAULT_STREAMS = (0, 1, 2)


class Lane:
    """One stream and the scratch memory of everything that runs on it.

    Work on a stream runs in the order in which it was queued, so engines on the same lane never overlap and one piece
    of memory, as large as the most demanding of them needs, serves them all.

    Args:
        gpu: where it is.
        callers: the stream that the caller works on. TensorRT waits for the whole device around work on the default
            stream, so for that one the lane has a stream of its own, ordered before and after it.
    """

    def __init__(self, gpu: Gpu, callers: Stream) -> None:
        self._gpu = gpu
        self.borrowed = callers.cuda_stream not in DEFAULT_STREAMS
        self.stream = callers if self.borrowed else gpu.new_stream()
        self.scratch = torch.empty(0, dtype=torch.uint8, device=gpu.device)

    def reserve(self, size: int) -> None:
        """Have at least so many bytes of scratch memory; what is too small is replaced."""
        if self.scratch.numel() < size:
            # Allocated on the lane's stream, so that PyTorch gives the old memory to nobody who could be earlier.
            with self._gpu.on(self.stream):
                self.scratch = self._gpu.allocate(size)

    @contextmanager
    def entered(self, callers: Stream) -> Iterator[None]:
        """Queue on the lane: after everything on the caller's stream so far, and before everything after this."""
        if self.borrowed:
            yield
            return
        self.stream.wait_stream(callers)
        try:
            with self._gpu.on(self.stream):
                yield
        finally:
            callers.wait_stream(self.stream)


class Lanes:
    """The lanes of one device, by the caller's stream."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._lanes: dict[int, Lane] = {}

    def of(self, callers: Stream) -> Lane:
        """The lane of the stream that the caller works on."""
        lane = self._lanes.get(callers.cuda_stream)
        if lane is None:
            lane = self._lanes.setdefault(callers.cuda_stream, Lane(self._gpu, callers))
        return lane
