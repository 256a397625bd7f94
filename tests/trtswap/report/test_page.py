"""The page: whole, valid, self-contained, and with the figures it was given."""

import re
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from trtswap.errors import WriteError
from trtswap.pixels.color import ColorTags, PixelFormat
from trtswap.report.charts import COLUMNS, faces_over_time
from trtswap.report.facts import StageRow
from trtswap.report.page import Report, render, write_report
from trtswap.report.pictures import Picture
from trtswap.report.recorder import Sample
from trtswap.swapper import SwapResult
from trtswap.video.display import display_of
from trtswap.video.hdr import HdrMetadata
from trtswap.video.info import Loss, StreamInfo, VideoInfo

VOID = {"meta", "img", "br", "link"}


class Outline(HTMLParser):
    """Tags, attributes and text of a page; complains about tags that are not closed in order."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def info(codec: str) -> VideoInfo:
    return VideoInfo(
        width=1920,
        height=1080,
        pixel_format=PixelFormat("yuv420p", 8, (1, 1), "bt709", False),
        source_format="yuv420p",
        codec=codec,
        container="mov,mp4",
        time_base=Fraction(1, 25),
        average_rate=Fraction(30000, 1001),
        frame_count=4,
        duration=4.0,
        origin=Fraction(0),
        sample_aspect=Fraction(1),
        display=display_of(1920, 1080, Fraction(1), None),
        color=ColorTags(),
        hdr=HdrMetadata(),
        streams=(StreamInfo(1, "audio", "aac"),),
    )


@pytest.fixture
def report(tmp_path: Path) -> Report:
    picture = Picture(b"\xff\xd8jpeg", 960, 540)
    files = [tmp_path / "in <b>&.mp4", tmp_path / "out <b>&.mp4"]
    for file in files:
        file.write_bytes(b"0" * 1_230_000)
    return Report(
        source=files[0],
        target=files[1],
        source_info=info("h264"),
        target_info=info("hevc"),
        command="trtswap swap 'in <b>&.mp4'",
        heading="Pack paste 1, onnxruntime on the CPU.",
        licence="Apache-2.0",
        description="A pack.",
        machine="x86_64, cores of the CPU: 2",
        seconds=4.0,
        result=SwapResult(
            4, (1, 0, 2, 1), {"decode": 1.0, "swap": 2.0}, ("a <warning>",), Loss(9.0, 4.0, 4, "end of file")
        ),
        stages=(
            StageRow("decode", "video", 1.0, "PyAV on cpu, h264"),
            StageRow("swap", "network", 2.0, "onnxruntime on cpu, fp32"),
            StageRow("rest", "rest", 1.0, "all else"),
        ),
        options=[("smooth", "4")],
        samples=[
            Sample(0, 0.0, 1, picture, picture, picture, picture),
            Sample(3, 0.12, 0, picture, picture, None, None),
        ],
        times=[0.0, 0.04, 0.08, 0.12],
    )


def test_it_is_whole_and_needs_nothing_else(report: Report) -> None:
    page = render(report)
    outline = Outline(page)
    addresses = [attributes[name] for _, attributes in outline.tags for name in ("src", "href") if name in attributes]
    assert len(addresses) == 6
    assert all(address.startswith("data:image/jpeg;base64,") for address in addresses)
    assert not outline.all("script")
    assert not outline.all("link")
    assert "url(" not in page
    assert "@import" not in page


def test_what_a_judge_says_is_in_it(report: Report) -> None:
    assert "How good it is" not in Outline(render(report)).text
    row = {
        "name": "distance to the <source>",
        "unit": "dlib",
        "values": [0.5],
        "median": 0.5,
        "quartiles": [0.4, 0.625],
    }
    text = Outline(render(replace(report, judged=[row]))).text
    first = text.index("Distance to the <source>")
    assert "How good it is" in text[:first]
    assert text[first + 1 : first + 5] == ["0.50", "0.40", "0.62", "dlib"]


def test_names_of_files_are_no_markup(report: Report) -> None:
    outline = Outline(render(report))
    assert not outline.all("b")
    assert outline.text.count("out <b>&.mp4") == 1
    assert str(report.source) in outline.words
    assert "trtswap swap 'in <b>&.mp4'" in outline.words
    assert "A <warning>" in outline.words


def test_figures(report: Report) -> None:
    words = Outline(render(report)).words
    assert "4 frames" in words or "frames 4" in words
    assert "75%" in words
    assert "500.00 50.0% onnxruntime on cpu, fp32" in words
    assert "250.00 25.0% PyAV on cpu, h264" in words
    assert "29.97 fps" in words
    assert "1.23 MB" in words
    assert "BT.709 (assumed), limited range, 8 bit" in words
    assert "audio (aac)" in words
    assert "Cut off: the video ends at 4.00 s (4 frames)" in words


def test_pictures_can_be_heard(report: Report) -> None:
    images = Outline(render(report)).all("img")
    assert len({image["alt"] for image in images}) == len(images)
    assert images[0]["alt"] == "Face at 0.00 s, before"
    assert (images[0]["width"], images[0]["height"]) == ("960", "540")


def test_bars_are_as_long_as_their_stages_take(report: Report) -> None:
    rects = [rect for rect in Outline(render(report)).all("rect") if rect["class"] in ("video", "network", "rest")]
    widths = {rect["class"]: float(rect["width"]) for rect in rects if rect["width"] != "10"}
    assert widths == {"video": 50.0, "network": 100.0, "rest": 50.0}


def test_a_video_without_a_frame_has_a_page(report: Report) -> None:
    empty = replace(report, result=SwapResult(0, (), {}), samples=[], times=[], stages=())
    assert "No frame was swapped." in Outline(render(empty)).words


def steps(chart: str) -> list[float]:
    """Heights of a chart's columns, as a share of the whole height."""
    svg = ElementTree.fromstring(re.search(r"<svg.*</svg>", chart, re.DOTALL)[0])  # type: ignore[index] # noqa: S314
    (path,) = svg.findall("path")
    points = re.findall(r"L([\d.]+) ([\d.]+)", path.attrib["d"])
    return [1 - float(y) / 100 for _, y in points[:-1:2]]


def test_faces_over_time() -> None:
    chart = faces_over_time([1, 0, 2, 1], [0.0, 0.04, 0.08, 0.12])
    assert steps(chart) == pytest.approx([0.5, 0, 1, 0.5])
    assert "at most 2, 1 of 4 frames without a face" in chart


def test_one_missed_frame_of_a_long_video_is_seen() -> None:
    counts = [1] * 100_000
    counts[54_321] = 0
    heights = steps(faces_over_time(counts, [n / 25 for n in range(len(counts))]))
    assert len(heights) == COLUMNS
    assert [i for i, height in enumerate(heights) if height == 0] == [54_321 * COLUMNS // 100_000]


def test_it_is_written_whole_or_not_at_all(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("precious")
    with pytest.raises(WriteError, match="exists already"):
        write_report(report, path, overwrite=False)
    assert path.read_text() == "precious"
    write_report(report, path, overwrite=True)
    assert path.read_text("utf-8") == render(report)
    assert [p for p in tmp_path.iterdir() if p.suffix == ".html"] == [path]
