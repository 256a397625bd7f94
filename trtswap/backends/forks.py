"""What a fork does to opened engines: the child has their memory, but none of their threads, and no CUDA.

Using an engine there waits for ever, and so does destroying one that has threads (measured with ONNX Runtime 1.32 and
OpenVINO 2026.4). So a child is told when it uses one, and never destroys any. What cannot be helped from here: the exit
handlers of ONNX Runtime 1.32 wait for ever in any child that was forked after its import and ends with ``exit``; those
of multiprocessing end with ``_exit``, which runs none.
"""

import ctypes
import os
from typing import Any
from weakref import WeakSet

from trtswap.errors import BackendError

_OPENED: WeakSet[Any] = WeakSet()


class Birthplace:
    """The process in which engines are opened."""

    def __init__(self) -> None:
        self._process = os.getpid()

    @property
    def is_here(self) -> bool:
        return os.getpid() == self._process

    def check(self) -> None:
        """Raises BackendError where this process is a fork of it."""
        if not self.is_here:
            raise BackendError(
                f"The engines were opened in process {self._process}, and this one, {os.getpid()}, was forked from it: "
                "their threads are not here. Open a Runtime or Swapper in each process, and start these with "
                "multiprocessing's spawn or forkserver."
            )


def survives_in_children(engine: Any) -> None:
    """Have an engine never destroyed in processes that are forked from this one."""
    _OPENED.add(engine)


def _keep_all() -> None:
    """One reference more than there is, so that the last one never goes."""
    for engine in list(_OPENED):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_keep_all)
