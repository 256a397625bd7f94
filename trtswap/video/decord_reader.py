"""decord as a reader: RGB batches from the CPU, with its decode-ahead held down."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from trtswap.errors import ReadError
from trtswap.video.rgb_reader import RgbReader

# decord decodes ahead without a bound as long as nobody seeks. Once the process has grown by so much, a seek throws
# away what is waiting; the next batch decodes again from its key frame.
MAX_AHEAD_BYTES = 512 << 20


class DecordReader(RgbReader):
    """Decode with decord (``pip install "trtswap[decord]"``), on the CPU."""

    library: ClassVar[str] = "decord"
    level: ClassVar[float] = 1.0  # swscale's fast conversion cuts off what is below a level, in two places

    def _open(self) -> int:
        try:
            import decord  # noqa: PLC0415 - an optional library, imported on use
        except (ImportError, OSError) as error:
            raise ReadError(f'The reader decord needs decord: {error}. pip install "trtswap[decord]".') from error
        self._error: type[Exception] = decord.DECORDError
        try:
            self._video: Any = decord.VideoReader(str(self.path), ctx=decord.cpu(0))
            count = len(self._video)
        except (RuntimeError, self._error) as error:
            raise ReadError(
                f"{self.path}: decord cannot open it: {_first_line(error)}. Use the reader pyav."
            ) from error
        self._resident = resident_bytes()
        return count

    def _rgb(self, numbers: list[int]) -> Tensor:
        try:
            batch = self._video.get_batch(numbers).asnumpy()
            if resident_bytes() - self._resident > MAX_AHEAD_BYTES:
                self._video.seek(0)
                self._resident = resident_bytes()
        except (RuntimeError, self._error) as error:
            where = f"frames {numbers[0]} to {numbers[-1]}"
            raise ReadError(
                f"{self.path}: decord failed at {where}: {_first_line(error)}. Use the reader pyav."
            ) from error
        return torch.from_numpy(batch)

    def close(self) -> None:
        self._video = None


def resident_bytes() -> int:
    """Memory of this process that is in use now; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 if statm.is_file() else 0


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__
