"""Sound, time and everything else beside the pictures survive a pass through reader and writer."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from .clips import FAST, Clip, durations, frame_times, packets, subtitle_texts
from .conftest import Copy

NTSC = {"pts": tuple(range(0, 12 * 1001, 1001)), "last_duration": 1001, "time_base": Fraction(1, 30_000)}
MILLISECONDS = {"pts": tuple(range(0, 480, 40)), "last_duration": 40, "time_base": Fraction(1, 1000)}
BROADCAST = {"pts": tuple(range(0, 43_200, 3600)), "last_duration": 3600, "time_base": Fraction(1, 90_000)}
UNEVEN = (0, 512, 700, 1600, 1700, 3000, 3500, 5000, 5100, 5200, 6000, 7000)
VP9 = {"codec": "libvpx-vp9", "options": {"crf": "30", "b": "0", "cpu-used": "8"}, **MILLISECONDS}

CASES = {
    "25 fps": ("mp4", Clip(audio=("aac",))),
    "29.97 fps": ("mp4", Clip(audio=("aac",), rate=Fraction(30_000, 1001), **NTSC)),
    "variable rate": ("mp4", Clip(audio=("aac",), pts=UNEVEN, last_duration=900)),
    "start offset": ("mp4", Clip(audio=("aac",), pts=tuple(range(6400, 6400 + 12 * 512, 512)))),
    "edit list": ("mp4", Clip(audio=("aac",), pts=tuple(range(-1024, 10 * 512, 512)))),
    "edit list on audio": ("mp4", Clip(audio=("aac",), audio_start=Fraction(-1, 5))),
    "three audio tracks": ("mp4", Clip(audio=("aac", "libopus", "aac"))),
    "quicktime, pcm": ("mov", Clip(audio=("pcm_s16le",))),
    "matroska": ("mkv", Clip(audio=("aac", "libopus", "flac"), **MILLISECONDS)),
    "mpeg-ts": ("ts", Clip(audio=("aac",), **BROADCAST)),
    "av1": ("mp4", Clip(codec="libsvtav1", options={"preset": "12"}, audio=("aac",))),
    "vp9": ("webm", Clip(audio=("libopus",), **VP9)),
    "rotated": ("mp4", Clip(audio=("aac",), rotation=(90, False, False))),
    "sample aspect": ("mp4", Clip(audio=("aac",), context={"sample_aspect_ratio": Fraction(64, 45)})),
    "odd size": ("mkv", Clip(codec="ffv1", options={}, size=(95, 63), audio=("aac",), **MILLISECONDS)),
}


@pytest.mark.parametrize("case", CASES)
def test_packets_and_times_are_the_same(case: str, copy: Copy, tmp_path: Path) -> None:
    suffix, clip = CASES[case]
    source = clip.write(tmp_path / f"source.{suffix}")
    done = copy(source, f"target.{suffix}")
    assert frame_times(done.path) == frame_times(source)
    assert durations(done.path) == durations(source)
    for track in range(len(clip.audio)):
        assert packets(done.path, "audio", track) == packets(source, "audio", track)
    with av.open(str(source)) as a, av.open(str(done.path)) as b:
        assert len(b.streams) == len(a.streams)
        assert (b.streams.video[0].sample_aspect_ratio or 1) == (a.streams.video[0].sample_aspect_ratio or 1)
        assert next(b.decode(video=0)).rotation == next(a.decode(video=0)).rotation
    assert done.frames == len(frame_times(source))
    assert done.reader.loss is None
    even = "encoded at 96x64 instead of 95x63, its edge repeated: libx264 takes even sizes alone for yuv420p"
    expected = [even] if case == "odd size" else []
    assert done.writer.warnings == expected


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_reordered_frames_of_uneven_duration(codec: str, copy: Copy, tmp_path: Path) -> None:
    """MP4 stores durations in decoding order: each time stays, and so does the length, which has the last frame's."""
    late = tuple(pts + 3000 for pts in UNEVEN)
    source = Clip(pts=late, last_duration=900, audio=("aac",)).write(tmp_path / "source.mp4")
    done = copy(source, "target.mp4", codec=codec, preset="faster")
    assert frame_times(done.path) == frame_times(source)
    with av.open(str(source)) as a, av.open(str(done.path)) as b:
        assert b.streams.video[0].duration == a.streams.video[0].duration == 7900
        reordered = [packet.pts != packet.dts for packet in b.demux(video=0) if packet.size]
    assert any(reordered) == (codec != "libsvtav1")


def test_time_that_runs_backwards(copy: Copy, tmp_path: Path) -> None:
    """Two recordings in one MPEG-TS file, both from zero: what cannot be placed is told, and nothing breaks."""
    once = Clip(audio=("aac",), **BROADCAST).write(tmp_path / "once.ts")
    source = tmp_path / "twice.ts"
    source.write_bytes(once.read_bytes() * 2)
    done = copy(source, "target.mp4")
    times = frame_times(done.path)
    assert len(times) == done.frames == 24
    assert all(earlier < later for earlier, later in pairwise(times))
    assert any("had no usable timestamp" in line for line in done.reader.warnings)
    assert any("go back in time and were left out" in line for line in done.writer.warnings)


def test_edit_list_clip_has_one() -> None:
    """Two of the twelve frames lie before the edit list's start, which is what makes the case above one."""
    assert sum(pts < 0 for pts in CASES["edit list"][1].pts) == 2


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_subtitles_chapters_titles(suffix: str, copy: Copy, tmp_path: Path) -> None:
    clip = Clip(
        audio=("aac", "aac"),
        subtitles=[(100, 200, "first words"), (400, 60, "and more")],
        chapters=[(0, 200, "one"), (200, 480, "two")],
        title="A title",
    )
    source = clip.write(tmp_path / f"source.{suffix}")
    done = copy(source, f"target.{suffix}")
    assert packets(done.path, "subtitle") == packets(source, "subtitle")
    assert [text for _, text in subtitle_texts(done.path)] == ["first words", "and more"]
    with av.open(str(source)) as a, av.open(str(done.path)) as b:
        assert _chapters(b) == _chapters(a) == [(0, Fraction(1, 5), "one"), (Fraction(1, 5), Fraction(12, 25), "two")]
        assert b.metadata["title"] == "A title"
        assert [s.disposition for s in b.streams] == [s.disposition for s in a.streams]
        kept = ("language", "title", "name")
        for before, after in zip(a.streams, b.streams, strict=True):
            assert {k: after.metadata.get(k) for k in kept} == {k: before.metadata.get(k) for k in kept}
    assert done.writer.warnings == []


@pytest.mark.parametrize(("source", "target", "kind"), [("mkv", "mp4", "mov_text"), ("mp4", "mkv", "subrip")])
def test_text_subtitles_change_kind(source: str, target: str, kind: str, copy: Copy, tmp_path: Path) -> None:
    clip = Clip(subtitles=[(100, 200, "first words"), (400, 60, "and more")], **MILLISECONDS)
    original = clip.write(tmp_path / f"source.{source}")
    done = copy(original, f"target.{target}")
    assert subtitle_texts(done.path) == subtitle_texts(original)
    assert any(f"converted to {kind}" in line for line in done.writer.warnings)


def test_attachment_is_copied(copy: Copy, tmp_path: Path) -> None:
    source = Clip(attachment=b"font data" * 5, **MILLISECONDS).write(tmp_path / "source.mkv")
    with av.open(str(copy(source, "target.mkv").path)) as container:
        (font,) = container.streams.attachments
        assert (font.name, font.data) == ("font.ttf", b"font data" * 5)


@pytest.mark.parametrize(("suffix", "lost"), [("ts", True), ("mp4", False), ("mkv", False)])
def test_a_lost_rotation_is_told_before_the_work(suffix: str, lost: bool, copy: Copy, tmp_path: Path) -> None:
    source = Clip(rotation=(90, False, False)).write(tmp_path / "source.mp4")
    done = copy(source, f"target.{suffix}")
    assert any("rotation is lost: " in line for line in done.writer.warnings) == lost
    with av.open(str(source)) as a, av.open(str(done.path)) as b:
        kept = next(b.decode(video=0)).rotation == next(a.decode(video=0)).rotation
    assert kept != lost


def test_what_a_format_cannot_hold_is_reported(copy: Copy, tmp_path: Path) -> None:
    source = Clip(audio=("aac", "libopus"), attachment=b"font", **MILLISECONDS).write(tmp_path / "source.mkv")
    done = copy(source, "target.webm")
    assert packets(done.path, "audio", 1)[0][0] == packets(source, "audio", 1)[0][0]
    assert [line.split(":")[0] for line in done.writer.warnings] == [
        "audio stream #1 (aac, eng) was encoded with libopus",
        "attachment stream #3 (font.ttf) was left out",
    ]


def test_streams_are_left_out_on_request(copy: Copy, tmp_path: Path) -> None:
    source = Clip(audio=("aac",), title="kept").write(tmp_path / "source.mp4")
    with av.open(str(copy(source, "target.mp4", copy_streams=False).path)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        assert container.metadata["title"] == "kept"


def test_mpegts_to_mp4_starts_at_zero(copy: Copy, tmp_path: Path) -> None:
    late = {**BROADCAST, "pts": tuple(range(900_000, 943_200, 3600))}
    source = Clip(audio=("aac",), audio_start=Fraction(10), **late).write(tmp_path / "source.ts")
    done = copy(source, "target.mp4")
    origin = min(frame_times(source)[0], packets(source, "audio")[0][1])
    assert origin > 9
    assert frame_times(done.path) == [time - origin for time in frame_times(source)]
    sounds = packets(source, "audio"), packets(done.path, "audio")
    assert [time - origin for _, time, _ in sounds[0]] == [time for _, time, _ in sounds[1]]
    # MP4 holds AAC without the 7 bytes of header that MPEG-TS repeats in each packet.
    assert [data[7:] for data, _, _ in sounds[0]] == [data for data, _, _ in sounds[1]]


def test_negative_times_move_everything_alike_where_a_format_has_none(copy: Copy, tmp_path: Path) -> None:
    source = Clip(audio=("aac",)).write(tmp_path / "source.mp4")
    done = copy(source, "target.mkv")
    moved = {round(b - a, 4) for a, b in zip(frame_times(source), frame_times(done.path), strict=True)}
    assert moved == {Fraction("0.021")}
    sounds = zip(packets(source, "audio"), packets(done.path, "audio"), strict=True)
    assert all(abs(b[1] - a[1] - Fraction("0.021")) < Fraction("0.001") and a[0] == b[0] for a, b in sounds)
    assert any("+0.021 s" in line for line in done.writer.warnings)


LONG = {"options": {**FAST, "preset": "veryfast", "g": "25", "bf": "3"}, "audio": ("aac",), "audio_seconds": 4}
RANGES = {
    "mp4": Clip(pts=tuple(range(0, 100 * 512, 512)), **LONG),
    "mkv": Clip(pts=tuple(range(0, 4000, 40)), last_duration=40, time_base=Fraction(1, 1000), **LONG),
    "ts": Clip(pts=tuple(range(0, 360_000, 3600)), last_duration=3600, time_base=Fraction(1, 90_000), **LONG),
}


@pytest.mark.parametrize("suffix", RANGES)
@pytest.mark.parametrize(("start", "end"), [(1.3, 2.5), (None, 0.7), (3.1, None)])
def test_range(suffix: str, start: float | None, end: float | None, copy: Copy, tmp_path: Path) -> None:
    source = RANGES[suffix].write(tmp_path / f"source.{suffix}")
    done = copy(source, f"target.{suffix}", start=start, end=end)
    times, sounds = frame_times(source), packets(source, "audio")
    origin = min(times[0], sounds[0][1]) if suffix == "ts" else 0
    low, high = origin + Fraction(str(start or 0)), origin + Fraction(str(end or 99))
    wanted = [time for time in times if low <= time < high]
    shift = wanted[0] if start is not None else 0
    assert frame_times(done.path) == [time - shift for time in wanted]
    heard = [(data, time - shift) for data, time, _ in sounds if (start is None or time >= shift) and time < high]
    assert [(data, time) for data, time, _ in packets(done.path, "audio")] == heard


def test_range_cuts_chapters_and_subtitles(copy: Copy, tmp_path: Path) -> None:
    clip = Clip(subtitles=[(40, 50, "before"), (240, 60, "within")], chapters=[(0, 200, "one"), (200, 480, "two")])
    source = clip.write(tmp_path / "source.mp4")
    done = copy(source, "target.mp4", start=0.16, end=0.4)
    assert subtitle_texts(done.path) == [(Fraction(2, 25), "within")]
    with av.open(str(done.path)) as container:
        assert _chapters(container) == [(0, Fraction(1, 25), "one"), (Fraction(1, 25), Fraction(6, 25), "two")]


def test_presenter(data: Path, copy: Copy) -> None:
    source = data / "presenter.mp4"
    done = copy(source, "target.mp4")
    assert frame_times(done.path) == frame_times(source) == [Fraction(n, 25) for n in range(138)]
    assert packets(done.path, "audio") == packets(source, "audio")
    assert (done.reader.loss, done.writer.warnings, done.writer.codec) == (None, [], "libx264")


def _chapters(container: av.container.InputContainer) -> list[tuple[Fraction, Fraction, str]]:
    found = container.chapters()
    return [(c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"]) for c in found]
