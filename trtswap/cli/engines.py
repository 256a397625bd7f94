"""``trtswap engines``: what compiled engines are there; look into them, remove them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from trtswap.cli.console import cells, print_json, say, stdout
from trtswap.errors import BackendError, InputError, PlanError
from trtswap.files import write_whole

if TYPE_CHECKING:
    from trtswap.backends.trt.plans import Place, StoredPlan

app = typer.Typer(help="Compiled engines: list, inspect, remove.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="Beginning of an engine's key, as `list` shows it.")]


@app.command(name="list")
def list_(*, as_json: AsJson = False) -> None:
    """Every engine in the cache, and whether it can run here."""
    from trtswap.backends.trt.plans import plans_folder, stored_plans  # noqa: PLC0415 - heavy, imported on use

    here = here_for_plans()
    rows = [plan_row(plan, here) for plan in stored_plans()]
    if as_json:
        print_json({"folder": str(plans_folder()), "engines": rows})
        return
    if not rows:
        say(stdout(), f"No engines in {plans_folder()}; `trtswap build-engines` makes them.")
        return
    table = Table(
        "key", "pack", "graph", "for", "library", "MiB on disk, GPU", "state",
        title=cells(plans_folder())[0],
    )  # fmt: skip
    for row in rows:
        graph = f"{row['stage']} {row['precision']}"
        sizes = f"{row['plan_bytes'] / 2**20:.1f}, {row['device_memory_bytes'] / 2**20:.0f}"
        shown = (row["key"][:8], row["pack"], graph, row["for"], row["made_with"], sizes, row["state"])
        table.add_row(*cells(*shown))
    stdout().print(table)


@app.command()
def remove(
    keys: Annotated[list[str] | None, typer.Argument(metavar="KEY...", help="Beginnings of keys.")] = None,
    *,
    pack: Annotated[str | None, typer.Option(help="All engines of this pack.")] = None,
    stale: Annotated[
        bool, typer.Option("--stale", help="All that do not fit this GPU and the libraries here.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="All engines, and the measured times of kernels.")] = False,
) -> None:
    """Delete engines from the cache; `trtswap build-engines` makes them again."""
    from trtswap.backends.trt.plans import plans_folder, stored_plans  # noqa: PLC0415 - heavy, imported on use

    if not (keys or pack or stale or everything):
        raise typer.BadParameter("say which: KEY, --pack NAME, --stale or --all.")
    here = here_for_plans() if stale else []
    if stale and not here:
        raise InputError("--stale: there is no TensorRT or no GPU here to hold engines against. Give keys, or --all.")
    plans = stored_plans()
    doomed = {one(key).path for key in keys or ()}
    doomed |= {p.path for p in plans if everything or p.record.pack == pack}
    doomed |= {p.path for p in plans if here and p.record.misfit_everywhere(here)}
    for plan in plans:
        if plan.path in doomed:
            plan.remove()
            say(stdout(), f"removed {plan.path}")
    if everything:
        for cache in sorted((plans_folder() / "timing").glob("*.cache")):
            cache.unlink()
            say(stdout(), f"removed {cache}")


@app.command()
def inspect(
    key: Key,
    *,
    layers: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Write what TensorRT tells about every layer; needs the GPU."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of --layers that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """What an engine is, what it was made of, and how far it is from its FP32 reference."""
    plan = one(key)
    document = asdict(plan.record)
    problem = _problem(plan)
    if layers is not None:
        write_whole(layers, _layers(plan), overwrite=overwrite)
    if as_json:
        print_json(document | {"plan": str(plan.path), "problem": problem})
        return
    for name, value in document.items():
        say(stdout(), f"{name}: {value}")
    say(stdout(), f"plan: {plan.path}, {problem or 'whole'}")


def one(key: str) -> "StoredPlan":
    """The engine whose key begins so.

    Raises:
        InputError: there is none, or several.
    """
    from trtswap.backends.trt.plans import stored_plans  # noqa: PLC0415 - heavy, imported on use

    found = [p for p in stored_plans() if p.record.key.startswith(key)]
    if len(found) != 1:
        count = "no engine has" if not found else f"{len(found)} engines have"
        raise InputError(f"{count} a key that begins with {key!r}; `trtswap engines list` shows all.")
    return found[0]


def here_for_plans() -> "list[Place]":
    """What engines have to fit, one of them; empty where there is no TensorRT or no GPU."""
    from trtswap.backends import choose  # noqa: PLC0415 - heavy, imported on use
    from trtswap.backends import device as gpus  # noqa: PLC0415 - heavy, imported on use
    from trtswap.backends.trt.plans import places_here  # noqa: PLC0415 - as the line before

    try:
        return places_here(gpus.find_gpu(choose("tensorrt").device))
    except BackendError:
        return []


def plan_row(plan: "StoredPlan", here: "Sequence[Place]") -> dict[str, Any]:
    """An engine for a list: what it is, and whether it can run in one of the places."""
    record = plan.record
    misfit = record.misfit_everywhere(here) if here else "no TensorRT or no GPU here to run it"
    size = plan.path.stat().st_size if plan.path.is_file() else None
    broken = None if size == record.plan_bytes else "damaged: its file is missing or has another size"
    state = broken or (misfit if not here else f"stale: {misfit}" if misfit else "fits")
    return {
        "key": record.key,
        "pack": record.pack,
        "stage": record.stage,
        "precision": record.precision,
        "library": record.place.library,
        "version": record.place.version,
        "made_with": record.place.title,
        "gpu": record.place.gpu,
        "targets": list(record.place.targets),
        "for": record.place.gpu or ", ".join(record.place.targets),
        "plan_bytes": record.plan_bytes,
        "device_memory_bytes": record.device_memory_bytes,
        "state": state,
        "path": str(plan.path),
    }


def _problem(plan: "StoredPlan") -> str | None:
    try:
        plan.read()
    except PlanError as e:
        return str(e)
    return None


def _layers(plan: "StoredPlan") -> str:
    from trtswap.backends import choose  # noqa: PLC0415 - heavy, imported on use
    from trtswap.backends import device as gpus  # noqa: PLC0415 - as the line before

    choose("tensorrt")
    from trtswap.engines.inspector import layer_information  # noqa: PLC0415 - imports tensorrt

    return layer_information(plan, gpus.find_gpu())
