"""Graphs that a runtime has compiled, kept on disk: opening one again costs a third.

A runtime reads what it has written without looking whether it was damaged since; so each entry has the hash of its
files beside it, and what does not have its hash is compiled again. Entries are made under another name and moved into
place whole. They may be deleted at any time.
"""

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from trtswap.errors import BusyError, WriteError
from trtswap.files import Claim, TargetFolder
from trtswap.files.folder import put_folder

LOG = logging.getLogger("trtswap.compiled")
SEAL = "sha256"

T = TypeVar("T")


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
    return (folder or compiled_folder()) / hashlib.sha256(text.encode()).hexdigest()[:32]


def compile_once(entry: Path, compile_: Callable[[Path | None], T]) -> T:
    """Compile a graph, or have the runtime read what it has compiled before.

    Args:
        entry: see :func:`entry_of`.
        compile_: gets the folder in which the runtime finds or leaves its files; None where none can be written.
    """
    if is_intact(entry):
        return compile_(entry)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own: several may compile one graph at once, and each has its engine then.
        place = TargetFolder(entry.parent / f"{entry.name}-{secrets.token_hex(6)}", overwrite=False)
    except (OSError, WriteError) as e:
        LOG.warning("compiled graphs are not kept: %s", e)
        return compile_(None)
    with place:
        made = compile_(place.temporary)
        _put(place.temporary, entry)
    return made


def is_intact(entry: Path) -> bool:
    """Whether an entry is there with the files that it was made with."""
    try:
        return (entry / SEAL).read_text("ascii") == _hash(entry)
    except (OSError, UnicodeDecodeError):
        return False


def _put(fresh: Path, entry: Path) -> None:
    """Give a folder its place; one that is there meanwhile, and whole, stays. A full disk leaves none."""
    try:
        (fresh / SEAL).write_text(_hash(fresh), "ascii")
        with Claim(entry) as claim:
            if is_intact(entry):
                return
            put_folder(fresh, entry, claim)
    except BusyError:
        return  # somebody else puts the same there
    except OSError as e:
        LOG.warning("a compiled graph is not kept: %s", e)


def _hash(folder: Path) -> str:
    """SHA-256 over names and contents of a folder's files, but for the seal."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.name != SEAL:
            with path.open("rb") as file:
                total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()
