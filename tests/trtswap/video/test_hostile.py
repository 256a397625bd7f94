"""Files that once ended in a crash or in a bare error; each stands for its kind."""

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from trtswap.errors import InputError, ReadError, WriteError
from trtswap.pictures.arrays import frames_from_rgb
from trtswap.pixels.color import PixelFormat
from trtswap.video.containers import CONTAINERS
from trtswap.video.display import display_of
from trtswap.video.encoder import choose_encoder
from trtswap.video.reader import VideoReader
from trtswap.video.scheduling import require_threads

DEEP = PixelFormat("yuv420p10le", 10, (1, 1), "bt709", False)
ONE = 1 << 16


@pytest.mark.parametrize("size", [(48, 32), (48, 64), (62, 640), (640, 62)])
def test_x265_is_not_taken_for_what_it_overflows_at(size: tuple[int, int], cases: Path) -> None:
    assert choose_encoder("auto", CONTAINERS[".mp4"], DEEP, size).name == "libx264"
    with pytest.raises(WriteError, match=r"libx265 takes no format .*, which is below its 64x64"):
        choose_encoder("libx265", CONTAINERS[".mp4"], DEEP, size)
    assert choose_encoder("auto", CONTAINERS[".mp4"], DEEP, (64, 64)).name == "libx265"


def test_the_small_video_that_killed_the_process(cases: Path, paste_pack: Path, tmp_path: Path) -> None:
    script = f"""
import torch
from trtswap import Identity, Swapper
who = Identity(torch.nn.functional.normalize(torch.ones(112 * 112 * 3), dim=0))
with Swapper({str(paste_pack)!r}, backend="onnxruntime", device="cpu") as swapper:
    done = swapper.swap_video({str(cases / "a01_48x32_10bit_x265_heap.mkv")!r}, {str(tmp_path / "out.mkv")!r}, who)
print(done.warnings)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "libx265, which needs 64x64, cannot be used: encoded with libx264" in done.stdout
    with VideoReader(tmp_path / "out.mkv") as reader:
        assert reader.info.codec == "h264"


@pytest.mark.parametrize(
    "numbers",
    [
        (0, 0, 0, 0, 0, 0, 0, 0, 0),
        (5, 1, 0, 2, 0, 0, 0, 0, 1 << 30),
        (ONE, 0, 0, 0, 0, 0, 0, 0, 1 << 30),
        (ONE, ONE, 0, ONE, ONE, 0, 0, 0, 1 << 30),
        (-(2**31), 2**31 - 1, 0, 1, 0, 0, 0, 0, 0),
    ],
)
def test_a_display_matrix_that_turns_nothing(numbers: Any) -> None:
    display = display_of(64, 48, Fraction(1), numbers)
    assert sorted(display.size) == [48, 64]
    assert torch.linalg.det(display.to_tensor()[:, :2]).abs() == 1


@pytest.mark.parametrize("aspect", [Fraction(1, 10**6), Fraction(10**6), Fraction(0), Fraction(1, 21), Fraction(21)])
def test_an_aspect_that_nothing_has_counts_as_square(aspect: Fraction) -> None:
    assert display_of(64, 48, aspect, None).size == (64, 48)
    assert display_of(64, 48, Fraction(20), None).size == (1280, 48)


class Foreign:
    """An array of another library, which is known by DLPack alone."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


@pytest.mark.parametrize("turn", [lambda a: a[:, ::-1], lambda a: a[..., ::-1], lambda a: a[::-1, ::-1, ::-1]])
@pytest.mark.parametrize("wrap", [Foreign, lambda a: a, list, lambda a: [Foreign(p) for p in a]])
def test_negative_strides(turn: Callable[[Any], Any], wrap: Callable[[Any], Any]) -> None:
    """PyTorch ends the process where DLPack hands it one."""
    array = turn(np.random.default_rng(0).integers(0, 255, (2, 5, 7, 3), np.uint8))
    found = frames_from_rgb(wrap(array))
    assert np.array_equal(torch.stack(found.planes, -1).numpy(), array)


def test_negative_strides_on_a_gpu_are_refused() -> None:
    class OnGpu(Foreign):
        __cuda_array_interface__ = {"strides": (-21, 3, 1), "shape": (5, 7, 3)}  # noqa: RUF012

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

    with pytest.raises(InputError, match="its strides are negative; copy it first"):
        frames_from_rgb(OnGpu(np.zeros((1, 5, 7, 3), np.uint8)))


def test_an_encoder_without_threads_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """x264 waits for threads that never began, deaf to signals."""
    left, start = [5], threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)

    require_threads("libx264")
    monkeypatch.setattr(threading.Thread, "start", limited)
    before = threading.active_count()
    with pytest.raises(WriteError, match=r"libx264 cannot work: the system allows only 5 more threads"):
        require_threads("libx264")
    assert threading.active_count() == before


def _raw(path: Path, pixel_format: str, size: tuple[int, int]) -> Path:
    """Raw video of noise in every bit, also in those that its format does not have."""
    noise = np.random.default_rng(3)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("rawvideo", rate=25)
        (stream.width, stream.height), stream.pix_fmt = size, pixel_format
        for number in range(6):
            frame = av.VideoFrame(*size, pixel_format)
            frame.pts = number
            for plane in frame.planes:
                plane.update(noise.bytes(plane.buffer_size))
            for packet in stream.encode(frame):
                output.mux(packet)
    return path


@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv444p12le", "gray10le"])
def test_samples_beyond_their_bits_are_clamped(pixel_format: str, tmp_path: Path) -> None:
    """x264 ends the process at some."""
    with VideoReader(_raw(tmp_path / "a.nut", pixel_format, (32, 32))) as reader:
        fmt = reader.info.pixel_format
        planes = [plane for batch in reader for plane in batch.planes]
        assert all(int(plane.min()) >= 0 and int(plane.max()) <= fmt.peak for plane in planes)
        assert int(planes[0].max()) == fmt.peak


def test_a_sensors_mosaic_is_refused(tmp_path: Path) -> None:
    """swscale writes beyond its memory at odd sizes."""
    with pytest.raises(ReadError, match=r"sensor's mosaic \(bayer_rggb8\)"):
        VideoReader(_raw(tmp_path / "a.nut", "bayer_rggb8", (3, 5)))


@pytest.mark.parametrize("pixel_format", ["bgr4", "rgb4", "bgr8", "monow", "pal8", "uyyvyy411", "xyz12le"])
def test_odd_pixel_formats_are_read_or_refused(pixel_format: str, tmp_path: Path) -> None:
    with suppress(ReadError), VideoReader(_raw(tmp_path / "a.nut", pixel_format, (16, 8))) as reader:
        list(reader)


def test_channels_in_an_order_of_their_own_end_no_process(tmp_path: Path) -> None:
    """PyAV frees the list of a custom order as often as it was looked at."""
    code = f"""
import av, numpy as np
from fractions import Fraction
from pathlib import Path
from trtswap.video.reader import VideoReader
from trtswap.video.writer import VideoWriter
path, target = Path({str(tmp_path / "a.mov")!r}), Path({str(tmp_path / "a.webm")!r})
with av.open(str(path), "w") as output:
    video, sound = output.add_stream("libx264", rate=25), output.add_stream("pcm_s16le", rate=48000)
    video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
    sound.codec_context.layout = "4.0"
    for packet in (*video.encode(av.VideoFrame(64, 64, "yuv420p")), *video.encode(None)):
        output.mux(packet)
    samples = av.AudioFrame.from_ndarray(np.zeros((1, 4 * 4800), np.int16), format="s16", layout="4.0")
    samples.sample_rate, samples.time_base, samples.pts = 48000, Fraction(1, 48000), 0
    for packet in (*sound.encode(samples), *sound.encode(None)):
        output.mux(packet)
data = bytearray(path.read_bytes())
at = data.index(b"chan", data.index(b"moov"))
# The box says which of the known layouts it is; 0 is none of them: the channels are listed, here none that follows.
size = int.from_bytes(data[at - 4 : at], "big")
labels = (2, 1, 4, 3)
body = bytes(8) + len(labels).to_bytes(4, "big") + b"".join(n.to_bytes(4, "big") + bytes(16) for n in labels)
box = (len(body) + 12).to_bytes(4, "big") + b"chan" + bytes(4) + body
start, more = at - 4, len(box) - size
for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"sowt"):
    place = data.rindex(name, 0, start) - 4
    data[place : place + 4] = (int.from_bytes(data[place : place + 4], "big") + more).to_bytes(4, "big")
data[start : start + size] = box
path.write_bytes(data)
with VideoReader(path) as reader, VideoWriter(target, reader.info, source=path) as writer:
    for batch in reader:
        writer.write(batch)
print(writer.warnings)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "its channels are in an order of their own" in done.stdout
