"""A folder that is being written, and replaces another one, or nothing, only when it is whole."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from trtswap.errors import WriteError
from trtswap.files.claim import Claim, remove
from trtswap.files.moves import exchange, inherit, names_to_disk, to_disk
from trtswap.files.target import destination, kept


class TargetFolder:
    """Claims a folder's name and a place beside it. ``commit`` puts the folder that was filled under the name.

    Of a link the folder that it names is written. Leaving the context without ``commit`` removes what was written.

    Args:
        path: the folder to write; the folders above it are made.
        overwrite: replace a folder that is there.
        replaceable: whether what is there may be replaced; anything may by default.

    Attributes:
        path: as it was given.
        temporary: the folder to fill; it exists, empty, from the start.

    Raises:
        BusyError: another thread, process or container writes this folder.
        WriteError: the target exists (without ``overwrite``), is not to be replaced, or cannot be written.
    """

    def __init__(self, path: Path, *, overwrite: bool, replaceable: Callable[[Path], bool] = lambda path: True) -> None:
        self.path = path
        self._overwrite, self._replaceable, self._open = overwrite, replaceable, True
        self._final = destination(path)
        try:
            self._final.parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as undo:
                self._claim = undo.enter_context(Claim(self._final))
                self._put_back()
                self._check()
                self.temporary = self._claim.unfinished()
                self.temporary.mkdir()
                undo.pop_all()
        except OSError as error:
            raise WriteError(f"{self._final.parent} cannot be written to: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def commit(self) -> None:
        """Give the finished folder its name.

        Raises:
            WriteError: something appeared under that name meanwhile, or it cannot be given: the finished folder is
                kept, and the message tells where. Or it cannot be finished: then nothing is left.
        """
        try:
            to_disk(self.temporary)
        except OSError as error:
            self.discard()
            raise WriteError(f"{self.path}: cannot finish it: {error.strerror}") from error
        self._open = False
        try:
            self._check()
            self._publish()
            names_to_disk(self._final.parent)
        except WriteError as error:
            raise WriteError(f"{error}; {kept(self.temporary, self._final)}") from error
        except OSError as error:
            where = kept(self.temporary, self._final)
            raise WriteError(f"{self.path}: cannot get its name: {error.strerror}; {where}") from error
        finally:
            self._claim.release()

    def discard(self) -> None:
        """Remove what was written. Does nothing after ``commit``."""
        if self._open:
            self._open = False
            remove(self.temporary)
            self._claim.release()

    def _check(self) -> None:
        if not os.path.lexists(self._final):
            return
        if not self._overwrite:
            raise WriteError(
                f"{self.path} exists already; choose another name or allow overwriting (overwrite=True, --overwrite)"
            )
        if not self._replaceable(self._final):
            raise WriteError(f"{self.path} exists and is not what would be written, so it is not overwritten")

    def _publish(self) -> None:
        if os.path.lexists(self._final):
            descriptor = os.open(self.temporary, os.O_RDONLY)
            try:
                inherit(descriptor, self._final.stat())
            finally:
                os.close(descriptor)
        put_folder(self.temporary, self._final, self._claim)

    def _put_back(self) -> None:
        """The folder that a writer had moved away when it died, where replacing took two steps."""
        for old in self._claim.left_over("old"):
            if os.path.lexists(self._final):
                remove(old)
            else:
                os.rename(old, self._final)


def put_folder(new: Path, path: Path, claim: Claim) -> None:
    """Give a folder its name, which is claimed; one that has it already is removed. Both lie in one folder.

    In one step where the system can swap names; elsewhere in two, and a process that dies between them leaves the old
    one for the next writer to put back.

    Raises:
        OSError: it cannot be done; what was there is there as before.
    """
    if not os.path.lexists(path):
        return os.rename(new, path)
    if exchange(new, path):
        return remove(new)
    aside = claim.unfinished("old")
    os.rename(path, aside)
    try:
        os.rename(new, path)
    except BaseException:
        os.rename(aside, path)
        raise
    remove(aside)
