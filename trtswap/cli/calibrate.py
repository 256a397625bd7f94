"""``trtswap calibrate``: a clip tells which range the tensors of a pack have."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trtswap.cli import options as opt
from trtswap.cli.arguments import as_usage_error
from trtswap.cli.console import count, print_json, say, stderr, stdout
from trtswap.cli.export import need_export_tools
from trtswap.errors import InputError
from trtswap.files import Target
from trtswap.limits import Limits
from trtswap.packs import find_pack

Step = Callable[[str, int, int], None]
"""What is being done, how much of it is done, of how much."""


def calibrate(
    pack: Annotated[str, typer.Argument(metavar="PACK", help="Folder of a pack, or name of an installed one.")],
    *,
    video: Annotated[Path, typer.Option(help="A clip of people's faces.", exists=True, dir_okay=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The table. [default: calibration.json in the pack's folder]", show_default=False
        ),
    ] = None,
    frames: Annotated[int, typer.Option(help="Frames to measure on, as different as the clip has them.")] = 8,
    threads: opt.Threads = None,
    limit: opt.LimitSettings = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a table that is there.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and errors.")] = False,
) -> None:
    """Measure the ranges that decide what of a pack may run in FP16 or INT8."""
    need_export_tools()
    from trtswap import calibration  # noqa: PLC0415 - the export extra
    from trtswap.model.pack import Pack  # noqa: PLC0415 - heavy, imported on use

    loaded = Pack.load(find_pack(pack))
    target = output or loaded.path / calibration.FILE
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists. Choose another file with -o, or replace it with --overwrite.")
    with Target(target, overwrite=overwrite, source=video) as place:
        with as_usage_error(), progress(stderr(), quiet=quiet) as step:
            table = calibration.calibrate(
                loaded, video, frames=frames, threads=threads, limits=Limits.parse(limit or ()), report=step
            )
        table.save(place)
    tensors = sum(map(len, table.stages.values()))
    if as_json:
        largest = {stage: max(r.bound for r in ranges.values()) for stage, ranges in table.stages.items()}
        head = {"table": str(target), "pack": table.pack, "clip": table.clip, "times": list(table.times)}
        print_json(head | {"faces": table.faces, "tensors": tensors, "largest": largest})
    elif not quiet:
        seen = f"{count(table.faces, 'face')} in {count(len(table.times), 'frame')}"
        say(stdout(), f"{target}\n{tensors} tensors, {seen}.")


@contextmanager
def progress(console: Console, *, quiet: bool) -> Iterator[Step]:
    """Show steps: a bar on a terminal, a line for each new thing elsewhere, nothing where quiet."""
    if quiet:
        yield lambda what, done, total: None
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("loading", total=None)
            yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
    else:
        said = set[str]()

        def line(what: str, done: int, total: int) -> None:
            if what not in said:
                said.add(what)
                say(console, f"measuring {what}")

        yield line
