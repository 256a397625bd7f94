"""What is shown while a swap runs."""

import io
from fractions import Fraction

import pytest
import torch
from rich.console import Console

from trtswap.cli import progress
from trtswap.cli.console import count
from trtswap.cli.progress import Bar, Display, Lines, Tally, display_for, duration
from trtswap.faces import Faces
from trtswap.pixels.color import RGB24
from trtswap.pixels.frames import Frames


def batch(size: int) -> Frames:
    plane = torch.zeros(size, 4, 4, dtype=torch.uint8)
    return Frames((plane, plane, plane), RGB24, torch.eye(3)[:2], (4, 4), tuple(range(size)), (1,) * size, Fraction(1))


def faces_in(*frames: int) -> Faces:
    found = Faces.none()
    n = len(frames)
    return Faces(torch.tensor(frames), *(part.new_zeros(n, *part.shape[1:]) for part in (found.box, found.landmarks)),
                 found.score.new_zeros(n), found.track.new_zeros(n))  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_tally(clock: list[float]) -> None:
    tally = Tally()
    tally.begin(40)
    assert tally.seconds_left is None
    clock[0] += 2
    tally.add(batch(8), faces_in(0, 0, 3))
    assert (tally.done, tally.rate, tally.seconds_left, tally.faces) == (8, 4.0, 8.0, 2)
    assert str(tally) == "8/40 frames, 4.0 fps, 8 s left, 2 faces"


def test_tally_of_a_video_that_is_longer_than_its_header_says(clock: list[float]) -> None:
    tally = Tally()
    tally.begin(4)
    clock[0] += 1
    tally.add(batch(8), Faces.none())
    assert tally.total == 8
    assert tally.seconds_left == 0


def test_tally_without_a_total(clock: list[float]) -> None:
    tally = Tally()
    tally.begin(None)
    clock[0] += 1
    tally.add(batch(2), faces_in(1))
    assert str(tally) == "2 frames, 2.0 fps, 1 face"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (65, "1:05"), (7384, "2:03:04")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_count() -> None:
    assert [count(n, "face") for n in (0, 1, 2)] == ["0 faces", "1 face", "2 faces"]


def test_lines_are_seconds_apart(clock: list[float]) -> None:
    out = io.StringIO()
    lines = Lines(Console(file=out, width=20))
    with lines:
        lines.tally.begin(100)
        for _ in range(10):
            clock[0] += 2
            lines.after(0, batch(4), faces_in(0))
    assert out.getvalue().splitlines() == [
        " 12% 12/100 frames, 2.0 fps, 44 s left, 1 face",
        " 24% 24/100 frames, 2.0 fps, 38 s left, 1 face",
        " 36% 36/100 frames, 2.0 fps, 32 s left, 1 face",
    ]


@pytest.mark.parametrize(("width", "shown"), [(100, "4/8 frames"), (40, "fps")])
def test_bar_fits_its_terminal(width: int, shown: str) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    with Bar(console) as bar:
        bar.tally.begin(8)
        bar.stage("swap")
        bar.after(0, batch(4), faces_in(0))
        console.print("a line above")
    text = out.getvalue()
    assert "swapping" in text
    assert shown in text
    assert "…" not in text


def test_the_display_suits_the_console() -> None:
    terminal, pipe = Console(file=io.StringIO(), force_terminal=True), Console(file=io.StringIO())
    assert isinstance(display_for(terminal, quiet=False), Bar)
    assert isinstance(display_for(pipe, quiet=False), Lines)
    assert type(display_for(terminal, quiet=True)) is Display
