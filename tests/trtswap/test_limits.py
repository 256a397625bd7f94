"""Limits: what is refused, and what the message says."""

import math
from pathlib import Path

import av
import pytest
import torch

from trtswap import Identity, RuntimeOptions, Swapper
from trtswap.errors import InputError, LimitError
from trtswap.limits import Limits
from trtswap.video.reader import VideoReader


def test_what_is_beyond_a_limit_is_refused_with_both_figures_and_the_way_out() -> None:
    limits = Limits(pixels=1000)
    limits.check("pixels", 1000, "in.png")
    with pytest.raises(LimitError, match=r"in\.png: has 1,001 pixels, more than the limit of 1,000.*Limits\(pixels="):
        limits.check("pixels", 1001, "in.png")


@pytest.mark.parametrize("name", ["pixels", "streams", "packets_without_frame", "probe_seconds"])
def test_each_limit_can_be_lifted(name: str) -> None:
    with pytest.raises(LimitError, match=name):
        Limits().check(name, 1e15, "in.mp4")
    Limits(**{name: math.inf}).check(name, 1e15, "in.mp4")


def test_limits_of_the_command_line() -> None:
    assert Limits.parse([]) == Limits()
    assert Limits.parse(["pixels=3e7", "seconds=60", "streams=inf"]) == Limits(pixels=3e7, seconds=60, streams=math.inf)
    for setting, words in (
        ("pixels", "expected NAME=NUMBER"),
        ("pixels=x", "expected NAME"),
        ("faces=3", "no 'faces'"),
    ):
        with pytest.raises(InputError, match=words):
            Limits.parse([setting])


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"frame_pixels": 1920 * 1080 - 1}, "has 2,073,600 frame pixels"),
        ({"seconds": 3}, r"has [\d.]+ seconds, more than the limit of 3"),
        ({"streams": 1}, "has 2 streams"),
        ({"packets_without_frame": 0.5}, "has 1 packets without frame"),
        ({"probe_seconds": 1e-9}, "was not open after 1e-09 seconds"),
    ],
)
def test_a_video_beyond_a_limit_is_refused(limits: dict[str, float], words: str, data: Path) -> None:
    with pytest.raises(LimitError, match=words):
        list(VideoReader(data / "presenter.mp4", limits=Limits(**limits)))


def test_a_video_longer_than_its_header_says_is_refused_on_the_way(data: Path, tmp_path: Path) -> None:
    """Raw H.264 has no header that tells how long it is."""
    raw = tmp_path / "raw.h264"
    with av.open(str(data / "presenter.mp4")) as source, av.open(str(raw), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    with VideoReader(raw, batch_size=1, limits=Limits(seconds=1)) as reader:
        frames = iter(reader)
        assert len([next(frames) for _ in range(20)]) == 20
        with pytest.raises(LimitError, match="seconds, more than the limit of 1"):
            list(frames)


def test_a_swapper_holds_files_to_its_limits(paste_pack: Path, data: Path, tmp_path: Path) -> None:
    settled = RuntimeOptions(limits=Limits(pixels=1000, frame_pixels=1000))
    with Swapper(paste_pack, backend="onnxruntime", device="cpu", runtime=settled) as swapper:
        with pytest.raises(LimitError, match=r"astronaut\.png: has 262,144 pixels"):
            swapper.identity(data / "astronaut.png")
        who = Identity(torch.nn.functional.normalize(torch.ones(112 * 112 * 3), dim=0))
        with pytest.raises(LimitError, match=r"presenter\.mp4: has"):
            swapper.swap_video(data / "presenter.mp4", tmp_path / "out.mp4", who)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [0, -1, math.nan, True, "12", None])
def test_what_is_no_limit_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="the limit pixels is"):
        Limits(pixels=value)
