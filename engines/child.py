"""Compiling in a process of its own: a library that crashes at a graph takes that process along, and no other.

The child reads one request, a line of JSON, from its input, tells what happens in lines of JSON on its output, and
leaves the plan in a file. It imports neither PyTorch nor ONNX Runtime, so that it starts in a fraction of a second.
"""

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, cast

from trtswap.backends.trt.library import LOG, Library, find_library
from trtswap.engines.compiler import BuildCancelled, compile_graph
from trtswap.engines.progress import BuildListener
from trtswap.engines.request import Compiled, Request
from trtswap.errors import BackendError, DeviceMemoryError, EngineBuildError, TrtswapError

# How often the wish to stop is asked for while the child says nothing, seconds.
POLL = 0.1
COMMAND = (sys.executable, "-P", "-m", "trtswap.engines.child")
ERRORS = {kind.__name__: kind for kind in (BackendError, BuildCancelled, DeviceMemoryError, EngineBuildError)}


def compile_apart(library: Library, request: Request, listener: BuildListener) -> Compiled:
    """As :func:`~trtswap.engines.compiler.compile_graph`, in a child process; without a cache of measured times.

    Raises:
        EngineBuildError: also where the library crashed; the message names the graph.
        BuildCancelled: the listener wanted to stop; the child is gone.
    """
    with TemporaryDirectory(prefix="trtswap-build-") as folder:
        plan = Path(folder) / "plan"
        with _child() as child:
            order = {"library": library.kind.name, "plan": str(plan), "level": LOG.getEffectiveLevel()}
            _send(child, order | {"request": asdict(request)})
            end = _listen(child, request, listener)
        if end is None:
            raise _crash(child, library, request)
        memory, warnings = end
        return Compiled(plan.read_bytes(), memory, warnings)


@contextmanager
def _child() -> "Iterator[subprocess.Popen[str]]":
    """A child that is gone when the context ends, however it ends."""
    with subprocess.Popen(  # noqa: S603 - this very interpreter
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
    ) as child:
        try:
            yield child
        except BaseException:
            child.kill()
            raise


def _send(child: "subprocess.Popen[str]", order: dict[str, Any]) -> None:
    orders = cast(IO[str], child.stdin)
    try:
        orders.write(json.dumps(order) + "\n")
        orders.close()
    except OSError:
        child.kill()  # it has ended already; who listens will see that


def _listen(
    child: "subprocess.Popen[str]", request: Request, listener: BuildListener
) -> tuple[int, tuple[str, ...]] | None:
    """Pass on what the child tells until it ends.

    Returns:
        Scratch memory of the finished plan, bytes, and warnings; None where the child ended without a word.
    """
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(cast(IO[str], child.stdout), lines), daemon=True).start()
    while True:
        if listener.cancelled():
            child.kill()
            raise BuildCancelled(f"{Path(request.graph).name}: the build was stopped.")
        try:
            line = lines.get(timeout=POLL)
        except queue.Empty:
            continue
        if line is None:
            return None
        kind, *values = json.loads(line)
        if kind == "made":
            return int(values[0]), tuple(values[1])
        if kind == "error":
            raise ERRORS[values[0]](values[1])
        if kind == "log":
            LOG.log(values[0], "%s", values[1])
        elif kind == "phase":
            listener.phase(*values)
        elif kind == "step":
            listener.step(*values)
        else:
            listener.finished(*values)


def _read(output: IO[str], lines: "queue.Queue[str | None]") -> None:
    try:
        for line in output:
            lines.put(line)
    except ValueError:
        pass  # closed by who has stopped listening
    lines.put(None)


def _crash(child: "subprocess.Popen[str]", library: Library, request: Request) -> EngineBuildError:
    code = child.wait()
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return EngineBuildError(
        f"{Path(request.graph).name}: {library.title} ended its process with {how} while it compiled this graph, and "
        "gave no reason. Nothing else was harmed. Run it again with --verbose for its log."
    )


class _Teller:
    """A listener that writes what it hears, one line each; it never wants to stop: the parent ends the process."""

    def __init__(self, output: IO[str]) -> None:
        self._output, self._lock = output, threading.Lock()

    def tell(self, *words: Any) -> None:
        with self._lock:
            self._output.write(json.dumps(words) + "\n")
            self._output.flush()

    def phase(self, name: str, parent: str | None, steps: int) -> None:
        self.tell("phase", name, parent, steps)

    def step(self, name: str, step: int) -> None:
        self.tell("step", name, step)

    def finished(self, name: str) -> None:
        self.tell("finished", name)

    def cancelled(self) -> bool:
        return False


class _Forwarding(logging.Handler):
    def __init__(self, teller: _Teller) -> None:
        super().__init__()
        self._teller = teller

    def emit(self, record: logging.LogRecord) -> None:
        self._teller.tell("log", record.levelno, record.getMessage())


def main() -> None:
    """The child's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal's processes; the parent decides
    teller = _Teller(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # what a library prints is no message
    order = json.loads(sys.stdin.readline())
    LOG.setLevel(order["level"])
    LOG.addHandler(_Forwarding(teller))
    LOG.propagate = False
    try:
        made = compile_graph(find_library(order["library"]), Request(**order["request"]), cache=None, listener=teller)
        Path(order["plan"]).write_bytes(made.plan)
    except TrtswapError as e:
        teller.tell("error", type(e).__name__, str(e))
    except OSError as e:
        teller.tell("error", "EngineBuildError", f"{order['plan']} cannot be written: {e.strerror}.")
    else:
        teller.tell("made", made.memory_bytes, made.warnings)


if __name__ == "__main__":
    main()
