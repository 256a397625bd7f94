"""Calibration tables on disk."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trtswap.calibration import CalibrationTable, TensorRange, pack_hash
from trtswap.errors import CalibrationError
from trtswap.model.pack import Pack

TABLE = CalibrationTable(
    "a" * 64, "b" * 64, (0.0, 1.25), 3, {"swap": {"x": TensorRange(-1.5, 0.1, 1e6), "y": TensorRange(0, 0, 0)}}
)


def test_a_table_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    TABLE.save(tmp_path / "table.json")
    assert CalibrationTable.load(tmp_path / "table.json") == TABLE


def test_a_full_disk_leaves_the_table_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.json"
    TABLE.save(path)

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CalibrationError, match=r"table\.json: cannot be written: No space left on device"):
        replace(TABLE, faces=4).save(path)
    assert CalibrationTable.load(path) == TABLE
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_is_replaced_where_that_is_wanted(tmp_path: Path) -> None:
    TABLE.save(tmp_path / "table.json")
    with pytest.raises(CalibrationError, match="exists already"):
        replace(TABLE, faces=4).save(tmp_path / "table.json", overwrite=False)
    replace(TABLE, faces=4).save(tmp_path / "table.json")
    assert CalibrationTable.load(tmp_path / "table.json").faces == 4


def test_bounds() -> None:
    assert (TensorRange(-3, 2, 1).absmax, TensorRange(-3, 2, 1).bound, TensorRange(-3, 2, 7).bound) == (3, 3, 7)


DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "format": lambda d: d.update(format=2),
    "hash": lambda d: d.update(pack="abc"),
    "no clip": lambda d: d.pop("clip"),
    "faces": lambda d: d.update(faces=True),
    "stage": lambda d: d["stages"].update(enhance={}),
    "turned range": lambda d: d["stages"]["swap"].update(x=[2, 1, 3]),
    "short range": lambda d: d["stages"]["swap"].update(x=[2, 3]),
    "text": lambda d: d["stages"]["swap"].update(x=["0", 1, 2]),
    "infinite": lambda d: d["stages"]["swap"].update(x=[0, float("inf"), 1]),
    "list": lambda d: d.update(stages=[]),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_tables_are_refused(damage: Callable[[dict[str, Any]], object], tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    TABLE.save(path)
    data = json.loads(path.read_text())
    damage(data)
    path.write_text(json.dumps(data))
    with pytest.raises(CalibrationError, match="trtswap calibrate"):
        CalibrationTable.load(path)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for name in ("text", "absent"):
        with pytest.raises(CalibrationError, match="cannot be read as a calibration table"):
            CalibrationTable.load(tmp_path / name)


def test_a_table_belongs_to_one_pack(identity_pack: Path, tmp_path: Path) -> None:
    pack = Pack.load(identity_pack)
    replace(TABLE, pack=pack_hash(pack)).check(pack)
    with pytest.raises(CalibrationError, match="Measure it again"):
        TABLE.check(pack)
    with pytest.raises(CalibrationError, match=r"has no calibration\.json"):
        CalibrationTable.of(replace(pack, path=tmp_path))
    TABLE.save(tmp_path / "calibration.json")
    with pytest.raises(CalibrationError, match="Measure it again"):
        CalibrationTable.of(replace(pack, path=tmp_path))
