"""A folder is replaced whole or not at all, and only where that was asked for."""

import os
import stat
from pathlib import Path

import pytest

from trtswap.errors import BusyError, WriteError
from trtswap.files import TargetFolder, folder, write_whole
from trtswap.files.names import key_of, unfinished_name

from .conftest import names


def make(path: Path, content: str, *, overwrite: bool = True) -> None:
    with TargetFolder(path, overwrite=overwrite) as place:
        (place.temporary / "below").mkdir()
        (place.temporary / "below" / "file").write_text(content)
        place.commit()


def content(path: Path) -> str:
    return (path / "below" / "file").read_text()


@pytest.fixture(params=["in one step", "in two steps"])
def _steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every file system can swap two names."""
    if request.param == "in two steps":
        monkeypatch.setattr(folder, "exchange", lambda one, other: False)


@pytest.mark.usefixtures("_steps")
def test_a_folder_is_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "pack"
    make(path, "one", overwrite=False)
    path.chmod(0o750)
    make(path, "two")
    assert content(path) == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert names(tmp_path / "new") == ["pack"]


def test_the_names_are_swapped_in_one_step_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "pack", "one")
    swapped: list[bool] = []
    original = folder.exchange
    monkeypatch.setattr(folder, "exchange", lambda one, other: swapped.append(original(one, other)) or swapped[-1])
    make(tmp_path / "pack", "two")
    assert swapped == [True]


def test_of_a_link_the_folder_that_it_names_is_replaced(tmp_path: Path) -> None:
    make(tmp_path / "real" / "pack", "one")
    (tmp_path / "link").symlink_to("real/pack")
    make(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real" / "pack") == "two"
    assert names(tmp_path / "real") == ["pack"]


def test_leaving_without_commit_leaves_nothing(tmp_path: Path) -> None:
    with TargetFolder(tmp_path / "pack", overwrite=False) as place:
        (place.temporary / "file").touch()
        with pytest.raises(BusyError):
            TargetFolder(tmp_path / "pack", overwrite=False)
    assert names(tmp_path) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_appears_meanwhile_is_left_alone_and_the_finished_folder_kept(overwrite: bool, tmp_path: Path) -> None:
    place = TargetFolder(tmp_path / "pack", overwrite=overwrite, replaceable=lambda path: (path / "below").is_dir())
    (place.temporary / "file").touch()
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "precious").touch()
    with pytest.raises(WriteError, match=r"exists .*; what was finished is .*/pack\.trtswap-[0-9a-f]{12}$") as caught:
        place.commit()
    place.discard()
    write_whole(tmp_path / "next", b"")
    assert names(tmp_path / "pack") == ["precious"]
    assert names(Path(str(caught.value).rpartition("what was finished is ")[2])) == ["file"]


def test_a_disk_that_fills_up_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "pack", "one")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(WriteError, match="pack: cannot finish it: No space left on device"):
        make(tmp_path / "pack", "two")
    assert content(tmp_path / "pack") == "one"
    assert names(tmp_path) == ["pack"]


def test_a_folder_that_a_dead_writer_moved_away_is_put_back(tmp_path: Path) -> None:
    make(tmp_path / "pack", "one")
    aside = tmp_path / unfinished_name("pack", key_of("pack"), "old")
    (tmp_path / "pack").rename(aside)
    write_whole(tmp_path / "other", b"")
    assert aside.exists(), "only the next writer of this folder knows where it belongs"
    with pytest.raises(WriteError, match="exists already"):
        TargetFolder(tmp_path / "pack", overwrite=False)
    assert content(tmp_path / "pack") == "one"
    assert names(tmp_path) == ["other", "pack"]


def test_a_folder_that_was_replaced_already_is_not_put_back(tmp_path: Path) -> None:
    make(tmp_path / unfinished_name("pack", key_of("pack"), "old"), "one")
    make(tmp_path / "pack", "two")
    assert content(tmp_path / "pack") == "two"
    assert names(tmp_path) == ["pack"]


def test_a_rename_that_fails_brings_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "pack", "one")
    monkeypatch.setattr(folder, "exchange", lambda one, other: False)
    rename, calls = os.rename, []

    def second_fails(one: Path, other: Path) -> None:
        calls.append(other)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        rename(one, other)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(WriteError, match="cannot get its name: Input/output error; what was finished is"):
        make(tmp_path / "pack", "two")
    assert content(tmp_path / "pack") == "one"
