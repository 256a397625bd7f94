"""Planes, colour tags and HDR10 metadata are the same before and after; formats are read as what they are."""

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from trtswap.pixels.color import ColorTags, PixelFormat
from trtswap.video.formats import layout_of, nearest_planar
from trtswap.video.planes import planes_from_frames
from trtswap.video.reader import VideoReader

from .clips import HDR_LIGHT, HDR_MASTERING, LOSSLESS, Clip, picture, planes
from .conftest import Copy

MILLISECONDS = {"pts": tuple(range(0, 280, 40)), "last_duration": 40, "time_base": Fraction(1, 1000)}
FFV1_FORMATS = [
    "yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "gray", "yuv420p9le", "yuv420p10le", "yuv422p10le",
    "yuv444p10le", "yuv420p12le", "yuv444p12le", "yuv422p14le", "gray10le", "gbrp10le", "gbrp12le", "bgr0",
]  # fmt: skip


@pytest.mark.parametrize("name", FFV1_FORMATS)
def test_planes_survive_ffv1(name: str, copy: Copy, tmp_path: Path) -> None:
    clip = Clip(codec="ffv1", options={}, pix_fmt=name, size=(94, 62), **MILLISECONDS)
    source = clip.write(tmp_path / "source.mkv")
    done = copy(source, "target.mkv", codec="ffv1")
    _assert_same(planes(source), planes(done.path))
    assert len(planes(source)) == done.frames == 7


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p", "yuv444p", "gray"])
def test_planes_survive_lossless_x264(name: str, copy: Copy, tmp_path: Path) -> None:
    source = Clip(pix_fmt=name, options=LOSSLESS).write(tmp_path / "source.mp4")
    _assert_same(planes(source), planes(copy(source, "target.mp4", codec="libx264", options={"qp": "0"}).path))


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "yuv444p12le", "gray10le", "gbrp10le"])
def test_reader_gives_the_decoders_planes(name: str, tmp_path: Path) -> None:
    clip = Clip(codec="ffv1", options={}, pix_fmt=name, size=(94, 62), **MILLISECONDS)
    source = clip.write(tmp_path / "source.mkv")
    with VideoReader(source, batch_size=3) as reader:
        batches = list(reader)
    assert [len(batch.pts) for batch in batches] == [3, 3, 1]
    order = (2, 0, 1) if name.startswith("gbr") else (0, 1, 2)
    for number, truth in enumerate(planes(source)):
        batch = batches[number // 3]
        for index, tensor in zip(order, batch.planes, strict=True):
            if index < len(truth):
                assert np.array_equal(tensor[number % 3].numpy().view(np.uint8), truth[index])
    if name.startswith("gray"):
        assert all(bool((plane == 512).all()) for batch in batches for plane in batch.planes[1:])


@pytest.mark.parametrize(
    ("name", "planar"),
    [("nv12", "yuv420p"), ("nv21", "yuv420p"), ("nv16", "yuv422p"), ("nv24", "yuv444p"), ("p010le", "yuv420p10le")],
)
def test_semi_planar_equals_swscale(name: str, planar: str) -> None:
    frames = [picture(n, (94, 62), planar).reformat(format=name) for n in range(2)]
    layout = layout_of(name)
    assert layout is not None
    assert layout.planar == planar
    got = planes_from_frames(frames, layout)
    for number in range(2):
        truth = picture(number, (94, 62), planar).to_ndarray()
        flat = torch.cat([plane[number].flatten() for plane in got]).numpy()
        assert np.array_equal(flat.view(truth.dtype), truth.flatten())


@pytest.mark.parametrize(
    ("name", "planar"),
    [
        ("rgb24", "gbrp"), ("pal8", "gbrp"), ("bgra", "gbrp"), ("rgb48le", "gbrp12le"), ("yuva420p", "yuv420p"),
        ("yuyv422", "yuv422p"), ("yuv420p10be", "yuv420p10le"), ("yuv444p16le", "yuv444p12le"), ("ya8", "gray"),
        ("monow", "gray"), ("y210le", "yuv422p10le"), ("gbrap10le", "gbrp10le"), ("x2rgb10le", "gbrp10le"),
    ],
)  # fmt: skip
def test_nearest_planar_keeps_family_depth_and_subsampling(name: str, planar: str) -> None:
    assert layout_of(name) is None
    assert nearest_planar(name) == planar
    assert layout_of(planar) is not None


def test_odd_sizes_keep_luma_where_chroma_must_change(copy: Copy, tmp_path: Path) -> None:
    clip = Clip(codec="ffv1", options={}, size=(95, 63), **MILLISECONDS)
    source = clip.write(tmp_path / "source.mkv")
    done = copy(source, "target.mp4", codec="libx264", options={"qp": "0"})
    for before, after in zip(planes(source), planes(done.path), strict=True):
        assert np.array_equal(before[0], after[0])
        assert [plane.shape for plane in after] == [(63, 95)] * 3
        # Each chroma sample is found again between the four that it became.
        coarse = before[1][:, :47].astype(float)
        fine = after[1][:62, :94].reshape(31, 2, 47, 2).mean((1, 3))
        assert np.abs(coarse[:31] - fine).mean() < 3


@pytest.mark.parametrize("height", [64, 720])
def test_rgb_becomes_tagged_ycbcr_for_an_encoder_without_rgb(height: int, copy: Copy, tmp_path: Path) -> None:
    colour = [192, 64, 32]
    path = tmp_path / "source.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=25, width=64, height=height, pix_fmt="bgr0")
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((height, 64, 3), colour, np.uint8), "rgb24")))
        output.mux(stream.encode(None))
    done = copy(path, "target.mp4", codec="libx264", options={"qp": "0"})
    with av.open(str(done.path)) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range) == (1 if height == 720 else 5, 1)
        seen = frame.to_ndarray(format="rgb24")
    assert np.abs(seen.astype(int) - colour).max() <= 2


TAGS = [
    ColorTags(1, 1, 1, 1, "left"),
    ColorTags(6, 6, 6, 1, "center"),
    ColorTags(5, 6, 5, 2, "left"),
    ColorTags(9, 16, 9, 1, "topleft"),
    ColorTags(9, 18, 9, 2, "topleft"),
    ColorTags(chroma_location="left"),
]


@pytest.mark.parametrize("tags", TAGS)
@pytest.mark.parametrize(
    "kind", [("libx264", "yuv420p", "mp4"), ("libx265", "yuv420p10le", "mkv"), ("libx264", "yuv420p10le", "ts")]
)
def test_color_tags(tags: ColorTags, kind: tuple[str, str, str], copy: Copy, tmp_path: Path) -> None:
    codec, name, suffix = kind
    source = _tagged(tags, codec, name).write(tmp_path / f"source.{suffix}")
    done = copy(source, f"target.{suffix}", codec=codec)
    before, after = _tags_seen_by_ffprobe(source), _tags_seen_by_ffprobe(done.path)
    assert after == before
    with VideoReader(done.path) as reader:
        # x265 writes "limited" where nothing was said.
        assert reader.info.color in (tags, ColorTags(range=1, chroma_location="left"))


@pytest.mark.parametrize(
    ("tags", "height", "expected"),
    [
        (TAGS[0], 64, PixelFormat("yuv420p", 8, (1, 1), "bt709", False, (0.0, 0.5))),
        (TAGS[1], 64, PixelFormat("yuv420p", 8, (1, 1), "bt601", False, (0.5, 0.5))),
        (TAGS[2], 64, PixelFormat("yuv420p", 8, (1, 1), "bt601", True, (0.0, 0.5))),
        (TAGS[3], 64, PixelFormat("yuv420p", 8, (1, 1), "bt2020", False, (0.0, 0.0), "pq", "bt2020")),
        (TAGS[5], 718, PixelFormat("yuv420p", 8, (1, 1), "bt601", False, (0.0, 0.5))),
        (TAGS[5], 720, PixelFormat("yuv420p", 8, (1, 1), "bt709", False, (0.0, 0.5))),
    ],
)
def test_pixel_format_follows_tags(tags: ColorTags, height: int, expected: PixelFormat, tmp_path: Path) -> None:
    clip = _tagged(tags, "libx264", "yuv420p")
    clip.size, clip.pts = (64, height), (0, 512)
    with VideoReader(clip.write(tmp_path / "source.mp4")) as reader:
        assert reader.info.pixel_format == expected


@pytest.mark.parametrize(("codec", "suffix"), [("auto", "mp4"), ("libx264", "mp4"), ("libsvtav1", "mp4")])
def test_hdr10_metadata(codec: str, suffix: str, copy: Copy, tmp_path: Path) -> None:
    clip = _tagged(TAGS[3], "libx265", "yuv420p10le")
    clip.options = {**clip.options, "x265-params": f"log-level=none:master-display={HDR_MASTERING}:max-cll={HDR_LIGHT}"}
    source = clip.write(tmp_path / "source.mp4")
    done = copy(source, f"target.{suffix}", codec=codec, preset="veryfast")
    with av.open(str(done.path)) as container:
        frame = next(container.decode(video=0))
        data = {item.type.name: bytes(item) for item in frame.side_data}
        assert (frame.format.name, frame.color_trc) == ("yuv420p10le", 16)
    numbers = np.frombuffer(data["MASTERING_DISPLAY_METADATA"], np.int32)[:20].reshape(10, 2)
    truth = [0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329, 0.005, 1000]
    # AV1 stores fractions of 65536 and of 16384.
    assert np.allclose(numbers[:, 0] / numbers[:, 1], truth, atol=0 if codec != "libsvtav1" else 2e-5)
    assert np.frombuffer(data["CONTENT_LIGHT_LEVEL"], np.uint32).tolist() == [1000, 400]
    assert done.writer.codec == ("libx265" if codec == "auto" else codec)


def test_hdr10_metadata_without_a_place_is_reported(copy: Copy, tmp_path: Path) -> None:
    clip = _tagged(TAGS[3], "libx265", "yuv420p10le")
    clip.options = {**clip.options, "x265-params": f"log-level=none:master-display={HDR_MASTERING}"}
    done = copy(clip.write(tmp_path / "source.mp4"), "target.mkv", codec="ffv1")
    assert "HDR10 metadata is lost: ffv1 has no place for it" in done.writer.warnings


@pytest.mark.parametrize(("transfer", "words"), [(16, "HDR (PQ)"), (18, "HDR (HLG)"), (14, None)])
def test_hdr_is_told(transfer: int, words: str | None, tmp_path: Path) -> None:
    """14 is SDR in BT.2020: converted as well, but nothing is lost."""
    clip = _tagged(ColorTags(9, transfer, 9, 1, "topleft"), "libx265", "yuv420p10le")
    with VideoReader(clip.write(tmp_path / "source.mp4")) as reader:
        told = [line for line in reader.warnings if "HDR" in line]
        assert (reader.info.pixel_format.transfer == "sdr") == (words is None)
        assert reader.info.pixel_format.primaries == "bt2020"
    assert len(told) == (words is not None)
    if words:
        assert f"the video is {words}" in told[0]
        assert "203 cd/m2" in told[0]


def _tagged(tags: ColorTags, codec: str, name: str) -> Clip:
    options = {"preset": "ultrafast", "chroma_sample_location": tags.chroma_location or "unspecified"}
    if codec == "libx265":
        options["x265-params"] = "log-level=none"
    context = {
        "color_primaries": tags.primaries,
        "color_trc": tags.transfer,
        "colorspace": tags.matrix,
        "color_range": tags.range,
    }
    return Clip(codec=codec, pix_fmt=name, options=options, context=context, pts=(0, 512, 1024))


def _tags_seen_by_ffprobe(path: Path) -> str:
    """By another program where there is one; by PyAV's own attributes otherwise."""
    program = shutil.which("ffprobe")
    if program is None:
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            return str((frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range))
    entries = "stream=pix_fmt,color_range,color_space,color_transfer,color_primaries,chroma_location"
    command = [program, "-v", "error", "-select_streams", "v", "-show_entries", entries, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _assert_same(before: list[list[np.ndarray]], after: list[list[np.ndarray]]) -> None:
    assert len(before) == len(after)
    for a, b in zip(before, after, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
