"""Who may write under a name: one at a time, and what a dead writer left is removed by the next one.

The right is a lock (``flock``) on a small file beside the target. It belongs to the open file, so that it keeps apart
threads, processes, and containers on one folder, and the kernel drops it when its holder ends, however that ends. So an
unfinished file has a living owner exactly where its lock cannot be taken.
"""

import fcntl
import io
import os
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from trtswap.errors import BusyError
from trtswap.files.names import key_in, key_of, kind_in, lock_name, unfinished_name

# Somebody who looks for leftovers holds a lock for some microseconds, without being a writer.
_PATIENCE_SECONDS = 0.2


class Lock:
    """The lock on a file of no content, which is there only while somebody holds it.

    Attributes:
        sure: whether the file system has locks. Where it has none nobody is kept out, and nothing is taken for dead.

    Raises:
        BlockingIOError: somebody else holds it, and goes on to hold it for ``patience`` seconds.
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, *, patience: float = 0.0) -> None:
        self._path = path
        deadline = time.monotonic() + patience
        while True:
            self._file = io.FileIO(_opened(path), closefd=True)
            try:
                self.sure = _locked(self._file.fileno())
            except BlockingIOError:
                self._file.close()
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.01)
                continue
            if not self.sure or _is_at(self._file.fileno(), path):
                break
            self._file.close()  # its holder removed it between the two calls: this lock keeps nobody out
        if not self.sure:
            self.release()

    def release(self) -> None:
        """Let go, and remove the file; may be called twice."""
        if self._file.closed:
            return
        with suppress(OSError):
            self._path.unlink(missing_ok=True)  # first: whoever opened it already will see that it is gone
        if self.sure:
            # A process that was forked meanwhile has the same open file, and must not keep the lock.
            fcntl.flock(self._file.fileno(), fcntl.LOCK_UN)
        self._file.close()


class Claim:
    """The sole right to write under a name, from now until ``release``.

    Whoever gets it first removes what dead writers have left in that folder.
    On a file system without locks everybody gets it: names of unfinished files still keep writers apart, a target that
    appears meanwhile is still noticed, but leftovers stay, since nobody can tell whose they are.

    Args:
        path: the target; its folder is there.

    Attributes:
        path: the target.

    Raises:
        BusyError: another thread, process or container has the right.
        OSError: the folder cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._key = key_of(path.name)
        try:
            self._lock = Lock(path.parent / lock_name(self._key), patience=_PATIENCE_SECONDS)
        except BlockingIOError as error:
            raise BusyError(
                f"{path}: another thread or process is writing it at this moment. Wait until it is done, or choose "
                "another name."
            ) from error
        if self._lock.sure:
            try:
                with suppress(OSError):  # of a folder that can be written to and not be read, for example
                    self._sweep()
            except BaseException:
                self._lock.release()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def unfinished(self, kind: str = "part") -> Path:
        """A fresh path beside the target, for what is to become the target (``part``) or was it (``old``)."""
        return self.path.parent / unfinished_name(self.path.name, self._key, kind)

    def left_over(self, kind: str = "part") -> list[Path]:
        """What dead writers of this very target have left."""
        names = os.listdir(self.path.parent)
        return [self.path.parent / name for name in names if key_in(name) == self._key and kind_in(name) == kind]

    def release(self) -> None:
        """Give the right back; may be called twice."""
        self._lock.release()

    def _sweep(self) -> None:
        """Remove what dead writers have left in this folder.

        Of other targets only under their locks, but without keeping those for the time that a removal takes: what is
        dead becomes this claim's first.
        """
        others = {key for name in os.listdir(self.path.parent) if (key := key_in(name)) and key != self._key}
        for key in others:
            with suppress(OSError):
                lock = Lock(self.path.parent / lock_name(key))
                try:
                    self._take_over(key)
                finally:
                    lock.release()
        for path in self.left_over():
            remove(path)

    def _take_over(self, key: str) -> None:
        for name in os.listdir(self.path.parent):
            if key_in(name) == key and kind_in(name) == "part":
                with suppress(OSError):
                    os.rename(self.path.parent / name, self.unfinished())


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _opened(path: Path) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except PermissionError:
        if not os.path.lexists(path):
            raise
        # Another user's, in a folder of both; a lock needs no right to write. A pipe of that name is not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | flags)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        raise


def _locked(descriptor: int) -> bool:
    """Take the lock; False where the file system has none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
