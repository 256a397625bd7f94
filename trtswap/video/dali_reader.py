"""NVIDIA DALI as a reader: VP8, VP9 and Motion JPEG on the CPU; H.264, HEVC and AV1 too on a GPU."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from trtswap.errors import ReadError
from trtswap.video.rgb_reader import RgbReader

CPU_CODECS = ("vp8", "libvpx", "vp9", "libvpx-vp9", "mjpeg")
GPU_CODECS = (*CPU_CODECS, "h264", "hevc", "av1", "libdav1d", "libaom-av1", "mpeg4")


class DaliReader(RgbReader):
    """Decode with DALI (``pip install "trtswap[dali]"``), on the CPU or on a GPU.

    One frame is decoded ahead, no more.
    """

    library: ClassVar[str] = "dali"

    def _check(self) -> None:
        super()._check()
        codecs = GPU_CODECS if self.device.type == "cuda" else CPU_CODECS
        if self.info.codec not in codecs:
            self._refuse(f"on {self.device.type} it decodes {', '.join(codecs)}, and the video is {self.info.codec}")
        if self.info.color.matrix_name(0) != "bt601" or self.info.pixel_format.full_range:
            # It converts with BT.601, limited range, whatever the file says.
            self._refuse("it ignores the file's colour tags, which say another matrix or range than BT.601, limited")

    def _open(self) -> int:
        try:
            from nvidia.dali import fn, pipeline_def  # noqa: PLC0415 - an optional library, imported on use
        except (ImportError, OSError) as error:
            raise ReadError(f'The reader dali needs NVIDIA DALI: {error}. pip install "trtswap[dali]".') from error
        kind = "gpu" if self.device.type == "cuda" else "cpu"

        @pipeline_def(  # type: ignore[untyped-decorator]
            batch_size=1, num_threads=1, device_id=self.device.index if kind == "gpu" else None, prefetch_queue_depth=1
        )
        def sequences() -> Any:
            outputs: Any = fn.experimental.readers.video(
                device=kind, filenames=[str(self.path)], sequence_length=1, pad_mode="none",
                enable_frame_num="sequence", name="video", prefetch_queue_depth=1,
            )  # fmt: skip
            return tuple(outputs)

        try:
            self._pipeline: Any = sequences()
            self._pipeline.build()
            self._next = 0
            return int(self._pipeline.reader_meta("video")["epoch_size"])
        except RuntimeError as error:
            raise self._failed("open it", error) from error

    def _rgb(self, numbers: list[int]) -> Tensor:
        pictures: list[Tensor] = []
        while len(pictures) < len(numbers):
            try:
                video, places = self._pipeline.run()
            except (RuntimeError, StopIteration) as error:
                raise self._failed(f"decode frame {self._next}", error) from error
            place = int(np.asarray(places.as_cpu().as_array()).ravel()[0])
            if place != self._next:
                self._refuse(f"it gave frame {place} where frame {self._next} was to come")
            if place == numbers[len(pictures)]:
                pictures.append(from_dlpack(video[0]).clone()[0])
            self._next += 1
        return torch.stack(pictures)

    def _failed(self, what: str, error: Exception) -> ReadError:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        return ReadError(f"{self.path}: dali cannot {what}: {lines[0]}. Use the reader pyav.")

    def close(self) -> None:
        self._pipeline = None
