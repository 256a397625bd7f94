"""``trtswap pack wrap`` and ``models``: packs out of other people's ONNX models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from trtswap.cli.arguments import as_usage_error
from trtswap.cli.console import cells, print_json, say, stdout
from trtswap.cli.export import need_export_tools
from trtswap.errors import InputError
from trtswap.files.tables import TableError, read_toml
from trtswap.packs import find_pack, user_folder

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")]
PUBLISHED, DECLARED = "Published models", "Other models: how one wants and gives its tensors"


def _declared(help_: str, *names: str, **settings: Any) -> Any:
    return typer.Option(*names, help=help_, rich_help_panel=DECLARED, **settings)


def wrap(
    model: Annotated[
        Path | None, typer.Argument(metavar="[MODEL]", help="ONNX file.", exists=True, dir_okay=False)
    ] = None,
    *,
    base: Annotated[str, typer.Option(help="Pack that the other stages come from: folder or name.")] = "avatar",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder of the new pack. [default: the last recipe's name in the user's packs]",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A model that `trtswap pack models` lists; repeatable, each with its --model.",
            rich_help_panel=PUBLISHED,
        ),
    ] = None,
    model_: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            metavar="FILE",
            help="Its ONNX file; repeatable.",
            exists=True,
            dir_okay=False,
            rich_help_panel=PUBLISHED,
        ),
    ] = None,
    allow_unknown_hash: Annotated[
        bool,
        typer.Option(
            "--allow-unknown-hash", help="Take another file than the published one.", rich_help_panel=PUBLISHED
        ),
    ] = False,
    options: Annotated[
        Path | None,
        _declared(
            "TOML file with a table [STAGE] for each model; its keys are these options.", exists=True, dir_okay=False
        ),
    ] = None,
    stage: Annotated[str | None, _declared("detect, identify, encode, swap, parse, occlude or restore.")] = None,
    size: Annotated[int | None, _declared("Side of the crop that the model takes, pixels.")] = None,
    template: Annotated[list[str] | None, _declared("How its crop is aligned; repeatable.")] = None,
    faces: Annotated[str | None, _declared("Name of its picture input.", "--input")] = None,
    latents: Annotated[str | None, _declared("Name of its identity input.", "--latent")] = None,
    result: Annotated[str | None, _declared("Name of the output to take.")] = None,
    mask: Annotated[str | None, _declared("Name of a swap model's output that says what is to be seen.")] = None,
    ignore: Annotated[
        list[str] | None, _declared("Output or weight that is left out on purpose, or * for all others; repeatable.")
    ] = None,
    constant: Annotated[
        list[str] | None,
        _declared("A further input and the number that it always gets; repeatable.", metavar="NAME=NUMBER"),
    ] = None,
    fidelity: Annotated[str | None, _declared("Name of a restorer's input, 0..1, that --fidelity chooses.")] = None,
    layout: Annotated[str | None, _declared("Of its pictures: nchw or nhwc. [default: nchw]")] = None,
    mean: Annotated[str | None, _declared("Of its input, R,G,B. [default: 0,0,0]")] = None,
    std: Annotated[str | None, _declared("Of its input, R,G,B. [default: 1,1,1]")] = None,
    range_: Annotated[str | None, _declared("Of its input before mean and std. [default: 0,1]", "--range")] = None,
    colour: Annotated[str | None, _declared("Of its input: rgb or bgr. [default: rgb]")] = None,
    out_mean: Annotated[str | None, _declared("Of its output. [default: 0,0,0]")] = None,
    out_std: Annotated[str | None, _declared("Of its output. [default: 1,1,1]")] = None,
    out_range: Annotated[str | None, _declared("Of its output. [default: 0,1]")] = None,
    out_colour: Annotated[str | None, _declared("Of its output: rgb or bgr. [default: rgb]")] = None,
    latent_matrix: Annotated[
        str | None, _declared("Weight that latents are multiplied with; `unused`: the one that no node uses.")
    ] = None,
    source_size: Annotated[
        int | None, _declared("For a swap model that takes the source's picture: side of that crop, pixels.")
    ] = None,
    source_template: Annotated[list[str] | None, _declared("How that crop is aligned.")] = None,
    average: Annotated[
        str | None, _declared("For encode: how several pictures become one: unit, mean or none.")
    ] = None,
    embeddings: Annotated[
        str | None, _declared("For encode behind identify: raw latents or of unit length. [default: raw]")
    ] = None,
    classes: Annotated[
        str | None, _declared("For parse: CelebAMask-HQ's label of each class of the model, with commas.")
    ] = None,
    decoder: Annotated[str | None, _declared("For detect: scrfd, retinaface, yunet or yolo_face.")] = None,
    threshold: Annotated[
        str | None,
        _declared(
            "For detect: lowest score of a face. For identify: lowest cosine that counts as the same person (0.41 for "
            "InsightFace's w600k_r50), or none for a model that cannot tell people apart."
        ),
    ] = None,
    single: Annotated[
        bool, _declared("The model takes one face at a time; it is run once for each.", "--single")
    ] = False,
    licence: Annotated[str | None, _declared("Of the model; goes into the pack.")] = None,
    url: Annotated[str | None, _declared("Where the model is from; goes into the pack.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a pack that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a pack in which other ONNX models, with their own normalisation, do some of the stages."""
    need_export_tools()
    from trtswap.export.wrap import Wrapping, wrap_pack  # noqa: PLC0415 - the export extra

    given = {
        "model": str(model.resolve()) if model and not recipe else None, "size": size, "template": template,
        "faces": faces, "latents": latents, "output": result, "mask": mask, "ignore": ignore,
        "constants": _named_numbers(constant), "fidelity": fidelity, "layout": layout, "mean": _numbers(mean),
        "std": _numbers(std), "range": _numbers(range_), "colour": colour, "out_mean": _numbers(out_mean),
        "out_std": _numbers(out_std), "out_range": _numbers(out_range), "out_colour": out_colour,
        "latent_matrix": latent_matrix, "source_size": source_size, "source_template": source_template,
        "average": average, "embeddings": embeddings,
        "classes": [int(number) for number in _numbers(classes) or []] or None, "decoder": decoder,
        "threshold": _threshold(threshold), "single": single or None, "licence": licence, "url": url,
    }  # fmt: skip
    flags = {key: value for key, value in given.items() if value is not None}
    with as_usage_error():
        wrappings = _published(
            recipe or [], [*([model] if model and recipe else []), *(model_ or [])], allow_unknown_hash
        )
        tables = _tables(options, stage, flags)
        if not wrappings and not tables:
            raise InputError("nothing to wrap: give --recipe and --model, or MODEL and --stage, or --options.")
        wrappings += [Wrapping.parse(name, *table) for name, table in tables.items()]
        if output is None and not recipe:
            raise InputError("-o is missing: the folder of the new pack.")
    made = wrap_pack(find_pack(base), wrappings, output or user_folder() / (recipe or [""])[-1], overwrite=overwrite)
    if as_json:
        print_json({"pack": str(made.path), "name": made.name, "licence": made.licence})
    else:
        say(stdout(), f"{made.path}\n{made.description}\nLicence: {made.licence}")
        say(stdout(), f"Look at what it makes: trtswap pack check {made.path} --picture FACE.png")


def models(*, as_json: AsJson = False) -> None:
    """List the published models that `wrap --recipe` knows, with where they are and under which licence."""
    need_export_tools()
    from trtswap.export.wrap.models import published_models  # noqa: PLC0415 - the export extra

    known = published_models().values()
    if as_json:
        print_json(
            [
                {"name": m.name, "stage": m.stage, "note": m.note, "sha256": m.checkpoint and m.checkpoint.sha256}
                | {key: m.keys.get(key, "") for key in ("needs", "licence", "url")}
                for m in known
            ]
        )
        return
    table = Table(Column("recipe", no_wrap=True), "stage", "needs", "hash", "licence", "note")
    for m in known:
        sure = "known" if m.checkpoint else ""
        table.add_row(*cells(m.name, m.stage, str(m.keys.get("needs", "")), sure, str(m.keys["licence"]), m.note))
    stdout().print(table)


def _published(names: Sequence[str], files: Sequence[Path], allow_unknown_hash: bool) -> list[Any]:
    from trtswap.export.wrap.models import find_model  # noqa: PLC0415 - the export extra

    if len(names) != len(files):
        raise InputError(
            f"{len(names)} recipes and {len(files)} models; expected a --model for each --recipe, in order."
        )
    pairs = zip(names, files, strict=True)
    return [find_model(name).wrapping(file, allow_unknown_hash=allow_unknown_hash) for name, file in pairs]


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(number) for number in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: expected numbers with commas between them.") from error


def _named_numbers(texts: Sequence[str] | None) -> dict[str, float] | None:
    if not texts:
        return None
    try:
        return {name: float(number) for name, _, number in (text.rpartition("=") for text in texts)}
    except ValueError as error:
        raise typer.BadParameter(f"{', '.join(texts)}: expected NAME=NUMBER.") from error


def _threshold(text: str | None) -> float | str | None:
    if text is None or text == "none":
        return text
    try:
        return float(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: expected a number or none.") from error


def _tables(
    options: Path | None, stage: str | None, flags: Mapping[str, Any]
) -> dict[str, tuple[Mapping[str, Any], Path]]:
    """Per stage the options and the folder that its model's path is relative to."""
    tables: dict[str, tuple[Mapping[str, Any], Path]] = {}
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
    return tables
