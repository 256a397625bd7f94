"""Encoders' threads: that they can be started, and that they keep to the process's own scheduling."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trtswap.errors import WriteError

_TASKS = Path("/proc/self/task")
# Beyond those that work on frames: lookahead, reading, writing.
_SPARE_THREADS = 6


@contextmanager
def ordinary_threads() -> Iterator[None]:
    """Undo what SVT-AV1 does where it runs as root, as in most containers: it makes the thread that opens it, and with
    it each thread that is started from there later, and all its own threads real-time ones of the highest priority
    (SCHED_FIFO 99). Whatever else runs on the machine then waits for them.

    Nothing happens where the system does not tell its threads.
    """
    if not _TASKS.is_dir():
        yield
        return
    before, own = set(os.listdir(_TASKS)), (os.sched_getscheduler(0), os.sched_getparam(0))
    try:
        yield
    finally:
        for task in {"0"} | set(os.listdir(_TASKS)) - before:
            try:
                if (os.sched_getscheduler(int(task)), os.sched_getparam(int(task))) != own:
                    os.sched_setscheduler(int(task), *own)
            except OSError:  # the thread has ended
                continue


def require_threads(encoder: str) -> None:
    """Start as many threads as an encoder may want, and end them: one that cannot start its own hangs, deaf to signals.

    Raises:
        WriteError: the system does not give them.
    """
    wanted, done = 2 * (os.cpu_count() or 1) + _SPARE_THREADS, threading.Event()
    threads = [threading.Thread(target=done.wait, daemon=True) for _ in range(wanted)]
    started = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise WriteError(
            f"encoder {encoder} cannot work: the system allows only {len(started)} more threads, and it may start "
            f"{wanted}. Allow more (ulimit -u; a container's pids limit), or end other programs."
        ) from error
    finally:
        done.set()
        for thread in started:
            thread.join()
