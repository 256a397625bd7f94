"""Compiled graphs on disk: read again, never when damaged, and made by one of several at once."""

import logging
import threading
from pathlib import Path

import pytest
import torch

from trtswap import Pack
from trtswap.backends import OpenVinoOptions, open_engine
from trtswap.backends.compiled import SEAL, compile_once, entry_of, is_intact
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
def test_what_was_kept_gives_the_same_bits(stage: str, folder: Path) -> None:
    spec = Pack.load(SHIPPED / "avatar").stages[stage]
    plain, first = run(spec, None), run(spec, spec.sha256)
    (entry,) = folder.iterdir()
    assert is_intact(entry)
    times = [p.stat().st_mtime_ns for p in entry.iterdir()]
    again = run(spec, spec.sha256)
    assert times == [p.stat().st_mtime_ns for p in entry.iterdir()]  # nothing was compiled again
    for other in (first, again):
        assert all(torch.equal(plain[name], other[name]) for name in plain)


def test_a_damaged_entry_is_made_again(folder: Path, small: Pack) -> None:
    spec = small.stages["swap"]
    expected = run(spec, spec.sha256)
    (entry,) = folder.iterdir()
    (blob,) = (p for p in entry.iterdir() if p.name != SEAL)
    data = bytearray(blob.read_bytes())
    for place in range(len(data) // 2, len(data) // 2 + 512):
        data[place] ^= 0xFF
    blob.chmod(0o600)
    blob.write_bytes(data)
    assert not is_intact(entry)
    assert all(torch.equal(v, expected[k]) for k, v in run(spec, spec.sha256).items())
    assert is_intact(entry)
    assert list(folder.iterdir()) == [entry]


def test_who_makes_it_decides_its_name(tmp_path: Path) -> None:
    one = entry_of("a" * 64, {"openvino": "1", "settings": {"x": 1}}, tmp_path)
    assert one == entry_of("a" * 64, {"settings": {"x": 1}, "openvino": "1"}, tmp_path)
    assert (
        len({one, entry_of("b" * 64, {"openvino": "1"}, tmp_path), entry_of("a" * 64, {"openvino": "2"}, tmp_path)})
        == 3
    )


def test_several_at_once_leave_one_whole_entry(tmp_path: Path) -> None:
    entry, both = tmp_path / "c" / "entry", threading.Barrier(2)

    def compile_(place: Path | None) -> None:
        assert place is not None
        (place / "blob").write_bytes(b"x" * 1000)
        both.wait(10)

    threads = [threading.Thread(target=compile_once, args=(entry, compile_)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert is_intact(entry)
    assert list(entry.parent.iterdir()) == [entry]


def test_a_failed_compilation_leaves_nothing(tmp_path: Path) -> None:
    def broken(place: Path | None) -> None:
        assert place is not None
        (place / "blob").write_bytes(b"half")
        raise MemoryError

    with pytest.raises(MemoryError):
        compile_once(tmp_path / "entry", broken)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said_and_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING, logger="trtswap.compiled"):
        assert compile_once(tmp_path / "file" / "entry", lambda place: place) is None
    assert "compiled graphs are not kept" in caplog.text
