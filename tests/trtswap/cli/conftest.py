"""Running the command line in this process, and small real clips to run it on."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from trtswap.cli import main


@dataclass
class Ran:
    """How a run ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Everything printed, in one line and without the frame around errors."""
        return " ".join((self.out + self.err).replace("│", " ").split())


Run = Callable[..., Ran]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("swap", path, ...)``: the whole command line, but for the process around it."""

    def command(*arguments: object) -> Ran:
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        code = exit_.value.code
        assert isinstance(code, int)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Ran(code, captured.out, captured.err)

    return command


def small_copy(source: Path, target: Path, frames: int, size: tuple[int, int], **container: str) -> Path:
    """The first frames of a video, made smaller."""
    with av.open(str(source)) as video, av.open(str(target), "w", container_options=container) as output:
        stream = output.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "18"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(video.decode(video=0)):
            if number == frames:
                break
            small = frame.reformat(width=size[0], height=size[1], format="yuv420p")
            small.pts, small.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(small))
        output.mux(stream.encode(None))
    return target


@pytest.fixture(scope="session")
def clips(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One speaker: ``few.mp4`` (3 frames), ``one.mp4`` (10), ``long.mp4`` (30, header first); none: ``gray.mp4``,
    ``sound.m4a``.
    """
    folder = tmp_path_factory.mktemp("clips")
    small_copy(data / "presenter.mp4", folder / "few.mp4", 3, (640, 360))
    small_copy(data / "presenter.mp4", folder / "one.mp4", 10, (640, 360))
    small_copy(data / "presenter.mp4", folder / "long.mp4", 30, (640, 360), movflags="faststart")
    _gray(folder / "gray.mp4")
    _sound(folder / "sound.m4a")
    return folder


@pytest.fixture(scope="session")
def pictures(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``face.png``, ``two.png`` (the same face twice) and ``gray.png`` (none)."""
    folder = tmp_path_factory.mktemp("pictures")
    shutil.copy(data / "astronaut.png", folder / "face.png")
    face = np.asarray(Image.open(data / "astronaut.png").convert("RGB"))
    Image.fromarray(np.concatenate([face, face], axis=1)).save(folder / "two.png")
    Image.new("RGB", (320, 240), "gray").save(folder / "gray.png")
    return folder


def _gray(path: Path) -> None:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 192, "yuv420p"
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((288, 320), 128, np.uint8), "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def _sound(path: Path) -> None:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 48_000, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def frames_in(path: Path) -> int:
    """Frames of a video, counted by decoding them all."""
    with av.open(str(path)) as video:
        return sum(1 for _ in video.decode(video=0))
