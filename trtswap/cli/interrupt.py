"""Stop long work within a second of Ctrl-C or SIGTERM, whatever a library is doing at that moment.

Python runs signal handlers on the main thread between two bytecodes, and a network may keep that thread inside a
library for minutes. So the work runs in a thread of its own, and the main thread does nothing but wait.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from trtswap.errors import TrtswapError

# How long the work may take to stop by itself, which cleans up best.
GRACE_SECONDS = 0.2
LOOK_SECONDS = 0.25
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

T = TypeVar("T")


class Interrupted(Exception):
    """A signal asked to stop. The work may still be running in its thread: the process has to end soon."""

    def __init__(self, number: int):
        super().__init__(number)
        self.signal = signal.Signals(number)


class Stopped(TrtswapError):
    """Raised inside the work where it notices that it has to stop."""


class StopSwitch:
    """Set by a signal, asked by the work."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raise :class:`Stopped` if the work is to stop."""
        if self._event.is_set():
            raise Stopped("stopped by a signal")


def interruptible(work: Callable[[StopSwitch], T], *, grace: float = GRACE_SECONDS) -> T:
    """Run work in a thread; its result and its exceptions are those of this call.

    Args:
        work: gets a switch, which it is to ask often.
        grace: seconds that the work may take to stop by itself.

    Raises:
        Interrupted: a signal came, and the work was given time to stop.
    """
    switch = StopSwitch()
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work(switch))
        except BaseException as error:  # noqa: BLE001 - passed on to the main thread
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name="trtswap-work", daemon=True)
    with _raised_signals():
        try:
            thread.start()
            # Not result() alone: a signal that comes between Python's last look for one and the wait would be seen when
            # the work has ended.
            while not outcome.done():
                wait((outcome,), timeout=LOOK_SECONDS)
            return outcome.result()
        except Interrupted:
            _ignore_signals()
            switch.set()
            thread.join(grace)
            raise


@contextmanager
def _raised_signals() -> Iterator[None]:
    """Signals that ask to stop become exceptions of the main thread."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
