"""Memory of another library's that a CUDA stream has yet to read."""

from collections import deque
from typing import Any

import torch


class InFlight:
    """Keeps objects alive until the work queued behind them has been done.

    PyTorch knows nothing of memory that came in by DLPack: once the last reference to it is gone, its owner uses it
    for something else, even if a copy out of it is queued and has not run.

    Args:
        depth: sets of objects that may wait at the same time; for one more, the host waits for the oldest.
    """

    def __init__(self, depth: int = 2) -> None:
        self._depth = depth
        self._held: deque[tuple[torch.cuda.Event, Any]] = deque()

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, objects: Any, stream: torch.cuda.Stream) -> None:
        """Keep ``objects`` until all that is queued on ``stream`` by now has been done."""
        passed = torch.cuda.Event()  # type: ignore[no-untyped-call]
        passed.record(stream)
        self._held.append((passed, objects))
        while self._held and self._held[0][0].query():  # type: ignore[no-untyped-call]
            self._held.popleft()
        while len(self._held) > self._depth:
            self._release_oldest()

    def release(self) -> None:
        """Wait for everything that is held, and let it go; safe to call twice."""
        while self._held:
            self._release_oldest()

    def _release_oldest(self) -> None:
        self._held[0][0].synchronize()
        self._held.popleft()
