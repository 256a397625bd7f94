"""Compiled graphs on disk: read again, never when damaged, made by one of several at once, and not without end."""

import logging
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from trtswap import Pack
from trtswap.backends import OpenVinoOptions, open_engine
from trtswap.backends.compiled import compile_once, entry_of, make_room, read
from trtswap.model.pack import StageSpec
from trtswap.packs import SHIPPED


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRTSWAP_COMPILED", str(tmp_path / "compiled"))
    return tmp_path / "compiled"


def run(spec: StageSpec, kept_as: str | None) -> dict[str, torch.Tensor]:
    pytest.importorskip("openvino")
    from trtswap.export.build import example_inputs

    with open_engine(spec, backend="openvino", device="cpu", options=OpenVinoOptions(kept_as=kept_as)) as engine:
        return {name: value.clone() for name, value in engine(**example_inputs(spec, 3)).items()}


@pytest.mark.parametrize("stage", ["detect", "swap", "restore"])
def test_what_was_kept_gives_the_same_bits(
    stage: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a copy of the pack with another time, too: an entry is of the graph's content."""
    spec = Pack.load(SHIPPED / "avatar").stages[stage]
    plain, first = run(spec, None), run(spec, spec.sha256)
    (entry,) = folder.iterdir()
    assert read(entry) is not None
    copy = tmp_path / "elsewhere.onnx"
    shutil.copyfile(spec.path, copy)
    os.utime(copy, (0, 0))
    monkeypatch.setattr("openvino.Core.compile_model", None)  # nothing is compiled again
    again = run(replace(spec, path=copy), spec.sha256)
    assert list(folder.iterdir()) == [entry]
    for other in (first, again):
        assert all(torch.equal(plain[name], other[name]) for name in plain)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_entry_is_made_again(damage: str, folder: Path, small: Pack) -> None:
    spec = small.stages["swap"]
    expected = run(spec, spec.sha256)
    (entry,) = folder.iterdir()
    data = bytearray(entry.read_bytes())
    for place in range(len(data) // 2, len(data) // 2 + 512):
        data[place] ^= 0xFF
    entry.write_bytes({"flipped": data, "cut": data[: len(data) // 2], "empty": b""}[damage])
    assert read(entry) is None
    assert all(torch.equal(v, expected[k]) for k, v in run(spec, spec.sha256).items())
    assert read(entry) is not None
    assert list(folder.iterdir()) == [entry]


def test_who_makes_it_decides_its_name(tmp_path: Path) -> None:
    one = entry_of("a" * 64, {"openvino": "1", "settings": {"x": 1}}, tmp_path)
    assert one == entry_of("a" * 64, {"settings": {"x": 1}, "openvino": "1"}, tmp_path)
    assert (
        len({one, entry_of("b" * 64, {"openvino": "1"}, tmp_path), entry_of("a" * 64, {"openvino": "2"}, tmp_path)})
        == 3
    )


def made(entry: Path, data: bytes) -> bytes:
    return compile_once(entry, lambda: data, lambda compiled: compiled, lambda kept: b"kept " + kept.tobytes())


def test_several_at_once_leave_one_whole_entry(tmp_path: Path) -> None:
    entry, both = tmp_path / "c" / "entry.compiled", threading.Barrier(2)

    def compile_() -> bytes:
        both.wait(10)
        return b"x" * 1000

    work = (entry, compile_, bytes, np.ndarray.tobytes)
    threads = [threading.Thread(target=compile_once, args=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert made(entry, b"") == b"kept " + b"x" * 1000
    assert list(entry.parent.iterdir()) == [entry]


def test_those_used_longest_ago_go_first(tmp_path: Path) -> None:
    entries = [tmp_path / f"{number}.compiled" for number in range(4)]
    for age, entry in enumerate(entries):
        assert made(entry, bytes(100)) == bytes(100)
        os.utime(entry, (1000 + age, 1000 + age))
    assert made(entries[0], b"") == b"kept " + bytes(100)  # used now
    (tmp_path / "mine.txt").write_bytes(bytes(1000))
    make_room(tmp_path, most_bytes=300)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.compiled", "3.compiled", "mine.txt"]
    make_room(tmp_path, most_bytes=1)
    assert entries[0].exists()  # the latest stays, however large


def test_a_failed_compilation_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        compile_once(tmp_path / "entry", broken, lambda _: b"", lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said_and_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING, logger="trtswap.compiled"):
        assert made(tmp_path / "file" / "entry", b"made") == b"made"
    assert "a compiled graph is not kept" in caplog.text


def test_a_folder_that_can_only_be_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = tmp_path / "a.compiled"
    assert made(entry, b"made") == b"made"

    def refused(path: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refused)
    assert made(entry, b"") == b"kept made"
