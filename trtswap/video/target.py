"""The file that is being written: a temporary name beside the target, and the target's name only when it is whole."""

import os
from pathlib import Path

from trtswap.errors import WriteError

# Most file systems allow 255 bytes; the rest is for the marks and the suffix.
_MAX_STEM_BYTES = 180


def temporary_beside(path: Path) -> Path:
    """Where this process writes what is to become ``path``."""
    stem = path.stem.encode()[:_MAX_STEM_BYTES].decode(errors="ignore")
    return path.parent / f".{stem}.trtswap-{os.getpid()}.part{path.suffix}"


class Target:
    """Claims a place beside ``path``. ``commit`` puts the file there under its name, ``discard`` removes it.

    Attributes:
        temporary: where to write; it exists, empty, from the start. Same suffix as the target.

    Raises:
        WriteError: the target is the source, exists (without ``overwrite``), is a folder, or its folder is
            missing or cannot be written.
    """

    def __init__(self, path: Path, *, source: Path | None, overwrite: bool) -> None:
        self.path = path
        self._overwrite = overwrite
        if source is not None and path.exists() and source.exists() and path.samefile(source):
            raise WriteError(f"{path}: is the source video itself, expected another name for the result")
        if path.is_dir():
            raise WriteError(f"{path}: is a folder, expected a file name")
        self._check_free()
        if not path.parent.is_dir():
            raise WriteError(f"{path}: there is no folder {path.parent}; create it first")
        self.temporary = temporary_beside(path)
        try:
            self.temporary.unlink(missing_ok=True)  # of an earlier process with this number that was killed
            self.temporary.touch(exist_ok=False)
        except OSError as error:
            raise WriteError(f"{path}: cannot write into its folder: {error.strerror}") from error

    def commit(self) -> None:
        """Give the finished file its name, in one step.

        Raises:
            WriteError: something appeared under that name meanwhile, and ``overwrite`` is not set. The finished
                file is kept under its temporary name, which the message tells.
        """
        try:
            with self.temporary.open("rb") as file:
                os.fsync(file.fileno())
            if self._overwrite:
                os.replace(self.temporary, self.path)
            else:
                self._link_or_reserve()
        except FileExistsError as error:
            raise WriteError(
                f"{self.path}: appeared while the video was being written and was left alone; "
                f"the finished video is {self.temporary}"
            ) from error
        except OSError as error:
            self.discard()
            raise WriteError(f"{self.path}: cannot finish it: {error.strerror}") from error

    def discard(self) -> None:
        """Remove the temporary file."""
        self.temporary.unlink(missing_ok=True)

    def _check_free(self) -> None:
        if not self._overwrite and os.path.lexists(self.path):
            raise WriteError(f"{self.path}: exists already; choose another name or allow overwriting (--overwrite)")

    def _link_or_reserve(self) -> None:
        """A rename would overwrite; a hard link fails where the name is taken, and so does exclusive creation."""
        try:
            os.link(self.temporary, self.path)
        except FileExistsError:
            raise
        except OSError:  # FAT and some network file systems have no hard links
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.replace(self.temporary, self.path)
        else:
            self.temporary.unlink()
