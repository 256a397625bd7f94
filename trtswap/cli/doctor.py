"""``trtswap doctor``: what is installed here, and what would run."""

from typing import Annotated, Any

import typer

from trtswap.cli.console import print_json, say, stdout


def doctor(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")
    ] = False,
) -> None:
    """Show versions, devices, packs and encoders, and the backend that `auto` would choose."""
    from trtswap.cli import machine  # noqa: PLC0415 - heavy, imported on use

    facts: dict[str, Any] = {
        "versions": machine.versions(),
        "cpu": machine.cpu(),
        "gpus": machine.gpus(),
        "auto": machine.automatic_choice(),
        "packs": machine.packs(),
        "encoders": machine.encoders(),
    }
    if as_json:
        print_json(facts)
        return
    for title, lines in machine.in_words(facts).items():
        say(stdout(), title, style="bold")
        for line in lines:
            say(stdout(), f"  {line}")
