"""Cases in processes of their own, with limits: what ends one, or keeps it longer than allowed, is found."""

import faulthandler
import gc
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from trtswap.errors import TrtswapError

from .kinds import KINDS

CHUNK = 250  # cases of one process: what one leaves behind may trip the next, but a process takes time to begin
MOST_SECONDS = 20.0
MOST_BYTES = 8 << 30


@dataclass
class Fault:
    """A case that did not end as it should; ``make fuzz ARGS="--again KIND:NUMBER"`` does it again."""

    kind: str
    number: int
    what: str


@dataclass
class Found:
    """What a campaign found: how many cases ended how, and those that should not have ended so."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    slowest: float = 0.0


def case(kind: str, number: int, seed: int, bases: list[Path], folder: Path) -> tuple[Path, Random]:
    """The input of one case, decided by its number, in a folder of its own."""
    rng = Random(f"{seed} {kind} {number}")
    base = rng.choice(bases)
    path = folder / base.name
    path.write_bytes(KINDS[kind].mutated(base.read_bytes(), rng))
    return path, rng


def run(kind: str, numbers: range, seed: int, bases: list[Path]) -> Found:
    """Do cases, a chunk in each process; those after one that ended its process are done by the next."""
    found, rest = Found(), list(numbers)
    while rest:
        done = 0
        with tempfile.TemporaryDirectory(prefix="trtswap-fuzz-") as name:  # of this process, which outlives the other
            for number, outcome, seconds in _lines(kind, rest[:CHUNK], seed, bases, Path(name)):
                done += 1
                word = outcome.partition(" ")[0]
                found.outcomes[kind, word] += 1
                found.slowest = max(found.slowest, seconds)
                if word not in ("ok", "refused"):
                    found.faults.append(Fault(kind, number, outcome))
        del rest[:done]
    return found


def _lines(
    kind: str, numbers: list[int], seed: int, bases: list[Path], folder: Path
) -> Iterator[tuple[int, str, float]]:
    reading, writing = os.pipe()
    gc.freeze()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work(kind, numbers, seed, bases, folder, writing)
    os.close(writing)
    rest, text, began = list(numbers), b"", time.monotonic()
    try:
        while rest:
            ready, _, _ = select.select([reading], [], [], max(0.0, began + MOST_SECONDS - time.monotonic()))
            piece = os.read(reading, 65536) if ready else b""
            if not piece:
                yield rest.pop(0), _ended(child, hung=not ready), time.monotonic() - began
                return
            text += piece
            while b"\n" in text:
                line, _, text = text.partition(b"\n")
                yield rest.pop(0), line.decode("utf-8", "replace"), time.monotonic() - began
                began = time.monotonic()
    finally:
        os.close(reading)
        _ended(child, hung=True)


def _ended(child: int, *, hung: bool) -> str:
    if hung:
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            return "hang"
    try:
        _, status = os.waitpid(child, 0)
    except ChildProcessError:
        return "gone"
    if hung:
        return f"hang over {MOST_SECONDS:g} s"
    return f"crash {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else f"exit {status >> 8}"


def _work(kind: str, numbers: list[int], seed: int, bases: list[Path], folder: Path, pipe: int) -> None:
    """In the child: a line for each case. It never returns."""
    try:
        faulthandler.disable()  # pytest's would print where this process ended, as if it were its own
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)  # libraries write there
        os.dup2(nowhere, 2)
        for number in numbers:
            path, rng = case(kind, number, seed, bases, folder)
            os.write(pipe, f"{_outcome(kind, path, rng)}\n".encode("utf-8", "replace"))
    finally:
        os._exit(0)


def _outcome(kind: str, path: Path, rng: Random) -> str:
    try:
        KINDS[kind].use(path, rng)
    except TrtswapError as error:
        return f"refused {type(error).__name__}"
    except BaseException as error:  # noqa: BLE001 - this is what is searched for
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f"{Path(f.filename).name}:{f.lineno}" for f in frames if "trtswap" in f.filename][-3:]
        return f"error {type(error).__name__}: {str(error)[:200]!r} at {' '.join(ours)}"
    return "ok"


def again(kind: str, number: int, seed: int, bases: list[Path]) -> None:
    """Do one case here, with its traceback."""
    with tempfile.TemporaryDirectory() as name:
        path, rng = case(kind, number, seed, bases, Path(name))
        kept = Path(tempfile.gettempdir()) / f"{kind}-{number}{path.suffix}"
        kept.write_bytes(path.read_bytes())
        sys.stdout.write(f"{kept}\n")
        KINDS[kind].use(path, rng)
