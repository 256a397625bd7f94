"""The calibration table: which range each tensor of a pack's graphs has on real faces. JSON, small beside a pack."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtswap.errors import BusyError, CalibrationError, WriteError
from trtswap.files import Target, write_whole
from trtswap.files.tables import TableError, read_json
from trtswap.model.pack import Pack
from trtswap.model.stages import STAGES

FORMAT = 1
FILE = "calibration.json"
"""Name under which a pack carries its own table."""


@dataclass(frozen=True)
class TensorRange:
    """The values that a tensor takes.

    Attributes:
        low, high: smallest and largest over the faces of the clip.
        extreme: largest absolute value over pictures and latents that no clip has (black, white, noise ...).
    """

    low: float
    high: float
    extreme: float

    @property
    def absmax(self) -> float:
        """Largest absolute value over the faces of the clip."""
        return max(abs(self.low), abs(self.high))

    @property
    def bound(self) -> float:
        """Largest absolute value over everything that was run."""
        return max(self.absmax, self.extreme)


@dataclass(frozen=True)
class CalibrationTable:
    """Measured ranges of a pack.

    Attributes:
        pack: :func:`pack_hash` of the pack that was measured.
        clip: SHA-256 of the clip's file, or of the frames.
        times: of the frames that were used, in seconds; of frames without times, their numbers.
        faces: how many faces were in them.
        stages: per stage and tensor (by the name in the graph) its range; float tensors alone.
    """

    pack: str
    clip: str
    times: tuple[float, ...]
    faces: int
    stages: Mapping[str, Mapping[str, TensorRange]]

    def check(self, pack: Pack) -> None:
        """Refuse a pack that is not the one that was measured.

        Raises:
            CalibrationError: says so.
        """
        if (found := pack_hash(pack)) != self.pack:
            raise CalibrationError(
                f"the calibration table was measured on graphs with the hash {self.pack[:12]}…, those of pack "
                f"{pack.name} at {pack.path} have {found[:12]}…. Measure it again with `trtswap calibrate`."
            )

    def save(self, path: Path | Target, *, overwrite: bool = True) -> None:
        """Write the table as JSON, which replaces one that is there only once it is whole.

        Args:
            path: the file, or what was claimed for it before.
            overwrite: replace a file that is there.

        Raises:
            BusyError: somebody else writes this file.
            CalibrationError: the file cannot be written, or exists and is not to be replaced.
        """
        stages = {
            stage: {name: [_short(r.low), _short(r.high), _short(r.extreme)] for name, r in ranges.items()}
            for stage, ranges in self.stages.items()
        }
        head = {"format": FORMAT, "pack": self.pack, "clip": self.clip, "times": list(self.times), "faces": self.faces}
        text = json.dumps(head | {"stages": stages}, allow_nan=False, separators=(",", ":"))
        try:
            write_whole(path, text + "\n", overwrite=overwrite)
        except BusyError:
            raise
        except WriteError as e:
            raise CalibrationError(str(e)) from e

    @staticmethod
    def load(path: Path) -> "CalibrationTable":
        """Read a table back; every value is checked.

        Raises:
            CalibrationError: there is no such file, or it is no calibration table.
        """
        try:
            data = read_json(path)
        except TableError as e:
            raise CalibrationError(
                f"{path} cannot be read as a calibration table: {e}. Make it with `trtswap calibrate`."
            ) from e
        if data.get("format") != FORMAT:
            raise CalibrationError(
                f"{path} is no calibration table of format {FORMAT}. Make it with `trtswap calibrate`."
            )
        try:
            return CalibrationTable(
                pack=_hash(data["pack"]),
                clip=_hash(data["clip"]),
                times=tuple(_number(t) for t in data["times"]),
                faces=_count(data["faces"]),
                stages={
                    _stage(s): {str(n): _range(r) for n, r in ranges.items()} for s, ranges in data["stages"].items()
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise CalibrationError(
                f"{path} is a damaged calibration table: {e!r}. Make it again with `trtswap calibrate`."
            ) from e

    @staticmethod
    def of(pack: Pack) -> "CalibrationTable":
        """The table that a pack carries.

        Raises:
            CalibrationError: it carries none, or one that does not fit it.
        """
        path = pack.path / FILE
        if not path.is_file():
            raise CalibrationError(
                f"pack {pack.name} has no {FILE}. Measure its ranges: trtswap calibrate {pack.path} --video clip.mp4"
            )
        table = CalibrationTable.load(path)
        table.check(pack)
        return table


def pack_hash(pack: Pack) -> str:
    """SHA-256 over the names and hashes of a pack's own graphs."""
    lines = "".join(f"{name} {stage.sha256}\n" for name, stage in sorted(pack.stages.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _short(value: float) -> float:
    """Six digits are more than a range needs."""
    return float(f"{value:.6g}")


def _hash(value: Any) -> str:
    if not (isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")):
        raise ValueError(f"{value!r} is no SHA-256")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return float(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _stage(name: Any) -> str:
    if name not in STAGES:
        raise ValueError(f"{name!r} is no stage")
    return str(name)


def _range(values: Any) -> TensorRange:
    low, high, extreme = map(_number, values)
    if low > high or extreme < 0:
        raise ValueError(f"{values!r} is no range")
    return TensorRange(low, high, extreme)
