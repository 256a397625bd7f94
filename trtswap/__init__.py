"""trtswap: fast, careful face swapping in video."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from trtswap.errors import (
    BackendError,
    BusyError,
    CalibrationError,
    CheckpointError,
    DeviceMemoryError,
    EngineBuildError,
    ExportError,
    InputError,
    LimitError,
    PackError,
    PlanError,
    PrecisionError,
    ReadError,
    SessionError,
    SourceError,
    TrtswapError,
    TruncatedError,
    VideoError,
    WriteError,
)
from trtswap.limits import Limits
from trtswap.options import RuntimeOptions, SwapOptions

if TYPE_CHECKING:
    from trtswap.backends.runtime import Runtime
    from trtswap.faces import Faces
    from trtswap.faces.identity import Identity
    from trtswap.model.pack import Pack
    from trtswap.pixels.frames import Frames
    from trtswap.session.observers import Observer
    from trtswap.session.session import Session
    from trtswap.swapper import Swapper, SwapResult

__all__ = [
    "BackendError",
    "BusyError",
    "CalibrationError",
    "CheckpointError",
    "DeviceMemoryError",
    "EngineBuildError",
    "ExportError",
    "Faces",
    "Frames",
    "Identity",
    "InputError",
    "LimitError",
    "Limits",
    "Observer",
    "Pack",
    "PackError",
    "PlanError",
    "PrecisionError",
    "ReadError",
    "Runtime",
    "RuntimeOptions",
    "Session",
    "SessionError",
    "SourceError",
    "SwapOptions",
    "SwapResult",
    "Swapper",
    "TrtswapError",
    "TruncatedError",
    "VideoError",
    "WriteError",
]

__version__ = version("trtswap")

# These need PyTorch, whose import takes seconds, so they are imported on first use (PEP 562).
_LAZY = {
    "Faces": "trtswap.faces.faces",
    "Frames": "trtswap.pixels.frames",
    "Identity": "trtswap.faces.identity",
    "Observer": "trtswap.session.observers",
    "Pack": "trtswap.model.pack",
    "Runtime": "trtswap.backends.runtime",
    "Session": "trtswap.session.session",
    "SwapResult": "trtswap.swapper",
    "Swapper": "trtswap.swapper",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
