"""``trtswap pack``: check packs, convert them to other precisions, and make packs out of other people's models."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from trtswap.cli import options as opt
from trtswap.cli.calibrate import progress
from trtswap.cli.console import cells, print_json, say, stderr, stdout
from trtswap.cli.export import need_export_tools
from trtswap.cli.pack_wrap import models, wrap
from trtswap.files import Target
from trtswap.packs import find_pack, user_folder

app = typer.Typer(help="Model packs: check them, convert them, wrap other models into them.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")]


@app.command()
def check(
    pack: Annotated[str, typer.Argument(metavar="PACK", help="Folder of a pack, or name of an installed one.")],
    *,
    picture: Annotated[
        Path | None,
        typer.Option(help="A face: also make a contact sheet of what each graph makes of it.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The contact sheet. [default: PACK-check.png in this folder]", show_default=False
        ),
    ] = None,
    overwrite: opt.Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Check files, hashes and graphs of a pack, and run each graph at two batch sizes on the CPU."""
    from trtswap.cli.pack_check import check_stage, references  # noqa: PLC0415 - heavy, imported on use
    from trtswap.model.pack import Pack  # noqa: PLC0415 - heavy, imported on use

    if output is not None and picture is None:
        raise typer.BadParameter("only with --picture.", param_hint="--output")
    loaded = Pack.load(find_pack(pack))
    rows = [check_stage(stage) for stage in loaded.graphs.values()]
    sheet = output or Path(f"{loaded.path.name}-check.png")
    if picture is not None:
        from trtswap.cli.pack_sheet import contact_sheet  # noqa: PLC0415 - heavy, imported on use

        with Target(sheet, overwrite=overwrite, source=picture) as place:
            contact_sheet(loaded, picture).save(place.temporary, "PNG")
            place.commit()
    if as_json:
        head = {"pack": str(loaded.path), "name": loaded.name, "version": loaded.version, "licence": loaded.licence}
        print_json(head | {"similarity": loaded.stages["identify"].threshold or None, "stages": rows})
        return
    table = Table(
        "stage", "inputs", "outputs", "size", "precision", "template", title=cells(f"{loaded.name} {loaded.version}")[0]
    )
    for row in rows:
        table.add_row(*cells(*("\n".join(v) if isinstance(v, list) else v for k, v in row.items() if k != "batches")))
    stdout().print(table)
    say(stdout(), f"{loaded.description}\nLicence: {loaded.licence}\nReferences: {references(loaded)}.")
    say(stdout(), "Every graph keeps the contract.")
    if picture is not None:
        say(stdout(), f"Look at {sheet}: wrong colours, a wrong crop or noise show that a model is wrapped wrongly.")


@app.command()
def convert(
    pack: Annotated[
        str, typer.Argument(metavar="PACK", help="Folder of a pack with FP32 graphs, or name of an installed one.")
    ],
    *,
    precision: Annotated[Literal["fp16", "int8"], typer.Option(help="What the graphs become.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder of the new pack. [default: PACK-PRECISION in the user's packs]",
            show_default=False,
        ),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(help="Clip to compare on, and to calibrate on if there is no table.", exists=True, dir_okay=False),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="Calibration table. [default: the one in the pack]", exists=True, dir_okay=False, show_default=False
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames of the clip to compare on.")] = 2,
    threads: opt.Threads = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a pack that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make an FP16 or INT8 pack; each graph, and with --video the finished frame, must come near enough to FP32's."""
    need_export_tools()
    from trtswap import calibration  # noqa: PLC0415 - the export extra
    from trtswap.model.pack import Pack  # noqa: PLC0415 - heavy, imported on use

    loaded, console = Pack.load(find_pack(pack)), stderr()
    carried = (loaded.path / calibration.FILE).is_file()
    if table is not None:
        ranges = calibration.CalibrationTable.load(table)
    elif carried or video is None:
        ranges = calibration.CalibrationTable.of(loaded)
    else:
        with progress(console, quiet=False) as step:
            ranges = calibration.calibrate(loaded, video, threads=threads, report=step)
    make = calibration.to_half if precision == "fp16" else calibration.to_int8
    made = make(
        loaded, ranges, output or user_folder() / f"{loaded.name}-{precision}", held_out=video, frames=frames,
        threads=threads, overwrite=overwrite, report=lambda line: say(console, line),
    )  # fmt: skip
    size = sum(s.path.stat().st_size for s in made.stages.values())
    share = size / sum(s.path.stat().st_size for s in loaded.stages.values())
    if as_json:
        figures = {name: dict(stage.figures.get(precision, {})) for name, stage in made.stages.items()}
        print_json({"pack": str(made.path), "name": made.name, "size_share": round(share, 4), "stages": figures})
    else:
        say(stdout(), f"{made.path}\n{made.description}\n{size / 1e6:.1f} MB, {share:.0%} of the pack it is made from.")


app.command()(wrap)
app.command()(models)
