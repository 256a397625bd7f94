"""``trtswap export``: official checkpoints become a pack."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from trtswap.cli.console import print_json, say, stderr, stdout
from trtswap.errors import ExportError
from trtswap.packs import user_folder

# Named here, because the recipes themselves need the export extra; a test holds the two against each other.
PACKS = ("simswap-224", "simswap-256", "simswap-512-unofficial", "simswap-512-beta", "mesh", "paste", "identity")
NEEDED = ("onnx", "onnxscript", "onnx_graphsurgeon", "tomli_w")


def export(
    pack: Annotated[str, typer.Argument(metavar="PACK", help=f"What to make: {', '.join(PACKS)}.")],
    *,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the checkpoints. [default: where `trtswap weights pull` puts them]", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder of the pack. [default: PACK in the user's packs]", show_default=False
        ),
    ] = None,
    use: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STAGE=CHECKPOINT",
            help="Other weights for one of its networks: detect=yunet_s, restore=gfpgan_1_3, or a file of your own; "
            "repeatable.",
        ),
    ] = None,
    allow_unknown_hash: Annotated[
        bool, typer.Option("--allow-unknown-hash", help="Take files that are none of the published, as your own.")
    ] = False,
    size: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", help="Side of the swap network's crop, if yours was trained with another."),
    ] = None,
    pose_templates: Annotated[
        bool, typer.Option("--pose-templates", help="Align each face with the best of SimSwap's five poses.")
    ] = False,
    random_weights: Annotated[
        int | None,
        typer.Option(metavar="SEED", help="Full networks with random weights, for speed and tests; no pictures."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a pack that is there.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")
    ] = False,
) -> None:
    """Turn checkpoints into a pack: ONNX graphs, each compared with its PyTorch network before anything is written."""
    need_export_tools()
    from trtswap import calibration  # noqa: PLC0415 - as the next line
    from trtswap.export import build, checkpoints, recipes  # noqa: PLC0415 - the export extra

    recipe = recipes.find_recipe(pack)
    if pose_templates:
        recipe = recipe.with_pose_templates()
    if size is not None:
        recipe = recipe.with_swap_size(size)
    for stage, checkpoint in map(_choice, use or []):
        recipe = recipe.using(stage, checkpoint, allow_unknown_hash=allow_unknown_hash)
    console = stderr()
    source = build.Weights(weights or checkpoints.default_folder(), random_weights)
    target = output or user_folder() / build.name_of(pack, source)
    made = build.export_pack(recipe, target, source, overwrite=overwrite, report=lambda line: say(console, line))
    shares = {name: float(f"{calibration.ruled_share(stage):.3g}") for name, stage in made.stages.items()}
    listed = ", ".join(f"{name} {share:.3%}" for name, share in shares.items())
    say(console, f"Multiply-adds that stay in FP32 once the pack is converted to FP16: {listed}.")
    if as_json:
        stages = {
            name: dict(stage.figures) | {"full_precision_share_of_fp16": shares[name]}
            for name, stage in made.stages.items()
        }
        print_json({"pack": str(made.path), "name": made.name, "licence": made.licence, "stages": stages})
    else:
        say(stdout(), f"{made.path}\n{made.description}\nLicence: {made.licence}")


def _choice(text: str) -> tuple[str, str]:
    stage, equals, checkpoint = text.partition("=")
    if not (stage and equals and checkpoint):
        raise typer.BadParameter(f"--use {text!r}: expected STAGE=CHECKPOINT, as detect=yunet_s.")
    return stage, checkpoint


def need_export_tools() -> None:
    """Refuse plainly where the export extra is not installed.

    Raises:
        ExportError: names what is missing and how to install it.
    """
    missing = [module for module in NEEDED if find_spec(module) is None]
    if missing:
        raise ExportError(f'This needs {", ".join(missing)}, not installed here: pip install "trtswap[export]".')
