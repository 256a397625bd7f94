"""The report as one HTML file that needs nothing beside itself: no script, no font, no picture from elsewhere."""

import html
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import torch

import trtswap
from trtswap.backends.sizing import cores
from trtswap.files import Target, write_whole
from trtswap.report.charts import faces_over_time, legend
from trtswap.report.facts import StageRow, file_facts, option_rows, stage_rows
from trtswap.report.recorder import Recorder, Sample
from trtswap.report.timeline import timeline
from trtswap.swapper import Swapper, SwapResult
from trtswap.video.info import VideoInfo
from trtswap.video.reader import VideoReader

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    Attributes:
        source, target: the two videos; ``target_info`` is read back from the file that was written.
        command: what the user typed.
        heading: the pack and what it ran on, in one line.
        licence, description: the pack's.
        machine: processor and cores, in one line.
        seconds: wall time of the swap.
        stages: a row per stage.
        options: (name, value) of the swap's options.
        samples: frames before and after.
        times: when each frame is shown, seconds.
        judged: rows of a result, how good the swap is; empty where nobody has judged.
    """

    source: Path
    target: Path
    source_info: VideoInfo
    target_info: VideoInfo
    command: str
    heading: str
    licence: str
    description: str
    machine: str
    seconds: float
    result: SwapResult
    stages: Sequence[StageRow]
    options: Rows
    samples: Sequence[Sample]
    times: Sequence[float]
    judged: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(
        cls,
        swapper: Swapper,
        recorder: Recorder,
        result: SwapResult,
        *,
        source: Path,
        target: Path,
        command: str,
        seconds: float,
        judged: Sequence[Mapping[str, Any]] = (),
    ) -> Self:
        """Gather the facts of a finished swap; the target is opened to see what it has become."""
        with VideoReader(target, batch_size=1) as reader:
            target_info = reader.info
        pack, choice = swapper.pack, swapper.choice
        return cls(
            source=source,
            target=target,
            source_info=recorder.info,
            target_info=target_info,
            command=command,
            heading=f"Pack {pack.name} {pack.version}, {choice.reason}",
            licence=pack.licence,
            description=pack.description,
            machine=f"{platform.machine()}, cores of the CPU: {cores()}, PyTorch {torch.__version__}",
            seconds=seconds,
            result=result,
            stages=stage_rows(swapper, result, recorder, seconds=seconds, codec=target_info.codec),
            options=option_rows(swapper),
            samples=recorder.samples(),
            times=recorder.seconds,
            judged=judged,
        )


def write_report(report: Report, place: Path | Target, *, overwrite: bool = False) -> None:
    """Write the page to a file, or to what was claimed for it before; it gets its name when it is whole.

    Raises:
        BusyError: somebody else writes this file.
        WriteError: the path is taken (without ``overwrite``) or cannot be written.
    """
    write_whole(place, render(report), source=report.source, overwrite=overwrite)


def render(report: Report) -> str:
    """The page: a complete HTML document."""
    style = files("trtswap.report").joinpath("style.css").read_text("utf-8")
    sections = (
        _head(report),
        _notes(report),
        _section("Before and after", _pictures(report.samples)),
        _section("How good it is", _judged(report.judged)) if report.judged else "",
        _section("Faces over time", _faces(report)),
        _section("Time per stage", _stages(report)),
        _section("Who worked when", timeline(report.result.spans)) if report.result.spans else "",
        _section("The files", _files(report)),
        _section("How it was made", _how(report)),
    )
    title = html.escape(report.target.name)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}: trtswap report</title>
<style>
{style}</style>
</head>
<body>
<main>
{"".join(sections)}</main>
<footer>trtswap {trtswap.__version__}</footer>
</body>
</html>
"""


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{body}\n</section>\n"


def _head(report: Report) -> str:
    result = report.result
    faces, covered = sum(result.faces_per_frame), sum(n > 0 for n in result.faces_per_frame)
    figures = (
        (f"{result.frames:,}", "frames"),
        (f"{faces:,}", "faces swapped"),
        (f"{covered / max(result.frames, 1):.0%}", "of frames have a face"),
        (f"{result.frames / report.seconds:.1f}", "frames per second"),
        (f"{report.seconds:,.1f} s", "in all"),
    )
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for value, name in figures)
    return f"""<header>
<p class="kicker">trtswap report</p>
<h1>{html.escape(report.target.name)}</h1>
<p class="lead">{html.escape(report.heading)}</p>
<dl class="figures">{cells}</dl>
</header>
"""


def _notes(report: Report) -> str:
    notes = list(report.result.warnings)
    if report.result.loss is not None:
        notes.insert(0, f"Cut off: {report.result.loss}.")
    if not notes:
        return ""
    items = "".join(f"<li>{html.escape(note[:1].upper() + note[1:])}</li>" for note in notes)
    return f'<section class="notes" aria-label="Warnings"><h2>Warnings</h2><ul>{items}</ul></section>\n'


def _pictures(samples: Sequence[Sample]) -> str:
    if not samples:
        return "<p>No frame was swapped.</p>"
    return '<div class="samples">' + "".join(map(_sample, samples)) + "</div>"


def _sample(sample: Sample) -> str:
    faces = "no face" if not sample.faces else f"{sample.faces} face{'s' if sample.faces > 1 else ''}"
    pairs = [("frame", sample.before, sample.after)]
    if sample.face_before is not None and sample.face_after is not None:
        pairs.insert(0, ("face", sample.face_before, sample.face_after))
    rows = "".join(
        f'<div class="pair {kind}">' + "".join(
            f'<div><img src="{picture.uri}" width="{picture.width}" height="{picture.height}" loading="lazy" '
            f'alt="{kind.capitalize()} at {sample.seconds:.2f} s, {when}"><span>{when}</span></div>'
            for picture, when in ((before, "before"), (after, "after"))
        ) + "</div>"
        for kind, before, after in pairs
    )  # fmt: skip
    return f"<figure>{rows}<figcaption>Frame {sample.frame:,} at {sample.seconds:.2f} s, {faces}</figcaption></figure>"


def _judged(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        (row["name"].capitalize(), f"{row['median']:.2f}", *(f"{value:.2f}" for value in row["quartiles"]), row["unit"])
        for row in rows
    ]
    return f"""{_table(("", "Median", "from", "to", "in"), cells, "narrow numbers")}
<p class="aside">Medians and quartiles over the frames that show a face before and after. Distances are those of \
dlib's network, which no pack was trained with: the same person in two pictures is about 0.4 apart, different people \
0.6 and more.</p>"""


def _faces(report: Report) -> str:
    counts = report.result.faces_per_frame
    rows = [(str(n), f"{counts.count(n):,}", f"{counts.count(n) / len(counts):.1%}") for n in sorted(set(counts))]
    return faces_over_time(counts, report.times) + _table(("Faces", "Frames", "Share"), rows, "narrow numbers")


def _stages(report: Report) -> str:
    slowest = max((row.seconds for row in report.stages), default=0) or 1
    frames = max(report.result.frames, 1)
    rows = "".join(
        f'<tr><th scope="row">{row.name}</th><td class="bar"><svg viewBox="0 0 100 10" preserveAspectRatio="none" '
        f'aria-hidden="true"><rect class="{row.kind}" width="{100 * row.seconds / slowest:.2f}" height="10" '
        f"/></svg></td><td>{1000 * row.seconds / frames:.2f}</td><td>{row.seconds / report.seconds:.1%}</td>"
        f'<td class="text">{html.escape(row.runs_on)}</td></tr>'
        for row in report.stages
    )
    return f"""{legend()}
<div class="scroll"><table class="stages numbers">
<thead><tr><th scope="col">Stage</th><th scope="col"><span class="hidden">Bar</span></th><th scope="col">ms/frame</th>\
<th scope="col">Share</th><th scope="col" class="text">Runs on</th></tr></thead>
<tbody>{rows}</tbody>
</table></div>
<p class="aside">{html.escape(report.machine)}. Wall time, all workers' together; the shares are of the whole \
time. Stages work at the same time, so their sum may exceed it, and so may one stage of several workers; codecs have \
threads of their own, so their rows are what the swap waited for them.</p>"""


def _files(report: Report) -> str:
    source = file_facts(report.source, report.source_info)
    target = file_facts(report.target, report.target_info)
    rows = [(name, source[name], target[name]) for name in source]
    return _table(("", "Input", "Output"), rows, "facts")


def _how(report: Report) -> str:
    pack = [("Pack", report.description), ("Licence", report.licence)]
    return f"<pre><code>{html.escape(report.command)}</code></pre>" + _table((), [*pack, *report.options], "facts")


def _table(head: Sequence[str], rows: Rows, kind: str) -> str:
    top = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{html.escape(first)}</th>' + "".join(f"<td>{html.escape(v)}</td>" for v in rest) + "</tr>"
        for first, *rest in rows
    )
    thead = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f'<div class="scroll"><table class="{kind}">{thead}<tbody>{body}</tbody></table></div>'
