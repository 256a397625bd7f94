"""Where the command ``trtswap`` begins, before anything that takes time is imported.

Outside of the package, whose import alone takes longer than a finger needs: Ctrl-C is to end the command from its first
moment on, and an exception that is raised in the middle of an import ends it in as many ways as there are libraries.
"""

import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit."""
    end_at_signals()
    from trtswap.cli import main as run  # noqa: PLC0415 - what takes time

    try:
        run(sys.argv[1:])
    finally:
        # All is written and the exit code is decided; the end of the interpreter takes a moment, in which a signal
        # would replace it.
        for number in _signals():
            signal.signal(number, signal.SIG_IGN)


def end_at_signals() -> None:
    """Until the work begins, nothing has been written, so that the process can end at once."""
    for number in _signals():
        signal.signal(number, _end)


def _signals() -> list[int]:
    """Those that ask to stop; Windows has no SIGHUP."""
    return [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _end(number: int, _: object) -> NoReturn:
    # Not sys.exit: half of a library may be loaded.
    os._exit(128 + number)


if __name__ == "__main__":
    main()
