"""Putting something finished in its place, in one step: on the disk before it has its name, and with the right mode."""

import ctypes
import os
import stat
from contextlib import suppress
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
"""Of ``renameat2``, from Linux' ``fcntl.h`` and ``linux/fs.h``."""


def status(path: Path) -> os.stat_result | None:
    """What is at a path, links followed; None where there is nothing.

    Raises:
        OSError: the name is too long, links lead in a circle, a folder on the way is closed.
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def inherit(descriptor: int, old: os.stat_result) -> None:
    """Give an open file or folder the mode of the one that it replaces, and its owner and group where permitted."""
    mode = stat.S_IMODE(old.st_mode) & 0o777
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except OSError:
            try:
                os.fchown(descriptor, -1, old.st_gid)
            except OSError:
                mode &= 0o707 | (mode & 0o007) << 3  # its group is another one now, and gets no more than everybody
    with suppress(OSError):  # file systems without modes
        os.fchmod(descriptor, mode)


def put_new(temporary: Path, path: Path) -> None:
    """Give a file a name that is free. A rename would overwrite; a hard link fails where the name is taken.

    Raises:
        FileExistsError: the name is taken; both files are as before.
        OSError: it cannot be done; as before, too.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # FAT and some network file systems have no hard links
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(temporary, path)
    else:
        temporary.unlink()


def exchange(one: Path, other: Path) -> bool:
    """Swap the names of two files or folders in one step; False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    arguments = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE))
    return bool(rename(*arguments) == 0)


def to_disk(path: Path) -> None:
    """Wait until a file, or a folder with all that is in it, is on the disk."""
    if path.is_dir():
        for inside in path.iterdir():
            to_disk(inside)
        return names_to_disk(path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def names_to_disk(folder: Path) -> None:
    """Wait until renames in a folder are on the disk; some file systems do not offer it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
