"""Kill writers with -9 at random moments, and look at what is left.

``python tests/fuzz/kills.py --kills 200 --seed 1`` prints what was found as JSON and exits with 1 where anything but
the old or the whole file was under a user's name, or anything was left after the next run in that folder.

Each kill hits a process of its own: a fork of this one that writes the same target over and over (a swapped video, a
pack, an identity, a calibration table, a page), or the whole command line (``--jobs command``).
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from trtswap.calibration.table import CalibrationTable, TensorRange
from trtswap.export.writer import PackWriter
from trtswap.faces.identity import Identity
from trtswap.files import write_whole
from trtswap.model.pack import Pack
from trtswap.options import RuntimeOptions
from trtswap.packs import find_pack
from trtswap.swapper import Swapper

AVATAR = find_pack("avatar")
SAMPLES = AVATAR / "samples"
CLIP_SECONDS = 0.2


class Writer(ABC):
    """Something that writes one target.

    Attributes:
        target: its name.
        seconds: the kill comes within this time after the writer said that it begins.
    """

    target: str
    seconds: float

    @abstractmethod
    def begin(self) -> Callable[[Path, int], object]:
        """In the process that will be killed: open what is needed; what is returned writes a path for the n-th time."""

    @abstractmethod
    def contents(self, path: Path) -> str:
        """What stands at a path, in one word; raises where it is not whole."""

    def start(self, path: Path) -> int:
        """A process that writes, again and again, from now on."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                write = self.begin()
                os.write(writing, b"x")
                for number in range(1_000_000):
                    write(path, number)
            finally:
                os._exit(1)
        os.close(writing)
        if os.read(reading, 1) != b"x":
            raise SystemExit(f"{self.target}: the writer died by itself")
        os.close(reading)
        return child


class Page(Writer):
    target, seconds = "page.html", 0.02

    def begin(self) -> Callable[[Path, int], object]:
        return lambda path, number: write_whole(path, f"<p>{number % 2}</p>" * 20_000, overwrite=True)

    def contents(self, path: Path) -> str:
        text = path.read_text()
        assert text in (f"<p>{number}</p>" * 20_000 for number in (0, 1))
        return text[3]


class Bare(Page):
    """As it should not be done: shows that these kills would see it."""

    def begin(self) -> Callable[[Path, int], object]:
        return lambda path, number: path.write_text(f"<p>{number % 2}</p>" * 20_000)


class SavedIdentity(Writer):
    target, seconds = "who.safetensors", 0.02

    def begin(self) -> Callable[[Path, int], object]:
        people = [Identity(torch.full((512,), 512**-0.5), (str(number),)) for number in (0, 1)]
        return lambda path, number: people[number % 2].save(path)

    def contents(self, path: Path) -> str:
        return Identity.load(path).names[0]


class Table(Writer):
    target, seconds = "calibration.json", 0.05

    def begin(self) -> Callable[[Path, int], object]:
        stages = {"swap": {f"tensor {n}": TensorRange(-1.0, 1.0, 2.0) for n in range(2000)}}
        tables = [CalibrationTable("0" * 64, "1" * 64, (0.0,), faces, stages) for faces in (0, 1)]
        return lambda path, number: tables[number % 2].save(path)

    def contents(self, path: Path) -> str:
        table = CalibrationTable.load(path)
        assert len(table.stages["swap"]) == 2000
        return str(table.faces)


class ExportedPack(Writer):
    target, seconds = "pack", 0.6

    def begin(self) -> Callable[[Path, int], object]:
        avatar = Pack.load(AVATAR)

        def write(path: Path, number: int) -> None:
            with PackWriter(path, overwrite=True) as writer:
                for stage in avatar.stages.values():
                    writer.copy(stage)
                writer.finish(name="copy", version=str(number % 2), licence="CC0", description="", weights={})

        return write

    def contents(self, path: Path) -> str:
        pack = Pack.load(path)  # holds every graph against its hash
        assert len(pack.stages) == 5
        return pack.version


class Video(Writer):
    target, seconds = "out.mp4", 1.0

    def begin(self) -> Callable[[Path, int], object]:
        swapper = Swapper("avatar", backend="onnxruntime", runtime=RuntimeOptions(restore=False, threads=1, batch=2))
        who = [swapper.identity(SAMPLES / f"source_{n}.png") for n in (1, 2)]
        return lambda path, number: swapper.swap_video(
            SAMPLES / "clip.mp4", path, who[number % 2], end=CLIP_SECONDS, overwrite=True, preset="ultrafast"
        )

    def contents(self, path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


class Command(Video):
    target, seconds = "out.mp4", 6.0

    def start(self, path: Path) -> int:
        # Its report lies beside its video; both are written by one process.
        report = path.with_name("report.html")
        start = "from trtswap.cli import main; main()"
        command = [sys.executable, "-P", "-c", start, "swap", SAMPLES / "clip.mp4", "--overwrite", "--no-restore",
                   "--backend", "onnxruntime", "--end", CLIP_SECONDS, "-s", SAMPLES / "source_1.png", "--threads", 1,
                   "--preset", "ultrafast", "--batch", 2, "-q", "-o", path, "--report", report]  # fmt: skip
        return subprocess.Popen([str(part) for part in command]).pid


WRITERS: dict[str, type[Writer]] = {
    "page": Page, "identity": SavedIdentity, "calibration": Table, "pack": ExportedPack, "video": Video,
    "command": Command, "bare": Bare,
}  # fmt: skip


@dataclass
class Found:
    """What the kills of one kind of writer have shown.

    Attributes:
        kills: how many.
        unfinished: after how many there was something to remove.
        faults: what should never be.
    """

    kills: int = 0
    unfinished: int = 0
    faults: list[str] = field(default_factory=list)


class Range:
    """A folder in which writers of one kind are shot.

    Args:
        name: of the writer.
        folder: of its own.
    """

    def __init__(self, name: str, folder: Path) -> None:
        folder.mkdir()
        self.writer, self.found = WRITERS[name](), Found()
        self._path = folder / self.writer.target
        # A video is whole where it is one of the two that an undisturbed writer makes.
        write, whole = self._undisturbed(), set()
        for number in (0, 1):
            write(number)
            whole.add(self.writer.contents(self._path))
        assert len(whole) == 2, f"{name}: the two contents cannot be told apart"
        self._whole = whole

    def _undisturbed(self) -> Callable[[int], None]:
        """Writes in processes of their own, too: a process that has run a network should not be forked."""

        def write(number: int) -> None:
            child = os.fork()
            if child == 0:
                try:
                    self.writer.begin()(self._path, number)
                    os._exit(0)
                finally:
                    os._exit(1)
            if os.waitpid(child, 0)[1] != 0:
                raise SystemExit(f"{self._path}: cannot be written even where nobody kills")

        return write

    def kill(self, chance: random.Random) -> None:
        """One shot, and what is left."""
        child = self.writer.start(self._path)
        time.sleep(chance.uniform(0, self.writer.seconds))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        self.found.kills += 1
        if not os.WIFSIGNALED(status) and not isinstance(self.writer, Command):
            self._fault("the writer ended by itself")
        self._look(chance)

    def _look(self, chance: random.Random) -> None:
        folder = self._path.parent
        left = [name for name in os.listdir(folder) if name.startswith(".")]
        self.found.unfinished += bool(left)
        self._whole_or_old()
        # The next run writes anything into that folder.
        following = folder / chance.choice(["next.mp4", "next"])
        write_whole(following, b"next")
        following.unlink()
        expected = {self.writer.target} | ({"report.html"} if isinstance(self.writer, Command) else set())
        if over := set(os.listdir(folder)) - expected:
            self._fault(f"left after the next run: {sorted(over)}")
        self._whole_or_old()

    def _whole_or_old(self) -> None:
        try:
            if (found := self.writer.contents(self._path)) not in self._whole:
                self._fault(f"the target is something else: {found}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what this looks for
            self._fault(f"the target is damaged: {error!r}")
        report = self._path.with_name("report.html")
        if report.exists() and not report.read_text().rstrip().endswith("</html>"):
            self._fault("the report is cut off")

    def _fault(self, what: str) -> None:
        self.found.faults.append(f"kill {self.found.kills}: {what}")


def run(names: list[str], kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill in turn, and tell per writer what was found."""
    chance = random.Random(seed)
    ranges = {name: Range(name, folder / name) for name in names}
    for number in range(kills):
        ranges[names[number % len(names)]].kill(chance)
    return {name: vars(one.found) for name, one in ranges.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", default="page,identity,calibration,pack,video", help=f"of {', '.join(WRITERS)}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(options.jobs.split(","), options.kills, options.seed, Path(folder))
    print(json.dumps({"kills": options.kills, "seed": options.seed, "writers": found}, indent=1))  # noqa: T201
    sys.exit(any(one["faults"] for one in found.values()))


if __name__ == "__main__":
    main()
