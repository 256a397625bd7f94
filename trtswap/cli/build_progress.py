"""Show how far a build is: a tree of phases on a terminal, a line every few seconds elsewhere."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from trtswap.cli.console import say

LINE_SECONDS = 5.0


@dataclass
class _Phase:
    """A phase that is going on."""

    depth: int
    steps: int
    done: int = 0
    task: TaskID | None = None


class BuildDisplay:
    """Hears the builder (it fulfils ``trtswap.engines.build.Listener``) and shows the tree of phases.

    Args:
        console: where to.
        quiet: show nothing.
        stop: asked whether the build is to stop.
    """

    def __init__(self, console: Console, *, quiet: bool, stop: Callable[[], bool]) -> None:
        self._console, self._quiet, self._stop = console, quiet, stop
        self._stage = ""
        self._phases: dict[str, _Phase] = {}
        self._said = time.monotonic()
        self._bars: Progress | None = None
        if console.is_terminal and not quiet:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
            self._bars = Progress(SpinnerColumn(), *columns, console=console, transient=True)

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def engine(self, stage: str, reason: str) -> None:
        self._stage = stage
        if not self._quiet:
            say(self._console, f"{stage}: building, because: {reason}.")

    def phase(self, name: str, parent: str | None, steps: int) -> None:
        above = self._phases.get(parent or "")
        phase = self._phases[name] = _Phase(0 if above is None else above.depth + 1, steps)
        if self._bars is not None:
            label = f"{'  ' * phase.depth}{name if phase.depth else f'{self._stage}: {name}'}"
            phase.task = self._bars.add_task(label, total=steps)

    def step(self, name: str, step: int) -> None:
        phase = self._phases.get(name)
        if phase is None:
            return
        phase.done = step + 1
        if self._bars is not None and phase.task is not None:
            self._bars.update(phase.task, completed=phase.done)
        elif not self._quiet and time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            say(self._console, f"{self._stage}: {self._path()}")

    def finished(self, name: str) -> None:
        phase = self._phases.pop(name, None)
        if self._bars is not None and phase is not None and phase.task is not None:
            self._bars.remove_task(phase.task)

    def cancelled(self) -> bool:
        return self._stop()

    def _path(self) -> str:
        """Where the build is: every phase with its steps, the outermost first."""
        return " > ".join(f"{name} {phase.done}/{phase.steps}" for name, phase in self._phases.items())
