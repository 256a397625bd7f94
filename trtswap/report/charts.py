"""Charts as inline SVG. Shapes stretch with the page; text is HTML around them, so that it stays readable."""

import html
from collections.abc import Sequence
from itertools import pairwise

COLUMNS = 480
HEIGHT = 100.0
KINDS = {"network": "networks", "pixels": "warps, masks, colours", "video": "video", "rest": "the rest"}


def legend() -> str:
    """What the colours of the bars mean."""
    square = '<svg viewBox="0 0 10 10" aria-hidden="true"><rect class="{}" width="10" height="10"/></svg>'
    items = "".join(f"<li>{square.format(kind)}{name}</li>" for kind, name in KINDS.items())
    return f'<ul class="legend">{items}</ul>'


def faces_over_time(counts: Sequence[int], times: Sequence[float]) -> str:
    """Faces per frame as a stepped area; of a long video the least of each of ``COLUMNS`` parts.

    Args:
        counts: faces of each frame.
        times: when each frame is shown, seconds.
    """
    if not counts:
        return ""
    columns = _columns(counts)
    top = max(1, *counts)
    width = 1000.0
    step = width / len(columns)
    path = [f"M0 {HEIGHT:g}"]
    for i, value in enumerate(columns):
        y = HEIGHT * (1 - value / top)
        path.append(f"L{i * step:.2f} {y:.2f}L{(i + 1) * step:.2f} {y:.2f}")
    path.append(f"L{width:g} {HEIGHT:g}Z")
    lines = "".join(
        f'<line x1="0" x2="{width:g}" y1="{HEIGHT * k / top:.2f}" y2="{HEIGHT * k / top:.2f}"/>' for k in _grid(top)
    )
    missed = sum(n == 0 for n in counts)
    text = f"Faces per frame over time: at most {top}, {missed:,} of {len(counts):,} frames without a face."
    first, last = times[0], times[len(counts) - 1]
    ticks = "".join(f"<span>{first + (last - first) * k / 4:.1f} s</span>" for k in range(5))
    return f"""<div class="chart" role="img" aria-label="{html.escape(text)}">
<div class="scale" aria-hidden="true"><span>{top}</span><span>0</span></div>
<svg viewBox="0 0 {width:g} {HEIGHT:g}" preserveAspectRatio="none" aria-hidden="true">
{lines}<path d="{"".join(path)}"/>
</svg>
<div class="ticks" aria-hidden="true">{ticks}</div>
</div>
"""


def _columns(counts: Sequence[int]) -> list[int]:
    """At most ``COLUMNS`` values; the least of each part, so that no frame without a face disappears."""
    if len(counts) <= COLUMNS:
        return list(counts)
    edges = [i * len(counts) // COLUMNS for i in range(COLUMNS + 1)]
    return [min(counts[a:b]) for a, b in pairwise(edges)]


def _grid(top: int) -> range:
    """Heights of grid lines: every whole number while there are few."""
    return range(0, top + 1, max(1, top // 4))
