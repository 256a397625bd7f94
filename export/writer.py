"""Writing a model pack: graphs and pack.toml, checked while still under a temporary name.

What a pack holds and how it is read back: :mod:`trtswap.model.pack`.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import onnx
import tomli_w
from onnx import ModelProto

from trtswap.backends import open_engine
from trtswap.errors import BusyError, ExportError, WriteError
from trtswap.files import TargetFolder
from trtswap.model.pack import FORMAT, Pack, StageSpec, check_engine, sha256_of


class PackWriter:
    """Collects graphs in a temporary folder beside the target; ``finish`` checks them and moves the folder there.

    Without ``finish``, leaving the context removes everything, and a pack that was there before stays. Nobody else
    writes a pack there meanwhile.

    Raises:
        BusyError: another thread or process is writing a pack there.
        ExportError: the target exists and is not to be overwritten, is not a pack, or cannot be written.
    """

    def __init__(self, target: Path, *, overwrite: bool) -> None:
        self.target = target
        self._stages: dict[str, StageSpec] = {}
        if target.exists() and not overwrite:
            raise ExportError(f"{target} exists. Choose another folder with -o, or replace it with --overwrite.")
        if target.exists() and not _is_pack(target):
            raise ExportError(f"{target} exists and is not a pack, so it is not overwritten. Choose another folder.")
        with as_export_error():
            self._place = TargetFolder(target, overwrite=overwrite, replaceable=_is_pack)
        self._folder = self._place.temporary

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._place.discard()

    def add(self, stage: StageSpec, model: ModelProto) -> None:
        """Write a stage's graph; of ``stage``, the path and the hash are replaced by the file's."""
        path = self._folder / f"{stage.name}.onnx"
        try:
            onnx.save(model, path)
        except OSError as e:
            raise ExportError(f"{path} cannot be written: {e.strerror}.") from e
        self._keep(stage, path)

    def copy(self, stage: StageSpec) -> None:
        """Take over a stage of another pack as it is."""
        path = self._folder / f"{stage.name}.onnx"
        try:
            shutil.copyfile(stage.path, path)
        except OSError as e:
            raise ExportError(f"{stage.path} cannot be copied to {path}: {e.strerror}.") from e
        self._keep(stage, path)

    def finish(
        self,
        *,
        name: str,
        version: str,
        licence: str,
        description: str,
        weights: Mapping[str, Mapping[str, str]],
        tolerance: Mapping[str, Mapping[str, float]] | None = None,
        random: Sequence[str] = (),
        landmarks: str = "dense",
    ) -> Pack:
        """Write pack.toml, read the pack back, open every graph against the contract, move the folder to the target.

        Args:
            name, version, licence, description: of the pack, for people.
            weights: for each checkpoint that went in: sha256, url, licence.
            tolerance: per precision, how far the pack may be from itself in it; see ``trtswap.calibration``.
            random: stages with random weights.
            landmarks: what faces are aligned by; see :class:`~trtswap.model.pack.Pack`.

        Raises:
            PackError: the pack would not pass ``trtswap pack check``.
            ExportError: the target cannot be written.
        """
        head = {"format": FORMAT, "name": name, "version": version, "licence": licence, "description": description}
        tables = {"stages": {k: stage_table(s) for k, s in self._stages.items()}, "weights": weights}
        tables |= {"tolerance": {k: dict(v) for k, v in tolerance.items()}} if tolerance else {}
        head |= {"random": list(random)} if random else {}
        head |= {"landmarks": landmarks} if landmarks != "dense" else {}
        toml = tomli_w.dumps(head | tables, multiline_strings=True)
        try:
            (self._folder / "pack.toml").write_text(toml, encoding="utf-8", newline="\n")
        except OSError as e:
            raise ExportError(f"{self.target} cannot be written: {e.strerror}.") from e
        self._check()
        with as_export_error():
            self._place.commit()
        return Pack.load(self.target)

    def _keep(self, stage: StageSpec, path: Path) -> None:
        self._stages[stage.name] = replace(stage, path=path, sha256=sha256_of(path))

    def _check(self) -> None:
        for stage in Pack.load(self._folder).stages.values():
            with open_engine(stage, backend="onnxruntime", device="cpu") as engine:
                check_engine(stage, engine)


@contextmanager
def as_export_error() -> Iterator[None]:
    try:
        yield
    except BusyError:
        raise
    except WriteError as e:
        raise ExportError(str(e)) from e


def _is_pack(folder: Path) -> bool:
    return (folder / "pack.toml").is_file()


def stage_table(stage: StageSpec) -> dict[str, Any]:
    """A stage as ``[stages.NAME]`` of pack.toml has it: only what the stage uses."""
    table = {
        "file": stage.path.name,
        "sha256": stage.sha256,
        "precision": stage.precision,
        "size": stage.size,
        "template": stage.templates[0] if len(stage.templates) == 1 else list(stage.templates),
        "latent": stage.latent,
        "max_faces": stage.max_faces,
        "single": stage.single,
        "made_for": stage.made_for,
        **{name: getattr(stage, name) for name in sorted(stage.kind.defaults - {"offsets"})},
        "offsets": [list(pair) for pair in stage.offsets],
        "figures": dict(stage.figures),
    }
    # A weight of 0 is a weight; a threshold of 0 is none, and a key that is missing says so.
    said = ("weight", "fidelity", "likeness")
    return {key: value for key, value in table.items() if value or (key in said and value is not None)}
