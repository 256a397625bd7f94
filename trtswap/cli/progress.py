"""Show how far a running swap is: a bar on a terminal, a line every few seconds elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

from trtswap.cli.console import count, say
from trtswap.faces import Faces
from trtswap.model.stages import STAGES
from trtswap.pixels.frames import Frames
from trtswap.session.observers import Observer
from trtswap.video.info import VideoInfo

LINE_SECONDS = 5.0
WIDE = 80  # columns from which on there is room for a bar
DOING = {kind.name: kind.doing for kind in STAGES.values()} | {
    "load": "loading",
    "identity": "source face",
    "decode": "decoding",
    "track": "tracking",
    "align": "aligning",
    "blend": "blending",
    "paste": "pasting",
    "encode": "encoding",
}


class Tally:
    """Counts frames and faces, and estimates what is left.

    Attributes:
        total: frames to expect, None where nobody knows.
        done: frames so far.
        faces: most faces in a frame of the last batch.
    """

    def __init__(self) -> None:
        self.total: int | None = None
        self.done = 0
        self.faces = 0
        self._started = time.monotonic()

    def begin(self, total: int | None) -> None:
        self.total = total
        self._started = time.monotonic()

    def add(self, frames: Frames, faces: Faces) -> None:
        self.done += len(frames)
        self.faces = max((int((faces.frame_index == b).sum()) for b in range(len(frames))), default=0)
        if self.total is not None:
            self.total = max(self.total, self.done)

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.done / max(time.monotonic() - self._started, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        if self.total is None or not self.done:
            return None
        return (self.total - self.done) / self.rate

    @property
    def pace(self) -> str:
        """Frames per second, and the time left where that is known."""
        left = self.seconds_left
        return f"{self.rate:.1f} fps" + ("" if left is None else f", {duration(left)} left")

    def __str__(self) -> str:
        of = f"/{self.total}" if self.total else ""
        return f"{self.done}{of} frames, {self.pace}, {count(self.faces, 'face')}"


class Display(Observer):
    """An observer that shows something while it is entered; this one shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Bar(Display):
    """A progress bar that redraws itself."""

    def __init__(self, console: Console):
        self.tally = Tally()
        label = Column(width=max(map(len, DOING.values())), no_wrap=True)
        wide = console.width >= WIDE
        columns: list[ProgressColumn] = [
            SpinnerColumn(),
            TextColumn("{task.description}", table_column=label),
            TaskProgressColumn(),
            _TallyColumn(self.tally, wide=wide),
        ]
        if wide:
            columns.insert(2, BarColumn(bar_width=None, table_column=Column(ratio=1)))
        self._progress = Progress(*columns, console=console, transient=True, expand=wide)
        self._task = self._progress.add_task(DOING["load"], total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, info: VideoInfo, expected_frames: int | None) -> None:
        self.tally.begin(expected_frames)
        self._progress.reset(self._task, total=expected_frames)

    def stage(self, name: str) -> None:
        self._progress.update(self._task, description=DOING.get(name, name))

    def after(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        self.tally.add(frames, faces)
        self._progress.update(self._task, completed=self.tally.done, total=self.tally.total)


class _TallyColumn(ProgressColumn):
    """Frames, speed, time left and faces; on a narrow terminal only speed and time left."""

    def __init__(self, tally: Tally, *, wide: bool):
        super().__init__(Column(no_wrap=True))
        self._tally = tally
        self._wide = wide

    def render(self, task: Task) -> Text:
        shown = str(self._tally) if self._wide else self._tally.pace
        return Text(shown if task.completed else "", style="cyan")


class Lines(Display):
    """Prints a line when ``LINE_SECONDS`` have passed since the last one."""

    def __init__(self, console: Console):
        self.tally = Tally()
        self._console = console
        self._printed = time.monotonic()

    def begin(self, info: VideoInfo, expected_frames: int | None) -> None:
        self.tally.begin(expected_frames)

    def after(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        self.tally.add(frames, faces)
        if time.monotonic() - self._printed >= LINE_SECONDS:
            self._printed = time.monotonic()
            share = f"{self.tally.done / self.tally.total:4.0%} " if self.tally.total else ""
            say(self._console, f"{share}{self.tally}")


def display_for(console: Console, *, quiet: bool) -> Display:
    """What suits the console."""
    if quiet:
        return Display()
    return Bar(console) if console.is_terminal else Lines(console)


def duration(seconds: float) -> str:
    """``7 s``, ``1:05`` or ``2:03:04``."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
