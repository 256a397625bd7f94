"""``trtswap bench``: how fast a pack swaps on this machine, and where the time goes."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trtswap.cli import options as opt
from trtswap.cli.arguments import as_usage_error
from trtswap.cli.console import print_json, say, stderr, stdout
from trtswap.cli.quality import Judging, check
from trtswap.files import Target, write_whole
from trtswap.limits import Limits
from trtswap.packs import DEFAULT_PACK

QUALITY = "With --quality"

if TYPE_CHECKING:
    from trtswap.cli.interrupt import StopSwitch
    from trtswap.cli.runtime import Running
    from trtswap.options import SwapOptions
    from trtswap.report.benchmark import Run
    from trtswap.swapper import Swapper


def bench(
    input_: Annotated[
        Path | None,
        typer.Argument(metavar="[INPUT]", help="A video to swap from file to file; none: frames that are made up."),
    ] = None,
    *,
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of the frames that are made up.")] = "1920x1080",
    faces: Annotated[list[int] | None, typer.Option(help="Faces of each made-up frame; repeatable.")] = None,
    frames: Annotated[int, typer.Option(min=1, help="How many made-up frames.")] = 64,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Frames at once; repeatable.")] = None,
    face_batch: opt.FaceBatch = None,
    workers: opt.Workers = None,
    detect_every: opt.DetectEvery = 1,
    landmarks: opt.Landmarks = "dense",
    restore: opt.Restore = True,
    pipelined: Annotated[
        bool, typer.Option(" /--in-turn", help="Work in turn, not at the same time.", show_default=False)
    ] = True,
    reader: opt.ReaderName = "pyav",
    codec: opt.CodecName = "auto",
    preset: opt.Preset = "ultrafast",
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each, after one to warm up.")] = 3,
    write: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write the result.")] = None,
    trace: opt.TraceFile = None,
    quality: Annotated[
        bool,
        typer.Option(
            "--quality", help="Judge instead how good INPUT becomes with the face of -s.", rich_help_panel=QUALITY
        ),
    ] = False,
    source: opt.Sources = None,
    likeness: opt.Likeness = None,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jpg", help="Source, original and result side by side.", rich_help_panel=QUALITY),
    ] = None,
    overwrite: opt.Overwrite = False,
    as_json: opt.AsJson = False,
    quiet: opt.Quiet = False,
    pack: opt.PackName = DEFAULT_PACK,
    backend: opt.Backend = "auto",
    device: opt.Device = "auto",
    threads: opt.Threads = None,
    host_code: opt.HostCode = False,
    limit: opt.LimitSettings = None,
) -> None:
    """Measure frames per second, latency, time per stage, use of the cores, and memory.

    With INPUT from file to file, else without codecs on made-up frames with --faces faces each. Every combination of
    --batch and --faces is run in turn, A B A B, so that a drifting machine hits them alike.

    With --quality: whom the swapped clip shows, whether pose, mouth, eyes and gaze are the original's, how it flickers.
    """
    from trtswap.cli.interrupt import interruptible  # noqa: PLC0415 - heavy, imported on use
    from trtswap.cli.runtime import Running  # noqa: PLC0415 - heavy, imported on use
    from trtswap.options import RuntimeOptions, SwapOptions  # noqa: PLC0415 - heavy, imported on use
    from trtswap.report.measuring import result, table  # noqa: PLC0415 - heavy, imported on use

    settled = RuntimeOptions(
        restore=restore,
        dense=landmarks == "dense",
        face_batch=face_batch,
        threads=threads,
        host_code=host_code,
        limits=Limits.parse(limit or ()),
    )
    running = Running(pack, backend, device, settled, workers if pipelined else 1)
    with as_usage_error():
        options = SwapOptions(detect_every=detect_every, likeness=likeness)
    video = check(input_, source or ()) if quality else input_
    cases = Cases(
        running, options,
        video=video, size=_size(size), faces=tuple(faces or [1]), frames=frames, batches=tuple(batch or [None]),
        writing={"codec": codec, "preset": preset, "reader": reader}, pipelined=pipelined, repeats=repeats,
        quiet=quiet,
    )  # fmt: skip
    with ExitStack() as unfinished:
        places = {
            path: unfinished.enter_context(Target(path, overwrite=overwrite, source=input_))
            for path in (write, trace, sheet)
            if path is not None
        }
        settings: dict[str, Any] = {"input": None if video is None else video.name, "pack": pack, "restore": restore}
        settings |= {"detect_every": detect_every, "reader": reader, "codec": codec, "preset": preset}
        if quality and video is not None:
            judging = Judging(
                running=running, options=options, video=video, sources=source or (), writing=cases.writing,
                sheet=None if sheet is None else places[sheet], quiet=quiet,
            )  # fmt: skip
            data = result("quality", interruptible(judging.run), likeness=likeness, **settings)
        else:
            runs = interruptible(cases.run)
            data = result("bench", cases_of(runs), size=size, frames=frames, pipelined=pipelined, **settings)
        if trace is not None and not quality:
            from trtswap.report.timeline import chrome_trace  # noqa: PLC0415 - only here

            last = next(reversed(runs.values()))[-1]
            write_whole(places[trace], chrome_trace(last.spans))
        if write is not None:
            import json  # noqa: PLC0415 - small and only here

            write_whole(places[write], json.dumps(data, indent=1, allow_nan=False) + "\n")
    if as_json:
        print_json(data)
    elif not quiet:
        say(stdout(), table(data))


@dataclass(frozen=True, kw_only=True)
class Cases:
    """What is measured: each size of a batch with each number of faces, or a video.

    Attributes:
        running: what runs the networks.
        options: of every swap.
        video: swapped from file to file; None: frames that are made up.
        size, faces, frames: of made-up frames: (width, height), how many faces in each, and how many frames.
        batches: frames at once.
        writing: options of ``swap_video``.
        repeats: runs of each, after one to warm up.
    """

    running: "Running" = field(kw_only=False)
    options: "SwapOptions" = field(kw_only=False)
    video: Path | None
    size: tuple[int, int]
    faces: Sequence[int]
    frames: int
    batches: Sequence[int | None]
    writing: Mapping[str, Any]
    pipelined: bool
    repeats: int
    quiet: bool

    def run(self, stop: "StopSwitch") -> dict[str, list["Run"]]:
        """Run all in turn, A B A B, so that a drifting machine hits them alike; by name."""
        from trtswap.cli.runtime import in_one_line  # noqa: PLC0415 - heavy, imported on use

        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            works: dict[str, Callable[[], Run]] = {}
            for number in self.batches:
                swapper = stack.enter_context(self.running.in_batches(number).open(self.options))
                works |= dict(self._works(swapper, folder, f"batch {number or 'auto'}"))
            if not self.quiet:
                say(stderr(), in_one_line(swapper), style="dim")
            runs: dict[str, list[Run]] = {name: [] for name in works}
            for repeat in range(self.repeats + 1):
                for name, once in works.items():
                    stop.check()
                    done = once()
                    if repeat:
                        runs[name].append(done)
            return runs

    def _works(self, swapper: "Swapper", folder: Path, name: str) -> "Iterator[tuple[str, Callable[[], Run]]]":
        from trtswap.report.benchmark import run_compute, run_video, somebody  # noqa: PLC0415 - heavy, imported on use

        if self.video is not None:
            target, who = folder / f"out{self.video.suffix}", somebody(swapper)
            yield name, partial(run_video, swapper, self.video, target, who, pipelined=self.pipelined, **self.writing)
            return
        for count in self.faces:
            once = partial(
                run_compute, swapper, size=self.size, faces=count, frames=self.frames, pipelined=self.pipelined
            )
            yield f"{name}, {count} face{'s' if count > 1 else ''}", once


def cases_of(runs: "dict[str, list[Run]]") -> list[dict[str, Any]]:
    """Rows of a result: frames per second, latency, cores in use, and the time of each stage."""
    from trtswap.report.measuring import case, peak_memory_mib  # noqa: PLC0415 - heavy, imported on use

    rows: list[dict[str, Any]] = []
    for name, done in runs.items():
        rows.append(case(name, "fps", [run.frames_per_second for run in done]))
        rows.append(case(f"{name}: latency", "ms", [1e3 * run.latency_seconds for run in done]))
        rows.append(case(f"{name}: cores in use", "", [run.cpu_seconds / run.seconds for run in done]))
        rows += [
            case(f"{name}: {stage}", "ms/fr", [1e3 * run.stage_seconds.get(stage, 0.0) / run.frames for run in done])
            for stage in done[0].stage_seconds
        ]
    return [*rows, case("peak memory", "MiB", [peak_memory_mib()])]


def _size(text: str) -> tuple[int, int]:
    width, separator, height = text.partition("x")
    if not (separator and width.isdecimal() and height.isdecimal() and min(int(width), int(height)) > 0):
        raise typer.BadParameter(f"{text!r}: expected WxH, such as 1920x1080.", param_hint="--size")
    return int(width), int(height)
