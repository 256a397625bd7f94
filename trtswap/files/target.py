"""A file that is being written: a temporary name beside the target, and the target's name only when it is whole."""

import os
import stat
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from trtswap.errors import WriteError
from trtswap.files.claim import Claim, remove
from trtswap.files.moves import inherit, names_to_disk, put_new, status, to_disk
from trtswap.files.names import kept_name


class Target:
    """Claims a file's name and a place beside it. ``commit`` puts what was written there under the name.

    Of a link the file that it names is written. A file that is replaced hands on its mode, and its owner where that is
    permitted; a new one gets the mode that the process' umask leaves. Leaving the context without ``commit``, and
    ``discard`` at any time and from any thread, remove what was written.

    Args:
        path: the file to write.
        overwrite: replace a file that is there.
        source: a file that ``path`` must not be.

    Attributes:
        path: as it was given.
        temporary: where to write; it exists, empty, from the start. Same suffix as the target.

    Raises:
        BusyError: another thread, process or container writes this file.
        WriteError: the target is the source, exists (without ``overwrite``), is no file, or its folder is missing or
            cannot be written to.
    """

    def __init__(self, path: Path | str, *, overwrite: bool, source: Path | None = None) -> None:
        self.path = Path(path)
        self._overwrite, self._source = overwrite, source
        self._mutex, self._open = threading.Lock(), True
        self._final = destination(self.path)
        self._check()
        if not self._final.parent.is_dir():
            raise WriteError(f"{self.path}: there is no folder {self._final.parent}; create it first")
        try:
            with ExitStack() as undo:
                self._claim = undo.enter_context(Claim(self._final))
                self._check()  # what its last writer has put there
                self.temporary = self._claim.unfinished()
                self._mode = self._created()
                undo.pop_all()
        except OSError as error:
            raise WriteError(f"{self.path}: cannot write into its folder: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def write(self, data: bytes | str) -> None:
        """Fill the file; text becomes UTF-8.

        Raises:
            WriteError: the disk is full, for example.
        """
        if isinstance(data, str):
            data = data.encode("utf-8", "backslashreplace")  # names of files may hold what is no UTF-8
        try:
            self.temporary.write_bytes(data)
        except OSError as error:
            raise WriteError(f"{self.path}: cannot be written: {error.strerror}") from error

    def commit(self) -> None:
        """Give the finished file its name, in one step.

        Raises:
            WriteError: something appeared under that name meanwhile (without ``overwrite``), or it cannot be given: the
                finished file is kept, and the message tells where. Or it cannot be finished, or ``discard`` came first:
                then nothing is left.
        """
        try:
            self._finish()
        except BaseException:
            self.discard()
            raise
        with self._mutex:
            if not self._open:
                raise WriteError(f"{self.path}: was given up before it was finished")
            self._open = False
            try:
                self._publish()
                names_to_disk(self._final.parent)
            finally:
                self._claim.release()

    def discard(self) -> None:
        """Remove what was written. Does nothing after ``commit``."""
        with self._mutex:
            if self._open:
                self._open = False
                remove(self.temporary)
                self._claim.release()

    def _check(self) -> None:
        """Refuse at once what cannot end well."""
        try:
            found = status(self._final)
            source = None if self._source is None else status(self._source)
        except OSError as error:
            raise WriteError(f"{self.path}: cannot be written: {error.strerror}") from error
        if found is not None and source is not None and os.path.samestat(found, source):
            raise WriteError(f"{self.path}: is the source itself, expected another name for the result")
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise WriteError(f"{self.path}: is a folder, expected a file name")
        if found is not None and not stat.S_ISREG(found.st_mode):
            raise WriteError(f"{self.path}: is a device, a pipe or a socket, expected a file name")
        if not self._overwrite and os.path.lexists(self.path):
            raise WriteError(
                f"{self.path}: exists already; choose another name or allow overwriting (overwrite=True, --overwrite)"
            )

    def _created(self) -> int:
        """Make the empty file; the mode that a new file gets. What replaces a file may be as private as that one."""
        descriptor = os.open(self.temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        try:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            if status(self._final) is not None:
                with suppress(OSError):  # file systems without modes
                    os.fchmod(descriptor, mode & 0o600)
        finally:
            os.close(descriptor)
        return mode

    def _finish(self) -> None:
        try:
            to_disk(self.temporary)
            descriptor = os.open(self.temporary, os.O_RDONLY)
            try:
                if (old := status(self._final)) is not None and stat.S_ISREG(old.st_mode):
                    inherit(descriptor, old)
                else:
                    with suppress(OSError):
                        os.fchmod(descriptor, self._mode)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise WriteError(f"{self.path}: cannot finish it: {error.strerror}") from error

    def _publish(self) -> None:
        try:
            if self._overwrite:
                os.replace(self.temporary, self._final)
            else:
                put_new(self.temporary, self._final)
        except FileExistsError as error:
            where = kept(self.temporary, self._final)
            raise WriteError(f"{self.path}: appeared while it was being written and was left alone; {where}") from error
        except OSError as error:
            where = kept(self.temporary, self._final)
            raise WriteError(f"{self.path}: cannot get its name: {error.strerror}; {where}") from error


def write_whole(
    place: Path | str | Target, data: bytes | str, *, overwrite: bool = False, source: Path | None = None
) -> None:
    """Write a file that gets its name when it is whole; text becomes UTF-8.

    Args:
        place: the file, or what was claimed for it before; then the other arguments are those of the claim.
        data: what is to be in it.
        overwrite, source: see :class:`Target`.

    Raises:
        BusyError, WriteError: see :class:`Target`; what was there before stays.
    """
    with place if isinstance(place, Target) else Target(place, overwrite=overwrite, source=source) as target:
        target.write(data)
        target.commit()


def destination(path: Path) -> Path:
    """Where a path leads once its links are followed.

    Raises:
        WriteError: they lead in a circle, or the path is none.
    """
    try:
        final = Path(os.path.realpath(path))
    except (OSError, ValueError) as error:
        raise WriteError(f"{path}: is no path: {error}") from error
    if os.path.islink(final):
        raise WriteError(f"{path}: is a link that leads in a circle")
    return final


def kept(temporary: Path, final: Path) -> str:
    """Keep what is finished and cannot get its name under one that nothing removes; where it is, for a message."""
    place = final.parent / kept_name(final.name)
    try:
        os.rename(temporary, place)
    except FileNotFoundError:
        return "what was finished is gone with its folder"
    except OSError:
        return f"what was finished is {temporary}, until the next run in that folder"
    return f"what was finished is {place}"
