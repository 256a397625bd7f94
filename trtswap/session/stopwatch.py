"""How long each stage took, and when."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

# Spans that a clock keeps: some ten minutes of a fast swap, in a few megabytes.
MAX_SPANS = 100_000


@dataclass(frozen=True)
class Span:
    """One stage at work once.

    Attributes:
        stage: its name.
        thread: the name of the thread that it ran in.
        start, end: seconds since the clock was made.
    """

    stage: str
    thread: str
    start: float
    end: float


class Stopwatch:
    """Adds up wall time by stage; may be used by several threads at once.

    On a GPU a stage's launches return before its work is done; with ``synchronise`` the clock waits for the
    thread's own stream at both ends of a stage, which costs overlap: for benchmarks and reports, not for production.
    Each of ``listeners`` is called, in the thread of the stage, with the name of every stage that begins.

    Attributes:
        seconds: by stage, in the order in which they first ended. Stages of different threads overlap, so that the
            sum, and with several workers one stage's alone, may exceed the time that passed.
        spans: the latest stages, oldest first; at most ``MAX_SPANS``.
    """

    def __init__(self, *, synchronise: torch.device | None = None, listeners: Sequence[Callable[[str], None]] = ()):
        self.seconds: dict[str, float] = {}
        self.spans: deque[Span] = deque(maxlen=MAX_SPANS)
        self._made = time.perf_counter()
        self._lock = threading.Lock()
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
            self._add(name, start, time.perf_counter())

    def _add(self, name: str, start: float, end: float) -> None:
        span = Span(name, threading.current_thread().name, start - self._made, end - self._made)
        with self._lock:
            self.seconds[name] = self.seconds.get(name, 0.0) + end - start
            self.spans.append(span)

    def _wait(self) -> None:
        if self._device is not None:
            torch.cuda.current_stream(self._device).synchronize()
