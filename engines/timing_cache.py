"""Measured times of kernels, kept on disk so that the next build need not measure them again.

One file per GPU and TensorRT version. Several processes may build at once: a file is changed under a lock, and what
another process has added in the meantime is kept.
"""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from trtswap.backends.trt.plans import Place
from trtswap.files import write_whole

if TYPE_CHECKING:
    import tensorrt as trt

LOG = logging.getLogger("trtswap.tensorrt")


class TimingCache:
    """The cache of one GPU and version.

    Args:
        folder: where plans are kept; the caches have a folder of their own in it.
        place: whose times they are.
    """

    def __init__(self, folder: Path, place: Place) -> None:
        name = f"{place.gpu}-{place.targets[0]}-{place.version}"
        self.path = folder / "timing" / f"{re.sub(r'[^A-Za-z0-9.]+', '-', name)}.cache"

    def attach(self, config: "trt.IBuilderConfig") -> None:
        """Give what is known to a build; of a file that TensorRT does not take, nothing is, and the build is slower."""
        cache = self._from_disk(config)
        config.set_timing_cache(cache, ignore_mismatch=False)

    def keep(self, config: "trt.IBuilderConfig") -> None:
        """Put what a build has measured on disk, beside what others have put there."""
        measured = config.get_timing_cache()
        if measured is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            merged = self._from_disk(config)
            if merged.combine(measured, ignore_mismatch=False):
                write_whole(self.path, bytes(merged.serialize()), overwrite=True)
            else:
                LOG.warning("the times measured by this build do not fit %s and are not kept", self.path)

    def _from_disk(self, config: "trt.IBuilderConfig") -> "trt.ITimingCache":
        empty = config.create_timing_cache(b"")
        data = self.path.read_bytes() if self.path.is_file() else b""
        if not data:
            return empty
        known = config.create_timing_cache(data)
        # Combining with an empty cache of this builder shows whether the file is of the same GPU and version.
        if known is None or not empty.combine(known, ignore_mismatch=False):
            LOG.warning("%s is damaged or of another GPU or TensorRT; kernels are measured anew", self.path)
            return config.create_timing_cache(b"")
        return empty
