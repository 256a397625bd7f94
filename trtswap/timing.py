"""How long each stage took."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch


class Clock:
    """Adds up wall time by stage.

    On a GPU a stage's launches return before its work is done; with ``synchronise`` the clock waits for the
    device at both ends of a stage, which costs overlap: for benchmarks and reports, not for production.
    Each of ``listeners`` is called with the name of every stage that begins.
    """

    def __init__(self, *, synchronise: torch.device | None = None, listeners: Sequence[Callable[[str], None]] = ()):
        self.seconds: dict[str, float] = {}
        self._listeners = tuple(listeners)
        self._device = synchronise if synchronise is not None and synchronise.type == "cuda" else None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        for listener in self._listeners:
            listener(name)
        self._wait()
        start = time.perf_counter()
        try:
            yield
        finally:
            self._wait()
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def _wait(self) -> None:
        if self._device is not None:
            torch.cuda.synchronize(self._device)
