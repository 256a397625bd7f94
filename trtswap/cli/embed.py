"""``trtswap embed``: a pack as three graphs that take whole frames, for programs without trtswap."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trtswap.cli import options as opt
from trtswap.cli.arguments import as_usage_error
from trtswap.cli.console import print_json, say, stderr, stdout
from trtswap.cli.export import need_export_tools
from trtswap.cli.interrupt import StopSwitch, interruptible
from trtswap.errors import InputError
from trtswap.options import RuntimeOptions, SwapOptions
from trtswap.packs import DEFAULT_PACK, find_pack

if TYPE_CHECKING:
    from trtswap.export.embed import Embedded

FRAMES, FACES = "Frames", "What is done to faces"


def embed(
    pack: opt.PackArgument = DEFAULT_PACK,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write: find.onnx, identify.onnx, swap.onnx, embed.json."),
    ] = None,
    triton: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write a model repository of Triton Inference Server instead, with an ensemble of find and swap.",
        ),
    ] = None,
    format_: Annotated[
        Literal["rgb", "bgr", "nv12", "i420"], typer.Option("--format", help="Of frames.", rich_help_panel=FRAMES)
    ] = "rgb",
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Of frames, as 1920x1080; any if not given.", rich_help_panel=FRAMES),
    ] = None,
    faces: Annotated[int, typer.Option(min=1, max=16, help="Most faces of a frame.", rich_help_panel=FRAMES)] = 1,
    window: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Side of the square around a face in which it is painted; an input of swap.onnx if not given.",
            rich_help_panel=FRAMES,
        ),
    ] = None,
    matrix: Annotated[
        Literal["bt601", "bt709", "bt2020"] | None,
        typer.Option(help="Of nv12 and i420. [default: bt709 from 720 lines up, else bt601]", rich_help_panel=FRAMES),
    ] = None,
    range_: Annotated[
        Literal["limited", "full"], typer.Option("--range", help="Of nv12 and i420.", rich_help_panel=FRAMES)
    ] = "limited",
    precision: Annotated[
        Literal["fp32", "fp16"], typer.Option(help="fp16: wherever the calibration allows it, for GPUs.")
    ] = "fp32",
    landmarks: opt.Landmarks = "dense",
    restore: Annotated[bool, typer.Option("--restore/--no-restore", rich_help_panel=FACES)] = True,
    occlude: Annotated[bool, typer.Option("--occlude/--no-occlude", rich_help_panel=FACES)] = True,
    mouth: Annotated[
        bool, typer.Option("--mouth/--no-mouth", help="Keep the original between the lips.", rich_help_panel=FACES)
    ] = True,
    likeness: opt.Likeness = None,
    restore_weight: opt.RestoreWeight = None,
    fidelity: opt.Fidelity = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace embedded graphs that are there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print embed.json, and nothing else, on stdout.")] = False,
) -> None:
    """Make of a pack three graphs that take and give whole frames, for any ONNX runtime and for libtrtswap."""
    need_export_tools()
    from trtswap.export import embed as graphs  # noqa: PLC0415 - the export extra
    from trtswap.model.pack import Pack  # noqa: PLC0415 - brings PyTorch

    with as_usage_error():
        target = _target(output, triton)
        layout = graphs.Layout(
            format=format_, size=_size(size), faces=faces, window=window, matrix=matrix, range=range_
        )
        layout = layout.windowed() if triton else layout
        runtime = RuntimeOptions(restore=restore, occlude=occlude, dense=landmarks == "dense")
        options = SwapOptions(mouth=mouth, likeness=likeness, restore_weight=restore_weight, fidelity=fidelity)
    console = stderr()
    wanted = Pack.load(find_pack(pack))

    def work(switch: StopSwitch) -> "Embedded":
        def told(line: str) -> None:
            switch.check()
            say(console, line)

        return graphs.embed(
            wanted, target, layout, runtime=runtime, options=options, precision=precision,
            triton=triton is not None, overwrite=overwrite, report=told,
        )  # fmt: skip

    written = interruptible(work)
    if as_json:
        print_json(dict(written.description))
    else:
        say(stdout(), str(written.path))


def _target(output: Path | None, triton: Path | None) -> Path:
    """The one of both that is given."""
    if output is not None and triton is None:
        return output
    if triton is not None and output is None:
        return triton
    given = "neither is" if output is None else "both are"
    raise InputError(f"of --output and --triton {given} given, expected one: the folder to write.")


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, x, height = text.partition("x")
    if not (x and width.isdecimal() and height.isdecimal()):
        raise InputError(f"--size is {text!r}, expected WIDTHxHEIGHT, as 1920x1080.")
    return int(width), int(height)
