"""``trtswap build-engines``: the graphs of a pack become engines, for the GPU that is here or for others."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trtswap.cli import options as opt
from trtswap.cli.arguments import as_usage_error
from trtswap.cli.console import print_json, say, stderr, stdout
from trtswap.cli.interrupt import StopSwitch, interruptible
from trtswap.errors import BackendError
from trtswap.packs import DEFAULT_PACK, find_pack

if TYPE_CHECKING:
    from trtswap.engines.aim import Aim
    from trtswap.engines.build import Built, Options

# A builder looks for the wish to stop between two measurements, which may take seconds.
GRACE_SECONDS = 10.0
# One that compiles ahead of time does so in a process of its own, which can be ended at once.
SHORT_GRACE_SECONDS = 0.5
BUILD, CALIBRATION, AIM = "Build", "Precision", "What for"


def build_engines(
    pack: opt.PackArgument = DEFAULT_PACK,
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
    library: Annotated[
        Literal["auto", "rtx", "tensorrt"],
        typer.Option(
            help="rtx: TensorRT for RTX, on any machine; tensorrt: on the GPU itself. auto: what suits the GPU.",
            rich_help_panel=AIM,
        ),
    ] = "auto",
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            metavar="SM,...",
            help="RTX GPUs by compute capability: sm75, sm80, sm86, sm89, sm120, sm121; several in one engine. "
            "[default: all from Ampere on]",
            rich_help_panel=AIM,
        ),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(
            metavar="GIB",
            help="Memory of the card; decides how many faces go through at once. [default: this GPU's, else 8]",
            rich_help_panel=AIM,
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
    device: Annotated[
        str, typer.Option(help="auto, cuda or cuda:N; with --for none is needed.", rich_help_panel=AIM)
    ] = "auto",
    verbose: Annotated[bool, typer.Option("--verbose", help="Print the library's own log.")] = False,
    as_json: opt.AsJson = False,
    quiet: opt.Quiet = False,
) -> None:
    """Compile a pack into engines: for RTX GPUs on any machine, for others on the GPU itself.

    An engine is compared with the pack's FP32 graph before it is kept; one for GPUs elsewhere, where it runs first.
    """
    if calibration is not None and video is not None:
        raise typer.BadParameter("--calibration and --video: expected at most one of them.")
    from trtswap.engines.build import Options  # noqa: PLC0415 - heavy, imported on use
    from trtswap.engines.config import Overrides  # noqa: PLC0415 - heavy, imported on use

    with as_usage_error():
        aim = _aim(device, library, _capabilities(targets or ()), memory)
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
    grace = SHORT_GRACE_SECONDS if aim.ahead_of_time else GRACE_SECONDS
    # Made here, on the main thread: what the work has not finished goes, whatever it is doing.
    with TemporaryDirectory(prefix="trtswap-build-", ignore_cleanup_errors=True) as scratch:
        wanted = replace(wanted, scratch=Path(scratch))
        built = interruptible(lambda switch: _build(pack, aim, wanted, switch, quiet), grace=grace)
    if as_json:
        print_json([facts(b) for b in built])
    elif not quiet:
        for one in built:
            say(stdout(), in_one_line(one))


def _capabilities(texts: Sequence[str]) -> list[str]:
    """Compute capabilities from ``sm86,sm120`` or ``8.6,12.0``."""
    found = []
    for text in (part.strip() for whole in texts for part in whole.split(",")):
        digits = text.lower().removeprefix("sm").replace("_", "").replace(".", "")
        if not (digits.isascii() and digits.isdigit() and len(digits) >= 2):
            raise typer.BadParameter(f"--for {text!r}: expected sm86, sm89, sm120 ..., with commas between them.")
        found.append(f"{digits[:-1]}.{digits[-1]}")
    return found


def _aim(device: str, library: str, targets: list[str], memory: float | None) -> "Aim":
    from trtswap.backends import choose  # noqa: PLC0415 - heavy, imported on use
    from trtswap.backends import device as gpus  # noqa: PLC0415 - as the line before
    from trtswap.engines.aim import aim  # noqa: PLC0415 - heavy, imported on use

    gpu = None
    if not targets and (library != "rtx" or device != "auto"):
        try:
            gpu = gpus.find_gpu(choose("tensorrt", device).device)
        except BackendError:
            if library == "tensorrt" or device != "auto":
                raise
    return aim(gpu, library=library, targets=targets, memory_gib=memory)


def _build(pack: str, aim: "Aim", wanted: "Options", switch: StopSwitch, quiet: bool) -> "list[Built]":
    from trtswap.cli.build_progress import BuildDisplay  # noqa: PLC0415 - heavy, imported on use
    from trtswap.engines.build import build_engines as build  # noqa: PLC0415 - heavy, imported on use
    from trtswap.model.pack import Pack  # noqa: PLC0415 - heavy, imported on use

    loaded = Pack.load(find_pack(pack))
    with BuildDisplay(stderr(), quiet=quiet, stop=switch.is_set) as display:
        return build(loaded, aim, wanted, listener=display)


def facts(built: "Built") -> dict[str, Any]:
    """For ``--json``."""
    record = built.plan.record
    return {
        "stage": built.stage,
        "plan": str(built.plan.path),
        "built_because": built.reason,
        "precision": record.precision,
        "library": record.place.library,
        "version": record.place.version,
        "gpu": record.place.gpu,
        "targets": list(record.place.targets),
        "profiles": record.config["profiles"],
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
    proof = f"against FP32: {', '.join(figures) or 'no face'}" if record.difference else "compared where it runs first"
    return (
        f"{built.stage}: {record.precision}, {record.plan_bytes / 2**20:.1f} MiB, {how} for {record.place.hardware}, "
        f"device memory {record.device_memory_bytes / 2**20:.0f} MiB; {proof}; {built.plan.path}"
    )
