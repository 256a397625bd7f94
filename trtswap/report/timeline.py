"""When each stage was at work: as inline SVG, and as a file for Chrome's and Perfetto's trace viewers."""

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from trtswap.model.stages import STAGES
from trtswap.session.stopwatch import Span

WINDOW_SECONDS = 2.0
WIDTH, ROW = 1000.0, 14.0
KINDS = dict.fromkeys(STAGES, "network") | {"decode": "video", "encode": "video"}


def timeline(spans: Sequence[Span]) -> str:
    """A row for each thread over ``WINDOW_SECONDS`` from the middle of the run; nothing without spans."""
    if not spans:
        return ""
    begin, end = window(spans)
    threads = list(dict.fromkeys(span.thread for span in spans))
    seen = [span for span in spans if span.end > begin and span.start < end]
    scale = WIDTH / max(end - begin, 1e-9)
    rects = "".join(
        f'<rect class="{KINDS.get(span.stage, "pixels")}" x="{(max(span.start, begin) - begin) * scale:.2f}" '
        f'y="{threads.index(span.thread) * ROW + 1:g}" '
        f'width="{max((min(span.end, end) - max(span.start, begin)) * scale, 0.3):.2f}" height="{ROW - 2:g}">'
        f"<title>{html.escape(span.stage)}: {1000 * (span.end - span.start):.1f} ms</title></rect>"
        for span in seen
    )
    names = "".join(f"<span>{html.escape(name.removeprefix('trtswap-'))}</span>" for name in threads)
    height = len(threads) * ROW
    ticks = "".join(f"<span>{begin + (end - begin) * k / 4:.2f} s</span>" for k in range(5))
    return f"""<div class="timeline" role="img" aria-label="Which stage each thread was at, over time">
<div class="threads" aria-hidden="true">{names}</div>
<svg viewBox="0 0 {WIDTH:g} {height:g}" preserveAspectRatio="none">{rects}</svg>
<div class="ticks" aria-hidden="true">{ticks}</div>
</div>
"""


def window(spans: Sequence[Span]) -> tuple[float, float]:
    """The part of a run that is drawn, seconds: the middle, where all threads are at work."""
    first, last = min(span.start for span in spans), max(span.end for span in spans)
    length = min(WINDOW_SECONDS, last - first)
    begin = first + (last - first - length) / 2
    return begin, begin + length


def busy_seconds(spans: Iterable[Span]) -> float:
    """How long at least one stage was at work."""
    total, until = 0.0, float("-inf")
    for span in sorted(spans, key=lambda span: span.start):
        total += max(0.0, span.end - max(span.start, until))
        until = max(until, span.end)
    return total


def chrome_trace(spans: Sequence[Span]) -> str:
    """JSON of the Trace Event Format ("complete" events, microseconds), for chrome://tracing and ui.perfetto.dev."""
    threads = {name: number for number, name in enumerate(dict.fromkeys(span.thread for span in spans))}
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "thread_name", "pid": 0, "tid": number, "args": {"name": name}}
        for name, number in threads.items()
    ]
    events += [
        {"ph": "X", "name": span.stage, "pid": 0, "tid": threads[span.thread], "ts": round(span.start * 1e6, 1),
         "dur": round((span.end - span.start) * 1e6, 1)}
        for span in spans
    ]  # fmt: skip
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, allow_nan=False)
