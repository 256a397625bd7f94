"""``trtswap build-engines``: the graphs of a pack become TensorRT engines for this GPU."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trtswap.cli import options as opt
from trtswap.cli.arguments import as_usage_error
from trtswap.cli.console import print_json, say, stderr, stdout
from trtswap.cli.interrupt import StopSwitch, interruptible
from trtswap.packs import find_pack

if TYPE_CHECKING:
    from trtswap.engines.build import Built, Options

# A builder looks for the wish to stop between two measurements, which may take seconds.
GRACE_SECONDS = 10.0
BUILD, CALIBRATION = "Build", "Precision"


def build_engines(
    pack: Annotated[
        str, typer.Argument(metavar="PACK", envvar="TRTSWAP_PACK", help="Name of an installed pack, or a folder.")
    ] = opt.DEFAULT_PACK,
    *,
    precision: Annotated[
        Literal["fp16", "fp32"],
        typer.Option(help="fp16: wherever the calibration allows it; fp32: nowhere.", rich_help_panel=CALIBRATION),
    ] = "fp16",
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Calibration table; the pack's own if not given.",
            exists=True,
            dir_okay=False,
            rich_help_panel=CALIBRATION,
        ),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(
            metavar="CLIP",
            help="Calibrate with this clip first.",
            exists=True,
            dir_okay=False,
            rich_help_panel=CALIBRATION,
        ),
    ] = None,
    stage: Annotated[list[str] | None, typer.Option(help="Build only this graph; repeatable.")] = None,
    batch: Annotated[
        str | None,
        typer.Option(metavar="MIN,BEST,MAX", help="Frames that are searched at once.", rich_help_panel=BUILD),
    ] = None,
    faces: Annotated[
        str | None,
        typer.Option(metavar="MIN,BEST,MAX", help="Faces that go through at once.", rich_help_panel=BUILD),
    ] = None,
    workspace: Annotated[
        int | None, typer.Option(metavar="MIB", min=1, help="Most scratch memory of a kernel.", rich_help_panel=BUILD)
    ] = None,
    optimisation_level: Annotated[
        int | None,
        typer.Option(min=0, max=5, help="0: fast build, 5: long search. [default: 3]", rich_help_panel=BUILD),
    ] = None,
    hardware_compatibility: Annotated[
        Literal["none", "same-capability", "ampere-plus"] | None,
        typer.Option(help="Other GPUs that the engines shall run on; slower.", rich_help_panel=BUILD),
    ] = None,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Run on newer TensorRT, too; slower.", rich_help_panel=BUILD)
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            help="Any of these for all graphs, or in tables [detect] ... for single ones.",
            exists=True,
            dir_okay=False,
            rich_help_panel=BUILD,
        ),
    ] = None,
    compiler: Annotated[Literal["onnx-parser", "torch-tensorrt"], typer.Option(help="What compiles.")] = "onnx-parser",
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build even what is there already.")] = False,
    device: Annotated[str, typer.Option(help="auto, cuda or cuda:N.")] = "auto",
    verbose: Annotated[bool, typer.Option("--verbose", help="Print TensorRT's own log.")] = False,
    as_json: opt.AsJson = False,
    quiet: opt.Quiet = False,
) -> None:
    """Compile a pack for this GPU. Each engine is compared with the pack's FP32 graph before it is kept."""
    from trtswap.backends import choose  # noqa: PLC0415 - heavy, imported on use

    if calibration is not None and video is not None:
        raise typer.BadParameter("--calibration and --video: expected at most one of them.")
    choice = choose("tensorrt", device)
    from trtswap.engines.build import Options  # noqa: PLC0415 - imports tensorrt
    from trtswap.engines.config import Overrides  # noqa: PLC0415 - imports tensorrt

    with as_usage_error():
        overrides = (Overrides.none() if config is None else Overrides.load(config)).also(
            batch=batch, faces=faces, workspace_mib=workspace, optimisation_level=optimisation_level,
            hardware_compatibility=hardware_compatibility, version_compatible=version_compatible or None,
        )  # fmt: skip
        wanted = Options(
            precision=precision, calibration=calibration, video=video, overrides=overrides, compiler=compiler,
            rebuild=rebuild, stages=tuple(stage or ()),
        )  # fmt: skip
    if verbose:
        logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s")
    built = interruptible(lambda switch: _build(pack, choice.device, wanted, switch, quiet), grace=GRACE_SECONDS)
    if as_json:
        print_json([facts(b) for b in built])
    elif not quiet:
        for one in built:
            say(stdout(), in_one_line(one))


def _build(pack: str, device: Any, wanted: "Options", switch: StopSwitch, quiet: bool) -> "list[Built]":
    from trtswap.backends import device as gpus  # noqa: PLC0415 - heavy, imported on use
    from trtswap.cli.build_progress import BuildDisplay  # noqa: PLC0415 - heavy, imported on use
    from trtswap.engines.build import build_engines as build  # noqa: PLC0415 - imports tensorrt
    from trtswap.model.pack import Pack  # noqa: PLC0415 - heavy, imported on use

    loaded = Pack.load(find_pack(pack))
    with BuildDisplay(stderr(), quiet=quiet, stop=switch.is_set) as display:
        return build(loaded, gpus.find_gpu(device), wanted, listener=display)


def facts(built: "Built") -> dict[str, Any]:
    """For ``--json``."""
    record = built.plan.record
    return {
        "stage": built.stage,
        "plan": str(built.plan.path),
        "built_because": built.reason,
        "precision": record.precision,
        "tensorrt": record.place.tensorrt,
        "gpu": record.place.gpu,
        "plan_bytes": record.plan_bytes,
        "device_memory_bytes": record.device_memory_bytes,
        "build_seconds": record.build_seconds,
        "difference": dict(record.difference),
    }


def in_one_line(built: "Built") -> str:
    """What came out for one graph."""
    record = built.plan.record
    how = f"built in {record.build_seconds:.0f} s" if built.reason else "was there already"
    figures = [f"{name} {value:.6g}" for name, value in record.difference.items() if name != "finite"]
    return (
        f"{built.stage}: {record.precision}, {record.plan_bytes / 2**20:.1f} MiB, {how}; "
        f"against FP32: {', '.join(figures) or 'no face'}; "
        f"{built.plan.path}"
    )
