"""Published ONNX models whose wrapping is known: ``models.toml``, as :class:`Wrapping` takes it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from trtswap.errors import CheckpointError, InputError
from trtswap.export.checkpoints import Checkpoint, resolve
from trtswap.export.wrap.declaration import Wrapping
from trtswap.model.stages import STAGES


@dataclass(frozen=True)
class PublishedModel:
    """One entry of ``models.toml``.

    Attributes:
        name: of the recipe.
        stage: that it does.
        keys: what a Wrapping says of it, but for the file.
        checkpoint: its entry in the manifest, where the hash of its file is known.
        note: for people; empty where there is nothing to say.
    """

    name: str
    stage: str
    keys: Mapping[str, Any]
    checkpoint: Checkpoint | None
    note: str

    def wrapping(self, model: Path, *, allow_unknown_hash: bool = False) -> Wrapping:
        """The declaration for a file of it.

        Args:
            model: the ONNX file.
            allow_unknown_hash: take another file than the published one.

        Raises:
            CheckpointError: the file's hash is known, and is another.
        """
        if self.checkpoint is not None and not allow_unknown_hash and (problem := self.checkpoint.mismatch(model)):
            raise CheckpointError(
                f"{model} is not the published {self.checkpoint.file}: {problem}. If it is another conversion of the "
                "same model that takes and gives its tensors alike, say so: --allow-unknown-hash."
            )
        return Wrapping.parse(self.stage, {**self.keys, "model": str(model.resolve()), "recipe": self.name}, Path())


def published_models() -> Mapping[str, PublishedModel]:
    """All models whose wrapping is known, in the order of the stages."""
    tables = tomllib.loads((resources.files("trtswap.export.wrap") / "models.toml").read_text("utf-8"))
    models = [_entry(name, tables) for name in tables]
    return {model.name: model for model in sorted(models, key=lambda model: list(STAGES).index(model.stage))}


def find_model(name: str) -> PublishedModel:
    """The model of that name.

    Raises:
        InputError: there is none; the message lists all.
    """
    models = published_models()
    if name not in models:
        raise InputError(f"there is no recipe {name!r}; expected one of {', '.join(models)}.")
    return models[name]


def _entry(name: str, tables: Mapping[str, Any]) -> PublishedModel:
    table = _with_model(name, tables)
    checkpoint = table.pop("checkpoint", None)
    entry = None if checkpoint is None else resolve(checkpoint)
    if entry is not None:
        table |= {"url": entry.urls[0], "licence": table.get("licence", entry.licence)}
    return PublishedModel(name, table.pop("stage"), table, entry, table.pop("note", ""))


def _with_model(name: str, tables: Mapping[str, Any]) -> dict[str, Any]:
    """A table and what it takes over from the one it is like; a file's own hash and address are never taken over."""
    table = dict(tables[name])
    if (like := table.pop("like", None)) is None:
        return table
    others = {key: value for key, value in _with_model(like, tables).items() if key not in ("checkpoint", "url")}
    return others | table
