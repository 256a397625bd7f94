"""What the engines of one role share: a stream, scratch memory, and the order of their work."""

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from trtswap.backends.device import Gpu, Stream


class Lane:
    """One stream and the scratch memory of everything that runs on it.

    Work on a stream runs in the order in which it was queued, so engines on the same lane never overlap and one piece
    of memory, as large as the most demanding of them needs, serves them all. It is never the default stream, around
    work on which TensorRT waits for the whole device.

    Attributes:
        stream: all work of the lane is queued on it.
        graph_pool: PyTorch's handle of the memory that captures on the lane share; None before the first.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._lock = threading.RLock()
        self._scratch: weakref.ref[Tensor] | None = None
        self.stream: Stream = gpu.new_stream()
        self.graph_pool: Any = None

    def scratch(self, size: int) -> Tensor:
        """Memory of at least so many bytes, uint8, that holds nothing from one run to the next.

        All who ask share it; it lives as long as one of them keeps it. Where it is too small, there is a larger one
        from then on, and who keeps the old one may go on with it.

        Raises:
            DeviceMemoryError: there is not enough.
        """
        with self._lock:
            known = self._scratch() if self._scratch is not None else None
            if known is None or known.numel() < size:
                # Allocated on the lane's stream, so that PyTorch gives old memory to nobody who could be earlier.
                with self._gpu.on(self.stream):
                    known = self._gpu.allocate(size)
                self._scratch = weakref.ref(known)
            return known

    @contextmanager
    def entered(self) -> Iterator[Stream]:
        """Queue on the lane: after everything on the caller's stream so far, and before everything after this.

        One thread at a time, so that what it queues stays together.

        Yields:
            The caller's stream; the lane's own where the caller works on the lane already.
        """
        callers = self._gpu.current_stream()
        with self._lock:
            if callers.cuda_stream == self.stream.cuda_stream:
                yield callers
                return
            self.stream.wait_stream(callers)
            try:
                with self._gpu.on(self.stream):
                    yield callers
            finally:
                callers.wait_stream(self.stream)
