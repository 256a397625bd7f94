"""Every reader against PyAV: the same frames, times and ranges, and refusals instead of wrong frames."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from trtswap.errors import InputError, ReadError
from trtswap.pixels.frames import Frames
from trtswap.video.opening import READERS, open_reader
from trtswap.video.rgb_reader import planes_of
from trtswap.video.scheduling import ordinary_threads

from .clips import FAST, Clip, damaged

MODULES = {"pyav": "av", "nvdec": "av", "decord": "decord", "dali": "nvidia.dali"}


@dataclass(frozen=True)
class Kind:
    """How a reader is tested: what it can decode on a CPU, and how near to PyAV its planes are."""

    codec: str
    options: dict[str, str]
    mean: float
    worst: int


H264 = ("libx264", {"preset": "ultrafast", "crf": "12", "g": "8"})
KINDS = {
    "pyav": Kind(*H264, 0, 0),
    "nvdec": Kind(*H264, 0, 0),
    "decord": Kind(*H264, 0.3, 3),
    "dali": Kind("libvpx-vp9", {"crf": "12", "b": "0", "cpu-used": "8", "g": "8"}, 0.6, 4),
}


def installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(MODULES[name]) is not None
    except ModuleNotFoundError:
        return False


def on(reader: str) -> str:
    return "cuda" if reader == "nvdec" else "cpu"


@pytest.fixture(params=[pytest.param(r, marks=pytest.mark.gpu) if r == "nvdec" else r for r in READERS])
def reader(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "nvdec" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    if not installed(name):
        pytest.skip(f"{MODULES[name]} is not installed")
    return name


@pytest.fixture(scope="module")
def pictures(data: Path) -> list[np.ndarray]:
    """20 pictures of the presenter, 320x180, RGB."""
    with av.open(str(data / "presenter.mp4")) as container:
        frames = [f for f, _ in zip(container.decode(video=0), range(20), strict=False)]
    return [f.reformat(320, 180, "rgb24").to_ndarray() for f in frames]


def write(
    path: Path,
    pictures: list[np.ndarray],
    kind: Kind,
    *,
    pts: list[int] | None = None,
    pix_fmt: str = "yuv420p",
    matrix: int = 2,
    full: bool = False,
    size: tuple[int, int] = (320, 180),
) -> Path:
    """A clip with frame times in milliseconds."""
    with ordinary_threads(), av.open(str(path), "w") as out:
        stream = out.add_stream(kind.codec, rate=25, options=kind.options)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[: size[1], : size[0]]), "rgb24")
            frame = frame.reformat(
                format=pix_fmt, dst_colorspace=1 if matrix == 1 else 5, dst_color_range=2 if full else 1
            )
            frame.colorspace, frame.color_range = matrix, 2 if full else 1
            frame.pts, frame.time_base = pts[number] if pts else 40 * number, Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def joined(batches: Iterator[Frames]) -> tuple[list[torch.Tensor], list[int], list[int]]:
    """All planes, pts and durations of a video."""
    kept = list(batches)
    planes = [torch.cat([b.planes[i].cpu() for b in kept]) for i in range(3)]
    return planes, [p for b in kept for p in b.pts], [d for b in kept for d in b.durations]


VARIANTS = {
    "plain": {},
    "variable rate": {"pts": [0, 40, 120, 130, 200, *range(260, 260 + 15 * 70, 70)]},
    "late start": {"pts": [500 + 40 * n for n in range(20)]},
    "bt709": {"matrix": 1},
    "full range": {"full": True},
    "odd size": {"size": (318, 178)},
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_frames_and_times_are_pyavs(variant: str, reader: str, pictures: list[np.ndarray], tmp_path: Path) -> None:
    kind = KINDS[reader]
    if reader == "dali" and variant in ("bt709", "full range"):
        with pytest.raises(ReadError, match="colour tags"):
            open_reader(write(tmp_path / "clip.mkv", pictures, kind, **VARIANTS[variant]), reader=reader)  # type: ignore[arg-type]
        return
    path = write(tmp_path / "clip.mkv", pictures, kind, **VARIANTS[variant])  # type: ignore[arg-type]
    with open_reader(path, batch=7) as truth, open_reader(path, reader=reader, batch=7, device=on(reader)) as ours:
        assert ours.info == truth.info
        wanted, got = joined(iter(truth)), joined(iter(ours))
    assert got[1:] == wanted[1:]
    for plane, expected in zip(got[0], wanted[0], strict=True):
        assert plane.dtype == expected.dtype
        difference = (plane.int() - expected.int()).abs()
        assert int(difference.max()) <= kind.worst
        assert float(difference.float().mean()) <= kind.mean
        # Every frame is the right one: its neighbours differ from it by more than it does from PyAV's.
        if len(plane) > 1 and plane is got[0][0]:
            moved = (expected[1:].int() - expected[:-1].int()).abs().float().mean((1, 2))
            assert (difference[1:].float().mean((1, 2)) < moved + kind.mean).all()


@pytest.mark.parametrize(("start", "end"), [(0.2, None), (None, 0.3), (0.21, 0.29), (0.0, 0.04)])
def test_ranges_are_pyavs(
    start: float | None, end: float | None, reader: str, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    path = write(tmp_path / "clip.mkv", pictures, KINDS[reader])
    with (
        open_reader(path, batch=4, start=start, end=end) as truth,
        open_reader(path, reader=reader, batch=4, start=start, end=end, device=on(reader)) as ours,
    ):
        wanted, got = joined(iter(truth)), joined(iter(ours))
    assert got[1:] == wanted[1:]
    assert (got[0][0].int() - wanted[0][0].int()).abs().max() <= KINDS[reader].worst


def test_what_is_no_video_is_a_read_error(reader: str, pictures: list[np.ndarray], tmp_path: Path) -> None:
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"no video at all" * 100)
    for path in (junk, tmp_path / "missing.mp4", tmp_path):
        with pytest.raises(ReadError):
            open_reader(path, reader=reader, device=on(reader))
    with pytest.raises(InputError, match="expected 0 <= start"):
        open_reader(
            write(tmp_path / "clip.mkv", pictures[:2], KINDS[reader]), reader=reader, start=3, end=2, device=on(reader)
        )


def test_closing_twice_and_reading_in_one_batch(reader: str, pictures: list[np.ndarray], tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mkv", pictures, KINDS[reader])
    opened = open_reader(path, reader=reader, batch=64, device=on(reader))
    (batch,) = opened
    assert len(batch) == 20
    opened.close()
    opened.close()


def test_an_unknown_reader_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one of pyav, nvdec, decord, dali"):
        open_reader(tmp_path / "clip.mp4", reader="opencv")


TS = {"pts": tuple(range(0, 43_200, 3600)), "last_duration": 3600, "time_base": Fraction(1, 90_000)}
TURNED = {"rotation": (90, False, False)}
INTERLACED = {"preset": "ultrafast", "crf": "10", "flags": "+ildct+ilme", "x264-params": "tff=1"}
REFUSED = {
    "MPEG-TS": (Clip(**TS), "clip.ts", "MPEG-TS"),
    "10 bit": (Clip(pix_fmt="yuv420p10le"), "clip.mp4", "yuv420p10le"),
    "RGB": (Clip(codec="libx264rgb", pix_fmt="rgb24"), "clip.mkv", "gbrp"),
    "gray": (Clip(codec="ffv1", pix_fmt="gray", options={}), "clip.mkv", "gray"),
    "rotated": (Clip(**TURNED), "clip.mp4", "rotated"),
    "interlaced": (Clip(options=INTERLACED), "clip.mkv", "interlaced"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("other", ["decord", "dali"])
def test_what_another_library_gets_wrong_is_refused(what: str, other: str, tmp_path: Path) -> None:
    clip, name, words = REFUSED[what]
    with pytest.raises(ReadError, match=rf"{other} cannot read this file: .*{words}.*Use the reader pyav"):
        open_reader(clip.write(tmp_path / name), reader=other)


@pytest.mark.skipif(not installed("decord"), reason="decord is not installed")
def test_decord_fails_with_a_typed_error_on_av1_and_damage(pictures: list[np.ndarray], tmp_path: Path) -> None:
    av1 = write(tmp_path / "av1.mkv", pictures[:4], Kind("libsvtav1", {"preset": "12"}, 0, 0))
    with pytest.raises(ReadError, match="decord cannot open it"):
        open_reader(av1, reader="decord")
    hundred = Clip(size=(192, 128), pts=tuple(range(0, 100 * 512, 512)), options={**FAST, "g": "25"},
                   muxer={"movflags": "faststart"})  # fmt: skip
    whole = hundred.write(tmp_path / "whole.mp4")
    cut = damaged(whole, tmp_path / "cut.mp4", lambda content: content[: len(content) // 2])
    with pytest.raises(ReadError, match="decord"):
        list(open_reader(cut, reader="decord"))


@pytest.mark.skipif(not installed("decord"), reason="decord is not installed")
def test_decords_decode_ahead_is_thrown_away(
    pictures: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time the process has grown, what waits is dropped; the frames stay the right ones."""
    path = write(tmp_path / "clip.mkv", pictures, KINDS["decord"])
    with open_reader(path, reader="decord", batch=3) as plain:
        wanted, times, _ = joined(iter(plain))
    grown = iter(range(0, 10**13, 10**11))
    monkeypatch.setattr("trtswap.video.decord_reader.resident_bytes", lambda: next(grown))
    with open_reader(path, reader="decord", batch=3) as reader:
        seeks: list[int] = []
        seek = reader._video.seek  # type: ignore[attr-defined]
        monkeypatch.setattr(reader._video, "seek", lambda place: (seeks.append(place), seek(place)))  # type: ignore[attr-defined]
        got, at, _ = joined(iter(reader))
    assert seeks == [0] * 7
    assert at == times
    assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


def test_a_missing_library_says_how_to_get_it(
    pictures: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("decord", "dali"):
        path = write(tmp_path / f"{name}.mkv", pictures[:3], KINDS[name])
        monkeypatch.setitem(__import__("sys").modules, MODULES[name], None)
        with pytest.raises(ReadError, match=rf'pip install "trtswap\[{name}\]"'):
            open_reader(path, reader=name)


def test_convention_planes_of_undoes_a_conversion_to_rgb() -> None:
    """A colour in BT.709, limited range: its code values by hand."""
    with_chroma = torch.tensor([[192, 64, 32]], dtype=torch.uint8).expand(1, 4, 6, 3)
    from trtswap.pixels.color import PixelFormat

    y, u, v = planes_of(with_chroma, PixelFormat("yuv420p", 8, (1, 1), "bt709", False))
    assert [tuple(p.shape) for p in (y, u, v)] == [(1, 4, 6), (1, 2, 3), (1, 2, 3)]
    assert [int(p.unique()) for p in (y, u, v)] == [92, 101, 186]


def test_nvdec_needs_a_gpu_and_says_so(pictures: list[np.ndarray], tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mkv", pictures[:3], KINDS["pyav"])
    with pytest.raises(ReadError, match=r"on a CUDA device, not on cpu. Use the reader pyav"):
        open_reader(path, reader="nvdec", device="cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ReadError, match="NVDEC cannot decode it on cuda"):
            open_reader(path, reader="nvdec", batch=1, device="cuda")
