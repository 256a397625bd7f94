"""One run of ``trtswap swap``: check everything, load, swap, tell. Ctrl-C and SIGTERM stop it within a second."""

import os.path
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from trtswap.cli.console import print_json, report_loss, say, stderr, stdout, warn
from trtswap.cli.interrupt import StopSwitch, interruptible
from trtswap.cli.people import People
from trtswap.cli.progress import Display, display_for
from trtswap.cli.runtime import Running, in_one_line
from trtswap.errors import InputError
from trtswap.faces.cast import Who
from trtswap.files import Target
from trtswap.options import SwapOptions
from trtswap.session.observers import Observer
from trtswap.swapper import Swapper


@dataclass(frozen=True)
class Outcome:
    """What a run made.

    Attributes:
        facts: for ``--json``.
        line: the same in one line for people.
        warnings: one sentence each.
        loss: what of the source could not be read, None if it was whole.
    """

    facts: dict[str, Any]
    line: str
    warnings: Sequence[str] = field(default=())
    loss: str | None = None


@dataclass(frozen=True, kw_only=True)
class Job(ABC):
    """What is to be swapped.

    Attributes:
        source, target: the file to change and the file to write.
        overwrite: whether ``target`` may exist.
    """

    source: Path
    target: Path
    overwrite: bool
    people: People
    running: Running
    options: SwapOptions

    @property
    def targets(self) -> tuple[Path, ...]:
        """Every file that the job writes."""
        return (self.target,)

    @abstractmethod
    def check_source(self) -> int | None:
        """Refuse at once what cannot be read, before a pack is loaded.

        Returns:
            How many frames there are to swap; None where nobody knows.
        """

    @abstractmethod
    def run(self, swapper: Swapper, who: Who, observers: Sequence[Observer], places: Mapping[Path, Target]) -> Outcome:
        """Swap and write; ``places`` has what was claimed for each of ``targets``."""

    def check(self) -> int | None:
        """Refuse at once what cannot end well.

        Returns:
            How many frames there are to swap; None where nobody knows.

        Raises:
            typer.BadParameter: the options contradict each other.
            TrtswapError: a file cannot be read, or a target is one of them.
        """
        self.people.check()
        frames = self.check_source()
        for target in self.targets:
            for picture in self.people.pictures():
                if os.path.exists(target) and os.path.samefile(target, picture):
                    raise InputError(f"{target}: is one of the pictures of people; expected another name.")
        return frames

    def place(self, target: Path) -> Target:
        """Claim the place where one of the targets is to be written.

        Raises:
            BusyError, WriteError: it cannot be written.
        """
        return Target(target, source=self.source, overwrite=self.overwrite)


class StopObserver(Observer):
    """Ends a swap at the next stage once a signal has come."""

    def __init__(self, switch: StopSwitch):
        self._switch = switch

    def stage(self, name: str) -> None:
        self._switch.check()


def perform(job: Job, *, as_json: bool, quiet: bool, keep_going: bool) -> None:
    """Do a job and tell about it.

    Raises:
        TrtswapError: it failed; no unfinished file is left.
        TruncatedError: the source is cut off; what could be read was swapped and kept.
        Interrupted: a signal stopped it.
    """
    job = replace(job, running=job.running.of_frames(job.check()))
    console = stderr()
    with ExitStack() as unfinished:  # on the main thread: what the work has not finished goes, whatever it is doing
        places = {target: unfinished.enter_context(job.place(target)) for target in job.targets}
        with display_for(console, quiet=quiet) as display:
            outcome = interruptible(lambda switch: _work(job, places, console, display, switch, quiet=quiet))
    for warning in outcome.warnings:
        warn(console, warning)
    if as_json:
        print_json(outcome.facts)
    elif not quiet:
        say(stdout(), outcome.line)
    if outcome.loss is not None:
        text = f"{job.source}: {outcome.loss}; what could be read was swapped and is in {job.target}"
        report_loss(console, text, keep_going=keep_going)


def _work(
    job: Job, places: Mapping[Path, Target], console: Console, display: Display, switch: StopSwitch, *, quiet: bool
) -> Outcome:
    with job.running.open(job.options) as swapper:
        switch.check()
        if not quiet:
            say(console, in_one_line(swapper), style="dim")
            if job.people.sample:
                say(console, f"No -s FACE.png was given: showing the pack's sample {job.people.sources[0].name}.")
        display.stage("identity")
        who = job.people.who(swapper)
        return job.run(swapper, who, [StopObserver(switch), display], places)
