"""Who worked when: the part that is drawn, the busy time, and the trace."""

import json
from xml.etree import ElementTree

import pytest

from trtswap.report.timeline import busy_seconds, chrome_trace, timeline, window
from trtswap.session.stopwatch import Span, Stopwatch

SPANS = [
    Span("decode", "trtswap-decode", 0, 1),
    Span("swap", "trtswap-swap", 0.5, 3),
    Span("swap", "trtswap-swap", 5, 8),
]


def test_busy_time_counts_overlaps_once() -> None:
    assert busy_seconds(SPANS) == pytest.approx(6)
    assert busy_seconds([]) == 0


def test_the_middle_is_drawn() -> None:
    assert window(SPANS) == (3, 5)
    assert window(SPANS[:1]) == (0, 1)
    chart = timeline(SPANS[:2])  # from 0.5 to 2.5 s of 3 s
    svg = ElementTree.fromstring(chart[chart.index("<svg") : chart.index("</svg>") + 6])  # noqa: S314
    drawn = [(r.get("class"), float(r.get("x", 0)), float(r.get("width", 0))) for r in svg.iter("rect")]
    assert drawn == [("video", 0, 250), ("network", 0, 1000)]
    assert timeline([]) == ""


def test_the_trace_is_of_the_trace_event_format() -> None:
    events = json.loads(chrome_trace(SPANS))["traceEvents"]
    assert [e["args"]["name"] for e in events if e["ph"] == "M"] == ["trtswap-decode", "trtswap-swap"]
    assert {(e["name"], e["tid"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"} == {
        ("decode", 0, 0, 1e6), ("swap", 1, 0.5e6, 2.5e6), ("swap", 1, 5e6, 3e6)
    }  # fmt: skip


def test_a_clock_keeps_the_spans_and_their_sum() -> None:
    clock = Stopwatch()
    for name in ("a", "b", "a"):
        with clock.stage(name):
            pass
    assert [span.stage for span in clock.spans] == ["a", "b", "a"]
    assert clock.seconds["a"] == pytest.approx(sum(s.end - s.start for s in clock.spans if s.stage == "a"))
