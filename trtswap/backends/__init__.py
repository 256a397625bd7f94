"""Engines: one graph loaded on one device, whichever library runs it.

:func:`open_engine` is the way in. Importing this package imports no inference library; each backend imports
its own when an engine is opened.
"""

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
