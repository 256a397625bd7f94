"""Kernels that TensorRT for RTX has finished for this GPU, kept beside their plan, so that the next start is quick."""

import logging
import re
from pathlib import Path
from typing import Any

from trtswap.backends.trt.plans import Place
from trtswap.errors import BusyError, WriteError
from trtswap.files import write_whole

LOG = logging.getLogger("trtswap.tensorrt")


class KernelFile:
    """The file of one plan on one kind of GPU, with one version of the library.

    Args:
        plan: the plan's file.
        here: where it runs.
    """

    def __init__(self, plan: Path, here: Place) -> None:
        name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{here.gpu}-{here.targets[0]}-{here.version}")
        self.path = plan.with_suffix(f".{name}.kernels")
        self._known = b""

    def give(self, cache: Any) -> None:
        """Put what is on disk into a runtime cache; what the library does not take is made anew, and said."""
        try:
            data = self.path.read_bytes()
        except OSError:
            return
        if cache.deserialize(data):
            self._known = data
        else:
            LOG.warning("%s is damaged or of another driver or GPU; kernels are finished anew", self.path)

    def keep(self, cache: Any) -> None:
        """Put on disk what a runtime cache has, if that is news; where it cannot be, the log says so."""
        data = bytes(cache.serialize())
        if data == self._known:
            return
        try:
            write_whole(self.path, data, overwrite=True)
            self._known = data
        except (BusyError, WriteError, OSError) as error:
            LOG.warning("finished kernels are not kept: %s", error)
