"""Encoders' threads keep to the process's own scheduling."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TASKS = Path("/proc/self/task")


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
