"""The ``trtswap`` command. What takes long to import is imported inside the commands, so that help is instant."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

import trtswap
from trtswap.cli import engines, export, pack, process, weights
from trtswap.cli.bench import bench
from trtswap.cli.build_engines import build_engines
from trtswap.cli.calibrate import calibrate
from trtswap.cli.config import config
from trtswap.cli.console import say, stderr
from trtswap.cli.detect import detect
from trtswap.cli.doctor import doctor
from trtswap.cli.embed import embed
from trtswap.cli.interrupt import Interrupted
from trtswap.cli.swap import swap
from trtswap.errors import TrtswapError

DEBUG = "--debug"

app = typer.Typer(
    rich_markup_mode="markdown",  # as markup, brackets would be taken for styles
    help="Swap faces in video: fast, and nothing but the face changes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(swap)
app.command()(detect)
app.command()(export.export)
app.command()(embed)
app.command()(config)
app.command()(build_engines)
app.add_typer(engines.app, name="engines")
app.command()(calibrate)
app.add_typer(weights.app, name="weights")
app.add_typer(pack.app, name="pack")
app.command()(doctor)
app.command()(bench)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trtswap {trtswap.__version__}")
        raise typer.Exit


@app.callback()
def common(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show where an error comes from; may stand anywhere.")] = False,
) -> None:
    """Options of every command; both do their work elsewhere."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 an error, 2 wrong usage, 130 or 143 stopped by a signal.

    Args:
        arguments: as in ``sys.argv[1:]``, which is what None stands for.
    """
    process.set_environment()
    process.bound_arenas()
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG in given
    sys.stderr = process.Unheard(sys.stderr)
    process.set_outputs()
    try:
        _hint_at_dashes(given)
        app([argument for argument in given if argument != DEBUG], prog_name="trtswap", obj=given)
    except Interrupted as stop:
        say(stderr(), f"Stopped by {stop.signal.name}; no unfinished file was left.", style="red")
        sys.stdout.flush()
        # Not sys.exit: a thread may still be inside a library, and would crash in an interpreter that ends around it.
        os._exit(128 + stop.signal)
    except TrtswapError as error:
        _fail(str(error), debug)
    except OSError as error:
        _fail(f"The system refused what is needed: {error}.", debug)
    except Exception as error:  # noqa: BLE001 - whatever it is, the user gets one line and not a traceback
        kind = type(error).__name__
        _fail(f"Internal error, a bug in trtswap: {kind}: {error}. Run it again with {DEBUG} for the details.", debug)
    sys.exit(0)


def _hint_at_dashes(given: Sequence[str]) -> None:
    """A file whose name begins with a dash is taken for options."""
    for argument in given[: given.index("--") if "--" in given else len(given)]:
        if argument.startswith("-") and "." in argument and os.path.isfile(argument):
            say(stderr(), f"{argument} is a file here: to name it, write ./{argument}.")


def _fail(message: str, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exc()
    say(stderr(), f"Error: {message}", style="red")
    sys.exit(1)
