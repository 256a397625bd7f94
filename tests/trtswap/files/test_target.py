"""A file is written whole or not at all, under any name, with the right mode, and never in place of somebody's work."""

import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from trtswap.errors import WriteError
from trtswap.files import Target, moves, write_whole

from ...conftest import no_file_beyond
from .conftest import names

NAMES = [
    "out.bin",
    "x" * 251 + ".mp4",
    "ä" * 125 + ".mp4",
    os.fsdecode(b"caf\xe9.mp4"),
    os.fsdecode(b"\xff" * 255),
    "a\nb",
]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_any_name_that_the_file_system_takes(name: str, tmp_path: Path) -> None:
    write_whole(tmp_path / name, b"new")
    assert names(tmp_path) == [name]
    write_whole(tmp_path / name, "newer", overwrite=True)
    assert (tmp_path / name).read_bytes() == b"newer"


@pytest.mark.parametrize("name", ["x" * 256, "y" * 5000, "a\0b", ""])
def test_a_name_that_it_does_not_take_is_refused_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(WriteError):
        Target(tmp_path / name, overwrite=True)
    assert names(tmp_path) == []


def test_text_of_names_that_are_no_text(tmp_path: Path) -> None:
    write_whole(tmp_path / "page", "<h1>caf\udce9 ä</h1>")
    assert (tmp_path / "page").read_text("utf-8") == "<h1>caf\\udce9 ä</h1>"


@pytest.mark.usefixtures("umask")
def test_a_new_file_gets_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    write_whole(tmp_path / "new", b"")
    write_whole(tmp_path / "newer", b"", overwrite=True)
    assert mode(tmp_path / "new") == mode(tmp_path / "newer") == 0o640


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("before", [0o600, 0o644, 0o666, 0o444, 0o755, 0o000])
def test_a_file_that_is_replaced_keeps_its_mode_and_is_private_meanwhile(before: int, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    path.chmod(before)
    with Target(path, overwrite=True) as target:
        assert mode(target.temporary) == 0o600
        target.write(b"new")
        target.commit()
    assert mode(path) == before
    path.chmod(0o600)
    assert path.read_bytes() == b"new"


@pytest.mark.usefixtures("umask")
def test_a_file_that_vanishes_meanwhile_hands_on_no_mode(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.touch(0o600)
    with Target(path, overwrite=True) as target:
        path.unlink()
        target.commit()
    assert mode(path) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_is_replaced_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.touch()
    os.chown(path, 1234, 2345)
    write_whole(path, b"new", overwrite=True)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


@pytest.mark.parametrize(("before", "after"), [(0o664, 0o644), (0o660, 0o600), (0o666, 0o666), (0o640, 0o600)])
def test_another_group_gets_no_more_than_everybody(
    before: int, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    path.touch()
    path.chmod(before)
    old = path.stat()
    monkeypatch.setattr(os, "fchown", lambda *_: (_ for _ in ()).throw(PermissionError(1, "Operation not permitted")))
    other = os.stat_result([old.st_mode, *old[1:4], old.st_uid + 1, old.st_gid + 1, *old[6:]])
    descriptor = os.open(path, os.O_RDONLY)
    moves.inherit(descriptor, other)
    os.close(descriptor)
    assert mode(path) == after


def test_of_a_link_the_file_that_it_names_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/file")
    with pytest.raises(WriteError, match="exists already"):
        write_whole(tmp_path / "link", b"new")
    for content in (b"new", b"newer"):  # where nothing is yet, and where something is
        write_whole(tmp_path / "link", content, overwrite=True)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real" / "file").read_bytes() == content
    assert names(tmp_path / "real") == ["file"]


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    cases = {"pipe": "is a device, a pipe or a socket", "folder": "is a folder", "circle": "leads in a circle"}
    for name, message in cases.items():
        with pytest.raises(WriteError, match=message):
            Target(tmp_path / name, overwrite=True)
    with pytest.raises(WriteError, match="is a device"):
        Target("/dev/null", overwrite=True)
    assert names(tmp_path) == sorted(cases)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_target_that_becomes_a_folder_does_not_cost_the_finished_file(overwrite: bool, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    target = Target(path, overwrite=overwrite)
    target.write(b"finished")
    path.mkdir()
    with pytest.raises(WriteError, match=r"what was finished is .*/out\.trtswap-[0-9a-f]{12}\.mp4$") as caught:
        target.commit()
    target.discard()
    kept = Path(str(caught.value).rpartition("what was finished is ")[2])
    write_whole(tmp_path / "next", b"")
    assert kept.read_bytes() == b"finished"
    assert names(tmp_path) == sorted(["next", "out.mp4", kept.name])


def test_a_file_that_appears_meanwhile_is_left_alone_and_the_finished_one_kept(tmp_path: Path) -> None:
    target = Target(tmp_path / "out", overwrite=False)
    target.write(b"finished")
    (tmp_path / "out").write_bytes(b"precious")
    with pytest.raises(WriteError, match="appeared while it was being written and was left alone; what was") as caught:
        target.commit()
    assert (tmp_path / "out").read_bytes() == b"precious"
    assert Path(str(caught.value).rpartition("what was finished is ")[2]).read_bytes() == b"finished"


def test_a_folder_that_vanishes_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target = Target(tmp_path / "folder" / "out", overwrite=False)
    target.write(b"finished")
    shutil.rmtree(tmp_path / "folder")
    with pytest.raises(WriteError, match="cannot finish it: No such file or directory"):
        target.commit()
    with pytest.raises(WriteError, match="there is no folder"):
        Target(tmp_path / "folder" / "out", overwrite=False)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    with no_file_beyond(1000), pytest.raises(WriteError, match="out: cannot be written: File too large"):
        write_whole(tmp_path / "out", bytes(2000), overwrite=True)
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"old"


def test_a_disk_that_fills_up_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(WriteError, match="out: cannot finish it: No space left on device"):
        write_whole(tmp_path / "out", b"new", overwrite=True)
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"old"


def test_whoever_owns_it_can_discard_it_from_another_thread(tmp_path: Path) -> None:
    target = Target(tmp_path / "out", overwrite=False)
    thread = threading.Thread(target=target.discard)
    thread.start()
    thread.join(10)
    assert names(tmp_path) == []
    with pytest.raises(WriteError):
        target.commit()
    target.discard()
    write_whole(tmp_path / "out", b"next")


def test_a_file_of_one_s_own_is_no_target(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"source")
    os.link(tmp_path / "in", tmp_path / "same")
    for name in ("in", "same"):
        with pytest.raises(WriteError, match="is the source itself"):
            Target(tmp_path / name, overwrite=True, source=tmp_path / "in")


def test_all_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def replaced(one: Path, other: Path) -> None:
        done.append("rename")
        replace(one, other)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    write_whole(tmp_path / "out", b"new", overwrite=True)
    assert done == ["file", "rename", "folder"]
