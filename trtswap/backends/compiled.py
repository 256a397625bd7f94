"""Graphs that a runtime has compiled, kept on disk: opening one again costs a third.

A runtime reads what it has written without looking whether it was damaged since; so each entry ends with the hash of
what is before it, and what does not have its hash is compiled again. Entries get their name when they are whole, and
may be deleted at any time.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from trtswap.errors import BusyError, WriteError
from trtswap.files import Target

LOG = logging.getLogger("trtswap.compiled")
SUFFIX = ".compiled"
# Every number of threads is an entry of its own, so that they add up; the pack with full-size networks has 0.6 GB.
MOST_BYTES = 4 << 30

SEAL_BYTES = hashlib.sha256().digest_size

T = TypeVar("T")
Blob: TypeAlias = NDArray[np.uint8]


def compiled_folder() -> Path:
    """Where compiled graphs are kept: ``$TRTSWAP_COMPILED``, else ``$XDG_CACHE_HOME/trtswap/compiled``."""
    if folder := os.environ.get("TRTSWAP_COMPILED"):
        return Path(folder)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "trtswap" / "compiled"


def entry_of(graph_sha256: str, made_by: Mapping[str, Any], folder: Path | None = None) -> Path:
    """Where the compiled form of a graph is, or will be.

    Args:
        graph_sha256: hash of the graph's file.
        made_by: everything else that decides what is compiled: the library, its version, its settings, the processor.
        folder: :func:`compiled_folder` where None.
    """
    text = json.dumps({"graph": graph_sha256, **made_by}, sort_keys=True, default=str)
    return (folder or compiled_folder()) / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}{SUFFIX}"


def compile_once(
    entry: Path, compile_: Callable[[], T], export: Callable[[T], bytes | memoryview], load: Callable[[Blob], T]
) -> T:
    """Compile a graph and keep it, or load what was compiled of it before.

    Args:
        entry: see :func:`entry_of`.
        compile_: compiles the graph.
        export: what is kept of it.
        load: makes the same of that again.
    """
    kept = read(entry)
    if kept is not None:
        return load(kept)
    made = compile_()
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        data = export(made)
        with Target(entry, overwrite=True) as target:
            with target.temporary.open("wb") as file:
                file.write(data)
                file.write(hashlib.sha256(data).digest())
            target.commit()
        make_room(entry.parent)
    except BusyError:
        pass  # somebody else puts the same there
    except (OSError, WriteError) as e:
        LOG.warning("a compiled graph is not kept: %s", e)
    return made


def read(entry: Path) -> Blob | None:
    """What was kept; None where nothing was, or it was damaged since. Notes that it was used."""
    try:
        # Mapped, not read: it may be half a gigabyte. Writeable, for who asks for that, but never in the file.
        data = np.memmap(entry, np.uint8, mode="c")
        blob, sealed = data[:-SEAL_BYTES], data[-SEAL_BYTES:]
        if hashlib.sha256(blob.data).digest() != sealed.tobytes():
            return None
    except (OSError, ValueError):  # of an empty file there is no map
        return None
    with suppress(OSError):  # a folder that several read and nobody writes
        os.utime(entry)
    return blob


def make_room(folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Delete the entries that were used longest ago where all together are larger than allowed."""
    found = []
    for entry in folder.glob(f"*{SUFFIX}"):
        with suppress(OSError):  # another process has just deleted it
            status = entry.stat()
            found.append((status.st_mtime_ns, status.st_size, entry))
    total = sum(size for _, size, _ in found)
    for _, size, entry in sorted(found)[:-1]:
        if total > most_bytes:
            with suppress(OSError):
                entry.unlink()
            total -= size
