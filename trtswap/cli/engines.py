"""``trtswap engines``: what compiled engines are there; look into them, remove them."""

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

app = typer.Typer(help="Compiled TensorRT engines: list, inspect, remove.", no_args_is_help=True)

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
        "key", "pack", "graph", "precision", "GPU", "TensorRT", "MiB", "state", title=cells(plans_folder())[0]
    )
    for row in rows:
        shown = (row["key"], row["pack"], row["stage"], row["precision"], row["gpu"], row["tensorrt"])
        table.add_row(*cells(*shown, f"{row['plan_bytes'] / 2**20:.1f}", row["state"]))
    stdout().print(table)


@app.command()
def remove(
    keys: Annotated[list[str] | None, typer.Argument(metavar="KEY...", help="Beginnings of keys.")] = None,
    *,
    pack: Annotated[str | None, typer.Option(help="All engines of this pack.")] = None,
    stale: Annotated[bool, typer.Option("--stale", help="All that do not fit this GPU and TensorRT.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All engines, and the measured times of kernels.")] = False,
) -> None:
    """Delete engines from the cache; `trtswap build-engines` makes them again."""
    from trtswap.backends.trt.plans import plans_folder, stored_plans  # noqa: PLC0415 - heavy, imported on use

    if not (keys or pack or stale or everything):
        raise typer.BadParameter("say which: KEY, --pack NAME, --stale or --all.")
    here = here_for_plans() if stale else None
    if stale and here is None:
        raise InputError("--stale: there is no TensorRT or no GPU here to hold engines against. Give keys, or --all.")
    plans = stored_plans()
    doomed = {one(key).path for key in keys or ()}
    doomed |= {p.path for p in plans if everything or p.record.pack == pack}
    doomed |= {p.path for p in plans if here is not None and p.record.misfit(here)}
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


def here_for_plans() -> "Place | None":
    """What engines have to fit; None where there is no TensorRT or no GPU."""
    from trtswap.backends import choose  # noqa: PLC0415 - heavy, imported on use
    from trtswap.backends import device as gpus  # noqa: PLC0415 - heavy, imported on use

    try:
        choice = choose("tensorrt")
    except BackendError:
        return None
    from trtswap.backends.trt.library import place_of  # noqa: PLC0415 - imports tensorrt

    return place_of(gpus.find_gpu(choice.device))


def plan_row(plan: "StoredPlan", here: "Place | None") -> dict[str, Any]:
    """An engine for a list: what it is, and whether it can run in a place."""
    record = plan.record
    misfit = record.misfit(here) if here is not None else "no TensorRT or no GPU here to run it"
    size = plan.path.stat().st_size if plan.path.is_file() else None
    broken = None if size == record.plan_bytes else "damaged: its file is missing or has another size"
    state = broken or (misfit if here is None else f"stale: {misfit}" if misfit else "fits")
    return {
        "key": record.key,
        "pack": record.pack,
        "stage": record.stage,
        "precision": record.precision,
        "gpu": record.place.gpu,
        "tensorrt": record.place.tensorrt,
        "plan_bytes": record.plan_bytes,
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
