"""The libraries that compile graphs and run plans, TensorRT and TensorRT for RTX: one API, and what each can do.

Only here is decided which library is meant. All other code is given one, and asks what it can do, not who it is.
"""

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Protocol

from trtswap.errors import BackendError

LOG = logging.getLogger("trtswap.tensorrt")

RTX_ON = "12.0+"
AMPERE_ON = ("8.0", "8.6", "8.9", RTX_ON)
"""What TensorRT for RTX builds for where no target is named: its "8.0, 8.6, 8.9, 12.0 and later"."""


@dataclass(frozen=True)
class Kind:
    """A library, whether it is here or not.

    Attributes:
        name: by which users choose it.
        title: for people.
        module: that is imported.
        extra: that installs it.
        oldest, too_new: versions that trtswap is written for, the second excluded.
        ahead_of_time: plans are made for lists of compute capabilities, in seconds, on any machine; kernels are
            finished where they run, and kept in a runtime cache. Otherwise plans are made on the very GPU that they are
            for: kernels are timed there, and levels of compatibility let them run elsewhere.
        targets: compute capabilities that can be named, by their names in the library.
    """

    name: str
    title: str
    module: str
    extra: str
    oldest: tuple[int, int]
    too_new: tuple[int, int]
    ahead_of_time: bool
    targets: Mapping[str, str]


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "tensorrt": Kind(
            "tensorrt", "TensorRT", "tensorrt", "tensorrt", (10, 13), (12, 0),
            ahead_of_time=False, targets=MappingProxyType({}),
        ),
        "rtx": Kind(
            "rtx", "TensorRT for RTX", "tensorrt_rtx", "rtx", (1, 6), (1, 8), ahead_of_time=True,
            targets=MappingProxyType(
                {"7.5": "SM75", "8.0": "SM80", "8.6": "SM86", "8.9": "SM89", "12.0": "SM120", "12.1": "SM121"}
            ),
        ),
    }
)  # fmt: skip


@dataclass(frozen=True)
class Library:
    """One of the libraries, imported.

    Attributes:
        kind: what it can do.
        version: such as ``11.4.0.106``.
        trt: its module.
    """

    kind: Kind
    version: str
    trt: Any

    @property
    def title(self) -> str:
        """Name and version, for people."""
        return f"{self.kind.title} {self.version}"


def find_library(name: str) -> Library:
    """A library by its name in ``KINDS``.

    Raises:
        BackendError: it is not installed, cannot be loaded, or is of a version that trtswap is not written for.
    """
    kind = KINDS[name]
    remedy = f'pip install "trtswap[{kind.extra}]"'
    if find_spec(kind.module) is None:
        raise BackendError(f"The tensorrt backend needs {kind.title}, which is not installed: {remedy}.")
    try:
        module = import_module(kind.module)
    except (ImportError, OSError) as e:
        raise BackendError(f"{kind.title} is installed but cannot be loaded: {e}. Install it again: {remedy}.") from e
    version = str(module.__version__)
    if not kind.oldest <= tuple(int(part) for part in version.split(".")[:2]) < kind.too_new:
        oldest, too_new = (".".join(map(str, v)).removesuffix(".0") for v in (kind.oldest, kind.too_new))
        raise BackendError(
            f"{kind.title} {version} is installed, expected {oldest} or newer and below {too_new}: {remedy}."
        )
    return Library(kind, version, module)


def suited(capability: str) -> Kind:
    """The library that suits a GPU: TensorRT those of data centres (8.0, 9.0, 10.x), TensorRT for RTX all others."""
    return KINDS["tensorrt" if capability in ("8.0", "9.0") or capability.startswith("10.") else "rtx"]


def installed_libraries() -> list[Library]:
    """Those that are here, as ``KINDS`` orders them.

    Raises:
        BackendError: there is none; or none that can be used, and says why.
    """
    found, problems = [], []
    for name, kind in KINDS.items():
        if find_spec(kind.module) is None:
            continue
        try:
            found.append(find_library(name))
        except BackendError as e:
            problems.append(str(e))
    if found:
        return found
    if problems:
        raise BackendError(" ".join(problems))
    raise BackendError(
        'The tensorrt backend needs TensorRT, which is not installed: pip install "trtswap[rtx]" for GeForce RTX and '
        'other RTX GPUs, "trtswap[tensorrt]" for GPUs of data centres.'
    )


class Logger(Protocol):
    """Passes a library's messages on to :mod:`logging`, and keeps the last errors for exceptions to quote."""

    def take_errors(self) -> str:
        """The errors since the last call, as one text, and forget them."""

    def take_notes(self) -> list[str]:
        """What was said about memory since the last call, and forget it."""

    def take_warnings(self) -> list[str]:
        """The warnings since the last call, each once, and forget them."""


MEMORY = "Total Activation Memory"


def make_logger(library: Library) -> Any:
    """A :class:`Logger`, as the library wants to be given one."""
    trt = library.trt
    severity = trt.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.WARNING,
        severity.INFO: logging.INFO,
        severity.VERBOSE: logging.DEBUG,
    }

    base: Any = trt.ILogger

    class LibraryLogger(base):
        def __init__(self) -> None:
            base.__init__(self)
            self._errors: deque[str] = deque(maxlen=8)
            self._notes: deque[str] = deque(maxlen=64)
            self._warnings: deque[str] = deque(maxlen=64)

        def log(self, severity: Any, msg: str) -> None:
            """Called by the library, from any of its threads."""
            level = levels[severity]
            if level == logging.ERROR:
                self._errors.append(msg.strip())
            elif level == logging.WARNING:
                self._warnings.append(msg.strip())
            elif MEMORY in msg:
                self._notes.append(msg.strip())
            # Errors come back as exceptions that quote them; in the log they would be said twice.
            LOG.log(min(level, logging.INFO), "%s", msg)

        def take_errors(self) -> str:
            text = " | ".join(self._errors)
            self._errors.clear()
            return text or f"{library.kind.title} gave no reason"

        def take_notes(self) -> list[str]:
            notes = list(self._notes)
            self._notes.clear()
            return notes

        def take_warnings(self) -> list[str]:
            warnings = list(dict.fromkeys(self._warnings))
            self._warnings.clear()
            return warnings

    return LibraryLogger()
