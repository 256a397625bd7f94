"""``trtswap doctor``: what is installed here, and what would run."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from trtswap.cli.console import print_json, say, stderr, stdout
from trtswap.cli.interrupt import StopSwitch, interruptible
from trtswap.packs import DEFAULT_PACK

ENGINES = "With --engines"


def doctor(
    *,
    engines: Annotated[
        bool,
        typer.Option(
            "--engines", help="Build or take a pack's TensorRT engines, compare each with its FP32 graph, time them."
        ),
    ] = False,
    pack: Annotated[
        str, typer.Option(envvar="TRTSWAP_PACK", help="Whose engines.", rich_help_panel=ENGINES)
    ] = DEFAULT_PACK,
    precision: Annotated[
        Literal["fp16", "fp32"], typer.Option(help="As build-engines takes it.", rich_help_panel=ENGINES)
    ] = "fp16",
    device: Annotated[str, typer.Option(help="auto, cuda or cuda:N.", rich_help_panel=ENGINES)] = "auto",
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="STEM", help="Reports to write: STEM.json and STEM.md.", rich_help_panel=ENGINES
        ),
    ] = Path("trtswap-doctor"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace reports that exist.", rich_help_panel=ENGINES)
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")
    ] = False,
) -> None:
    """Show versions, devices, codecs, packs and engines, and the backend that `auto` would choose, and why."""
    from trtswap.cli import machine  # noqa: PLC0415 - heavy, imported on use

    facts: dict[str, Any] = machine.facts()
    words = machine.in_words(facts)
    if engines:
        from trtswap.cli import engine_report  # noqa: PLC0415 - heavy, imported on use

        with engine_report.targets(output, overwrite=overwrite) as places:
            found = interruptible(
                lambda switch: engine_report.examine(pack, precision, device, stderr(), _asked(switch)), grace=10.0
            )
            facts["engine_report"] = found
            words["Engines compared"] = engine_report.in_words(found)
            engine_report.write(places, facts, words)
        say(stderr(), f"Wrote {' and '.join(str(place.path) for place in places)}.")
    if as_json:
        print_json(facts)
        return
    for title, lines in words.items():
        say(stdout(), title, style="bold")
        for line in lines:
            say(stdout(), f"  {line}")


def _asked(switch: StopSwitch) -> Any:
    return switch.is_set
