"""What the command line sets for its whole process, and a library leaves to its service."""

import ctypes
import io
import os
import platform
import sys
import warnings
from contextlib import suppress
from typing import TextIO

_M_ARENA_MAX = -8
"""``mallopt``'s parameter, from glibc's ``malloc.h``."""

_ARENAS = 2


def set_environment() -> None:
    """What libraries read from the environment when they are loaded; what the user has set stays."""
    # SVT-AV1 prints its settings to stderr by itself; errors are enough.
    os.environ.setdefault("SVT_LOG", "1")
    # PyTorch's threads otherwise spin while they wait for each other, and starve where something else runs too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class Unheard(io.TextIOBase):
    """A stream to talk on: work goes on where nobody listens (a closed pipe, a full disk, no stderr at all)."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", "utf-8")

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError, AttributeError):
            self._stream.write(text)  # type: ignore[union-attr]
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError, AttributeError):
            self._stream.flush()  # type: ignore[union-attr]

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise OSError("there is no stderr")
        return self._stream.fileno()


def set_outputs() -> None:
    """Write what nobody takes to nowhere, where standard output is closed, and what an encoding does not have as
    escapes. What Pillow warns of, limits see to.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    warnings.filterwarnings("ignore", module=r"PIL\.")


def bound_arenas() -> bool:
    """Keep glibc from giving each thread a heap of its own, up to eight for each core.

    Tensors that one thread takes and another frees leave those heaps ever fuller of holes: over a long video the
    process grew by a tenth to a quarter, with two heaps by a hundredth. To be called before other threads start.

    Returns:
        Whether it was set: not where the user has chosen a number, nor with another C library.
    """
    chosen = "MALLOC_ARENA_MAX" in os.environ or "malloc.arena_max" in os.environ.get("GLIBC_TUNABLES", "")
    if chosen or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return bool(mallopt(_M_ARENA_MAX, _ARENAS))
