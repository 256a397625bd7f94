"""Engines: one graph loaded on one device, whichever library runs it.

:func:`open_engine` is the way in. Importing this package imports no inference library; each backend imports
its own when an engine is opened.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trtswap.backends.engine import Engine, TensorSpec
    from trtswap.backends.opening import BACKENDS, Choice, choose, open_engine
    from trtswap.backends.options import BackendOptions, OnnxRuntimeOptions, OpenVinoOptions, TorchOptions

__all__ = [
    "BACKENDS",
    "BackendOptions",
    "Choice",
    "Engine",
    "OnnxRuntimeOptions",
    "OpenVinoOptions",
    "TensorSpec",
    "TorchOptions",
    "choose",
    "open_engine",
]

# These need PyTorch; a process that only compiles does without it (PEP 562).
_LAZY = {
    "engine": ("Engine", "TensorSpec"),
    "opening": ("BACKENDS", "Choice", "choose", "open_engine"),
    "options": ("BackendOptions", "OnnxRuntimeOptions", "OpenVinoOptions", "TorchOptions"),
}


def __getattr__(name: str) -> Any:
    for module, names in _LAZY.items():
        if name in names:
            return getattr(import_module(f"trtswap.backends.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
