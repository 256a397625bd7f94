"""Progress of a build, as the library tells it: phases inside phases, each with steps."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from trtswap.backends.trt.library import Library

if TYPE_CHECKING:
    import tensorrt as trt


class BuildListener(Protocol):
    """Is told about a build, from any thread, one call at a time."""

    def phase(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins, inside another or at the top."""

    def step(self, name: str, step: int) -> None:
        """A step of a phase, counted from 0, is done."""

    def finished(self, name: str) -> None:
        """A phase ended, or was given up."""

    def cancelled(self) -> bool:
        """Whether the build is to stop; asked after every step."""


class Silent:
    """Hears everything, says nothing, and never cancels."""

    def phase(self, name: str, parent: str | None, steps: int) -> None:
        """Nobody wants to know."""

    def step(self, name: str, step: int) -> None:
        """Nobody wants to know."""

    def finished(self, name: str) -> None:
        """Nobody wants to know."""

    def cancelled(self) -> bool:
        return False


class Monitor:
    """Passes a build's progress on to a listener, and its wish to stop back.

    The library calls it from several threads and lets no exception through, so one that the listener raises is kept,
    ends the build, and is raised by whoever started it.
    """

    def __init__(self, listener: BuildListener) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self.error: Exception | None = None
        self.cancelled = False

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        with self._lock:
            self._guarded(lambda: self._listener.phase(phase_name, parent_phase or None, num_steps))

    def step_complete(self, phase_name: str, step: int) -> bool:
        """False tells the library to stop."""
        with self._lock:
            self._guarded(lambda: self._listener.step(phase_name, step))
            self._guarded(self._ask)
            return not self.cancelled and self.error is None

    def phase_finish(self, phase_name: str) -> None:
        with self._lock:
            self._guarded(lambda: self._listener.finished(phase_name))

    def _ask(self) -> None:
        self.cancelled = self.cancelled or self._listener.cancelled()

    def _guarded(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception as e:  # noqa: BLE001 - kept for the thread that started the build
            self.error = self.error or e


def progress_of(library: Library, monitor: Monitor) -> "trt.IProgressMonitor":
    """The monitor as the library wants to be given one."""
    trt = library.trt

    base: Any = trt.IProgressMonitor

    class Hook(base):
        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            monitor.phase_start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return monitor.step_complete(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            monitor.phase_finish(phase_name)

    return Hook()
