"""Official checkpoints: what there is, where it lies, and loading it into networks.

Functions take a checkpoint by its name in the manifest ``weights.toml``, or as a :class:`Checkpoint` of one's own.
A file that has not the size and hash of its checkpoint is never loaded and never gets its final name.
"""

import os
import pickle
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trtswap.errors import CheckpointError
from trtswap.export.unpickle import UNREADABLE, load_module_state
from trtswap.files.names import key_in
from trtswap.model.pack import sha256_of

SHOWN_NAMES = 5  # of keys in an error message


@dataclass(frozen=True)
class Archive:
    """A zip file that holds a checkpoint as ``member``."""

    url: str
    sha256: str
    member: str

    @property
    def file(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Checkpoint:
    """One entry of the manifest; the fields are explained at the top of ``weights.toml``.

    ``own`` is set for a file of the user's, which may hold the tensors without the level ``entry``.
    """

    name: str
    file: str
    sha256: str
    urls: tuple[str, ...]
    licence: str
    format: Literal["state_dict", "pickled_module", "onnx", "tflite"]
    size: int | None = None
    entry: str | None = None
    unexpected: tuple[str, ...] = ()
    archive: Archive | None = None
    seen: int = 0
    own: bool = False

    def mismatch(self, path: Path) -> str | None:
        """What tells a file from this checkpoint, or None when it is this checkpoint."""
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            return f"it has {size:,} bytes, expected {self.size:,}"
        digest = sha256_of(path)
        return None if digest == self.sha256 else f"its sha256 is {digest}, expected {self.sha256}"


def manifest() -> Mapping[str, Checkpoint]:
    """All checkpoints that trtswap knows, by name."""
    tables = tomllib.loads((resources.files("trtswap.export") / "weights.toml").read_text("utf-8"))
    return {name: parse_entry(name, table) for name, table in tables.items()}


def parse_entry(name: str, table: Mapping[str, Any]) -> Checkpoint:
    """A checkpoint from its table in the manifest."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    if "archive" in table:
        fields["archive"] = Archive(**table["archive"])
    return Checkpoint(name, **fields)


def resolve(checkpoint: str | Checkpoint) -> Checkpoint:
    """A checkpoint by name.

    Raises:
        CheckpointError: there is none of that name.
    """
    if isinstance(checkpoint, Checkpoint):
        return checkpoint
    entries = manifest()
    if checkpoint not in entries:
        raise CheckpointError(f"checkpoint {checkpoint!r} is unknown; expected one of: {', '.join(entries)}")
    return entries[checkpoint]


def own_checkpoint(path: Path, *, like: Checkpoint) -> Checkpoint:
    """A file of the user's as a checkpoint: tensors by name, as the training code of a published one saves them.

    Args:
        path: the file; its hash is taken now, and checked when it is loaded.
        like: the published one.
    """
    return Checkpoint(
        name=path.stem,
        file=path.name,
        sha256=sha256_of(path),
        urls=(),
        licence="licence not known: an own checkpoint",
        format="state_dict",
        size=path.stat().st_size,
        entry=like.entry,
        unexpected=like.unexpected,
        own=True,
    )


def default_folder() -> Path:
    """Where checkpoints are kept: $TRTSWAP_WEIGHTS, else trtswap/weights in $XDG_DATA_HOME or ~/.local/share."""
    if chosen := os.environ.get("TRTSWAP_WEIGHTS"):
        return Path(chosen)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "trtswap" / "weights"


def search(checkpoint: str | Checkpoint, folder: Path) -> Path | None:
    """The verified file of a checkpoint in a folder or below it, under its own name or any other; None if none is."""
    entry = resolve(checkpoint)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not _unfinished(path))
    candidates = [path for path in files if path.name == entry.file]
    candidates += [path for path in files if path.name != entry.file and path.stat().st_size == entry.size]
    return next((path for path in candidates if entry.mismatch(path) is None), None)


def _unfinished(path: Path) -> bool:
    return path.suffix == ".part" or key_in(path.name) is not None


def find(checkpoint: str | Checkpoint, folder: Path) -> Path:
    """As :func:`search`, where a missing file is an error.

    Raises:
        CheckpointError: the folder has no file of that size and hash.
    """
    entry = resolve(checkpoint)
    if path := search(entry, folder):
        return path
    raise CheckpointError(
        f"checkpoint {entry.name}: {folder} has no such file: {description(entry)}. "
        f"Get it with: trtswap weights pull {entry.name} --into {folder}"
    )


def verify(checkpoint: str | Checkpoint, folder: Path) -> Path:
    """The file of a checkpoint, its size and hash checked.

    Raises:
        CheckpointError: the file is missing, or says how it differs.
    """
    entry = resolve(checkpoint)
    path = folder / entry.file
    if path.is_file() and (problem := entry.mismatch(path)):
        raise CheckpointError(f"checkpoint {entry.name}: {path} is not the official file: {problem}. Move it away.")
    return find(entry, folder)


def description(entry: Checkpoint) -> str:
    """What a file must be to be a checkpoint."""
    size = "" if entry.size is None else f"{entry.size:,} bytes, "
    return f"{entry.file}, or any other name, with {size}sha256 {entry.sha256}"


def load_state_dict(checkpoint: str | Checkpoint, path: Path) -> dict[str, Tensor]:
    """Tensors by name out of a verified checkpoint file, on the CPU. No code from the file is ever run.

    Raises:
        CheckpointError: the file is missing, is not the checkpoint, or does not hold tensors as the manifest says.
    """
    entry = resolve(checkpoint)
    if not path.is_file():
        raise CheckpointError(f"checkpoint {entry.name}: there is no file {path}. trtswap weights pull {entry.name}")
    if problem := entry.mismatch(path):
        raise CheckpointError(f"checkpoint {entry.name}: {path} is not the official file: {problem}. Get it again.")
    if entry.format == "onnx":
        raise CheckpointError(f"checkpoint {entry.name} is an ONNX graph without tensors by name: trtswap pack wrap it")
    if entry.format == "tflite":
        raise CheckpointError(f"checkpoint {entry.name} is a TensorFlow Lite file: trtswap.export.mesh reads it")
    if entry.format == "pickled_module":
        return load_module_state(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        more = isinstance(error, pickle.UnpicklingError)
        reason = "it holds more than tensors" if more else f"PyTorch does not know it ({type(error).__name__}: {error})"
        raise CheckpointError(f"{path}: cannot be read as tensors by name: {reason}.") from error
    return tensors_by_name(content, entry, path)


def tensors_by_name(content: object, entry: Checkpoint, path: Path) -> dict[str, Tensor]:
    """The level of a loaded file that has the tensors, checked to have nothing else."""
    if entry.entry is not None and not (entry.own and isinstance(content, Mapping) and entry.entry not in content):
        if not isinstance(content, Mapping) or entry.entry not in content:
            raise CheckpointError(f"{path}: has no entry {entry.entry!r}, expected one with the tensors in it")
        content = content[entry.entry]
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, expected tensors by name")
    for key, value in content.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: {key!r} is a {type(value).__name__}, expected a tensor")
    return dict(content)


def load_into(network: nn.Module, state_dict: Mapping[str, Tensor], *, unexpected: Sequence[str] = ()) -> None:
    """Give a network the tensors of a checkpoint: all of its own, each of the right shape.

    Args:
        network: takes the values; its dtype and device stay.
        state_dict: tensors by name.
        unexpected: patterns (``fc.*``) of names that the checkpoint may hold beside the network's own.

    Raises:
        CheckpointError: a tensor is missing, has another shape, or is not the network's and matches no pattern.
    """
    kind = type(network).__name__
    own = network.state_dict()
    if missing := [key for key in own if key not in state_dict]:
        raise CheckpointError(f"the checkpoint lacks {names(missing)}, which {kind} needs")
    for key, tensor in own.items():
        if tensor.shape != state_dict[key].shape:
            raise CheckpointError(
                f"{key} has shape {tuple(state_dict[key].shape)} in the checkpoint, but {tuple(tensor.shape)} in {kind}"
            )
    extra = [key for key in state_dict if key not in own and not any(fnmatchcase(key, p) for p in unexpected)]
    if extra:
        raise CheckpointError(f"the checkpoint has {names(extra)}, which {kind} does not: it is for another network")
    network.load_state_dict({key: state_dict[key] for key in own})


def names(keys: Sequence[str]) -> str:
    """The first few of many keys."""
    shown = ", ".join(keys[:SHOWN_NAMES])
    return shown if len(keys) <= SHOWN_NAMES else f"{shown} and {len(keys) - SHOWN_NAMES} more"
