"""``trtswap weights``: list, fetch and check the official checkpoints that packs are exported from."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from trtswap.cli.console import print_json, say, stderr, stdout
from trtswap.errors import CheckpointError

if TYPE_CHECKING:
    from trtswap.export.checkpoints import Checkpoint
    from trtswap.export.download import Progress as OnProgress

app = typer.Typer(help="Official checkpoints: list, fetch, verify.", no_args_is_help=True)

Into = Annotated[
    Path | None,
    typer.Option("--into", help="Folder of the checkpoints. [default: $TRTSWAP_WEIGHTS or the user's data folder]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")]


@app.command("list")
def list_(*, into: Into = None, as_json: AsJson = False) -> None:
    """List the checkpoints that trtswap knows, with their licences, and say which are here."""
    from trtswap.export import checkpoints  # noqa: PLC0415 - takes long

    folder = into or checkpoints.default_folder()
    entries = checkpoints.manifest().values()
    rows = [
        {
            "name": entry.name,
            "file": entry.file,
            "size": entry.size,
            "sha256": entry.sha256,
            "licence": entry.licence,
            "urls": list(entry.urls),
            "present": (folder / entry.file).is_file(),
        }
        for entry in entries
    ]
    if as_json:
        print_json(rows)
        return
    table = Table("name", "file", "MB", "here", "licence", caption=f"in {folder}; `verify` checks the hashes")
    for entry, row in zip(entries, rows, strict=True):
        size = "?" if entry.size is None else f"{entry.size / 1e6:.1f}"
        table.add_row(entry.name, entry.file, size, "yes" if row["present"] else "", entry.licence)
    stdout().print(table)


@app.command()
def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names as `trtswap weights list` shows them.")],
    *,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            exists=True,
            file_okay=False,
            help="Take the files, or their archives, from this folder; nothing is downloaded.",
        ),
    ] = None,
    into: Into = None,
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Accept the licences of these checkpoints.")
    ] = False,
    mirror: Annotated[
        str | None,
        typer.Option(envvar="TRTSWAP_WEIGHTS_MIRROR", help="Address of a folder with the files, tried first."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch checkpoints; an interrupted download goes on where it stopped."""
    from trtswap.export import checkpoints  # noqa: PLC0415 - takes long
    from trtswap.export.pull import pull as fetch  # noqa: PLC0415 - takes long

    folder = into or checkpoints.default_folder()
    entries = [checkpoints.resolve(name) for name in names]
    results = []
    for entry in entries:
        path = checkpoints.search(entry, folder)
        if path is None:
            accepted = licence_accepted(entry, accept_license)
            with shown_progress(entry) as show:
                path = fetch(entry, folder, source=source, mirror=mirror, accept_licence=accepted, progress=show)
        results.append({"name": entry.name, "path": str(path), "sha256": entry.sha256, "licence": entry.licence})
        if not as_json:
            say(stdout(), f"{entry.name}: {path}")
    if as_json:
        print_json(results)


@app.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all that are in the folder.")
    ] = None,
    *,
    into: Into = None,
    as_json: AsJson = False,
) -> None:
    """Check size and hash of checkpoints in the folder."""
    from trtswap.export import checkpoints  # noqa: PLC0415 - takes long

    folder = into or checkpoints.default_folder()
    entries: Sequence[Checkpoint] = [checkpoints.resolve(name) for name in names or []]
    if not names:
        entries = [entry for entry in checkpoints.manifest().values() if (folder / entry.file).is_file()]
    results, problems = [], []
    for entry in entries:
        try:
            path = checkpoints.verify(entry, folder)
            results.append({"name": entry.name, "ok": True, "path": str(path), "problem": None})
        except CheckpointError as error:
            problems.append(str(error))
            results.append({"name": entry.name, "ok": False, "path": None, "problem": str(error)})
        if not as_json:
            say(stdout(), f"{entry.name}: {'ok' if results[-1]['ok'] else 'NOT OK'}")
    if as_json:
        print_json(results)
    elif not entries:
        say(stdout(), f"no checkpoints in {folder}")
    if problems:
        raise CheckpointError("\n".join(problems))


def licence_accepted(entry: "Checkpoint", accepted: bool) -> bool:
    """Show the licence; without the flag, ask on a terminal."""
    say(stderr(), f"{entry.name}: {entry.licence}")
    if accepted or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return accepted
    return typer.confirm("Do you accept this licence?", err=True)


@contextmanager
def shown_progress(entry: "Checkpoint") -> Iterator["OnProgress"]:
    """A progress bar on a terminal, a line per tenth elsewhere; both on stderr."""
    console = stderr()
    if not console.is_terminal:
        yield plain_progress(entry.name, console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(entry.name, total=entry.size)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def plain_progress(name: str, console: Console) -> "OnProgress":
    """Prints a line whenever another tenth of the file is there."""
    printed = 0

    def show(done: int, total: int | None) -> None:
        nonlocal printed
        tenths = 10 * done // total if total else 0
        if tenths > printed:
            printed = tenths
            say(console, f"{name}: {done / 1e6:.1f} of {(total or 0) / 1e6:.1f} MB")

    return show
