"""``trtswap pack``: check packs, convert them to other precisions, and make packs out of other people's models."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from trtswap.cli import options as opt
from trtswap.cli.arguments import as_usage_error
from trtswap.cli.calibrate import progress
from trtswap.cli.console import cells, print_json, say, stderr, stdout
from trtswap.cli.export import need_export_tools
from trtswap.errors import InputError
from trtswap.files.tables import TableError, read_toml
from trtswap.packs import find_pack, user_folder

app = typer.Typer(help="Model packs: check them, convert them, wrap other models into them.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")]


@app.command()
def check(
    pack: Annotated[str, typer.Argument(metavar="PACK", help="Folder of a pack, or name of an installed one.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Check files, hashes and graphs of a pack, and run each graph at two batch sizes on the CPU."""
    from trtswap.cli.pack_check import check_stage, references  # noqa: PLC0415 - heavy, imported on use
    from trtswap.model.pack import Pack  # noqa: PLC0415 - heavy, imported on use

    loaded = Pack.load(find_pack(pack))
    rows = [check_stage(stage) for stage in loaded.stages.values()]
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


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(number) for number in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: expected numbers with commas between them.") from error


def _threshold(text: str | None) -> float | str | None:
    if text is None or text == "none":
        return text
    try:
        return float(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: expected a number or none.") from error


@app.command()
def wrap(
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="ONNX file.", exists=True, dir_okay=False)
    ] = None,
    *,
    base: Annotated[str, typer.Option(help="Pack that the other stages come from: folder or name.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new pack.")],
    options: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with a table [STAGE] for each model; its keys are these options.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    stage: Annotated[str | None, typer.Option(help="identify, swap, parse or restore.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the crop that the model takes, pixels.")] = None,
    template: Annotated[list[str] | None, typer.Option(help="How its crop is aligned; may be repeated.")] = None,
    faces: Annotated[str | None, typer.Option("--input", help="Name of its picture input.")] = None,
    latents: Annotated[str | None, typer.Option("--latent", help="Name of its identity input.")] = None,
    result: Annotated[str | None, typer.Option("--result", help="Name of the output to take.")] = None,
    mean: Annotated[str | None, typer.Option(help="Of its input, R,G,B. [default: 0,0,0]")] = None,
    std: Annotated[str | None, typer.Option(help="Of its input, R,G,B. [default: 1,1,1]")] = None,
    range_: Annotated[
        str | None, typer.Option("--range", help="Of its input before mean and std. [default: 0,1]")
    ] = None,
    colour: Annotated[str | None, typer.Option(help="Of its input: rgb or bgr. [default: rgb]")] = None,
    out_mean: Annotated[str | None, typer.Option(help="Of its output. [default: 0,0,0]")] = None,
    out_std: Annotated[str | None, typer.Option(help="Of its output. [default: 1,1,1]")] = None,
    out_range: Annotated[str | None, typer.Option(help="Of its output. [default: 0,1]")] = None,
    out_colour: Annotated[str | None, typer.Option(help="Of its output: rgb or bgr. [default: rgb]")] = None,
    classes: Annotated[
        str | None, typer.Option(help="For parse: CelebAMask-HQ's label of each class of the model, with commas.")
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            help="For identify, required: lowest cosine that counts as the same person (0.41 for InsightFace's "
            "w600k_r50), or none for a model that cannot tell people apart."
        ),
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Of the model; goes into the pack.")] = None,
    url: Annotated[str | None, typer.Option(help="Where the model is from; goes into the pack.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a pack that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a pack in which other ONNX models, with their own normalisation, do some of the stages."""
    need_export_tools()
    from trtswap.export.wrap import Wrapping, wrap_pack  # noqa: PLC0415 - the export extra

    given = {
        **{"model": str(model.resolve()) if model else None, "size": size, "template": template, "faces": faces},
        **{
            "latents": latents,
            "output": result,
            "mean": _numbers(mean),
            "std": _numbers(std),
            "range": _numbers(range_),
        },
        **{"colour": colour, "out_mean": _numbers(out_mean), "out_std": _numbers(out_std)},
        **{"out_range": _numbers(out_range), "out_colour": out_colour, "licence": licence, "url": url},
        "classes": [int(number) for number in _numbers(classes) or []] or None,
        "threshold": _threshold(threshold),
    }
    flags = {key: value for key, value in given.items() if value is not None}
    with as_usage_error():
        wrappings = [Wrapping.parse(name, *table) for name, table in _tables(options, stage, flags).items()]
    made = wrap_pack(find_pack(base), wrappings, output, overwrite=overwrite)
    if as_json:
        print_json({"pack": str(made.path), "name": made.name, "licence": made.licence})
    else:
        say(stdout(), f"{made.path}\n{made.description}\nLicence: {made.licence}")


def _tables(options: Path | None, stage: str | None, flags: dict[str, Any]) -> dict[str, tuple[dict[str, Any], Path]]:
    """Per stage the options and the folder that its model's path is relative to."""
    tables: dict[str, tuple[dict[str, Any], Path]] = {}
    if options is not None:
        try:
            data = read_toml(options)
        except TableError as error:
            raise InputError(f"{options} cannot be read as TOML: {error}.") from error
        for name, table in data.items():
            if not isinstance(table, dict):
                raise InputError(f"{options}: {name} is {table!r}, expected a table [{name}].")
            tables[name] = table, options.parent
    if flags and stage is None:
        raise InputError("--stage is missing: which stage does the model do?")
    if stage is not None:
        tables[stage] = (flags, Path())
    if not tables:
        raise InputError("nothing to wrap: give MODEL and --stage, or --options.")
    return tables
