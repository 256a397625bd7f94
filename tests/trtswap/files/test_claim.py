"""One writer at a time, in threads and processes; what the dead leave is removed, what belongs to the living is not."""

import errno
import fcntl
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from trtswap.errors import BusyError, WriteError
from trtswap.files import Claim, Target, TargetFolder, write_whole
from trtswap.files.names import key_of, lock_name, unfinished_name

from .conftest import Hold, names


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(10)


@pytest.mark.parametrize("path", ["out", "other/../out", "link"])
def test_the_second_of_two_threads_is_refused_at_once(path: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to("out")
    with Target(tmp_path / "out", overwrite=True) as first:
        with pytest.raises(BusyError, match="another thread or process is writing it at this moment"):
            Target(tmp_path / path, overwrite=True)
        first.write(b"first")
        first.commit()
    assert (tmp_path / "out").read_bytes() == b"first"
    write_whole(tmp_path / "out", b"next", overwrite=True)
    assert names(tmp_path) == ["link", "other", "out"]


def test_of_many_threads_one_wins_and_no_file_is_torn(tmp_path: Path) -> None:
    """Again and again: whoever is not refused has written all of it."""
    outcomes: list[bool] = []
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait(10)
        for _ in range(50):
            try:
                write_whole(tmp_path / "out", bytes([number]) * 10_000, overwrite=True)
                outcomes.append(True)
            except BusyError:
                outcomes.append(False)
            content = (tmp_path / "out").read_bytes()
            assert content == content[:1] * 10_000

    write_whole(tmp_path / "out", bytes(10_000))
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(outcomes) == 200
    assert outcomes.count(True) >= 50
    assert names(tmp_path) == ["out"]


def test_writers_of_different_files_in_one_folder_never_hinder_each_other(tmp_path: Path) -> None:
    """Though each looks whether the others are dead, and there is something dead to remove, too."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(50):
                (tmp_path / unfinished_name(f"dead {turn}", key_of(f"dead {turn}"))).touch()
                write_whole(tmp_path / str(number), str(turn), overwrite=True)
        except BaseException as error:  # noqa: BLE001 - shown by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    write_whole(tmp_path / "last", b"")
    assert names(tmp_path) == ["0", "1", "2", "3", "last"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_second_of_two_processes_is_refused_at_once(kind: str, hold: Hold, tmp_path: Path) -> None:
    process = hold(kind, tmp_path / "out")
    with pytest.raises(BusyError, match="another thread or process"):
        Target(tmp_path / "out", overwrite=True)
    with pytest.raises(BusyError, match="another thread or process"):
        TargetFolder(tmp_path / "out", overwrite=True)
    process.communicate("finish\n", timeout=10)
    assert names(tmp_path) == ["out"]
    assert process.returncode == 0


def test_two_containers_on_one_folder_are_refused_too(hold: Hold, tmp_path: Path) -> None:
    """They see it at different places, and have the same process numbers."""
    (tmp_path / "volume").mkdir()
    (tmp_path / "elsewhere").symlink_to("volume")
    hold("file", tmp_path / "volume" / "out")
    with pytest.raises(BusyError):
        Target(tmp_path / "elsewhere" / "out", overwrite=True)


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("next_target", ["out", "another"])
def test_the_next_run_in_the_folder_removes_what_the_dead_left(
    kind: str, next_target: str, hold: Hold, tmp_path: Path
) -> None:
    kill(hold(kind, tmp_path / "out"))
    assert len(names(tmp_path)) == 2, "there is nothing to remove"
    write_whole(tmp_path / next_target, b"next")
    assert names(tmp_path) == [next_target]


def test_what_belongs_to_the_living_and_to_users_stays(hold: Hold, tmp_path: Path) -> None:
    process = hold("file", tmp_path / "slow.mp4")
    mine = [".out.part", "mine.pth.part", ".trtswap-123.lock", ".pack-abcd1234", f".x.trtswap-{'0' * 16}-1.part"]
    for name in mine:
        (tmp_path / name).touch()
    before = names(tmp_path)
    for name in ("out", "slow.mkv"):
        write_whole(tmp_path / name, b"next")
    assert names(tmp_path) == sorted([*before, "out", "slow.mkv"])
    process.communicate("finish\n", timeout=10)
    assert names(tmp_path) == sorted([*mine, "out", "slow.mkv", "slow.mp4"])
    assert (tmp_path / "slow.mp4").read_bytes() == b"half"


def test_a_link_in_the_place_of_something_unfinished_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / unfinished_name("x", key_of("x"))).symlink_to("precious")
    write_whole(tmp_path / "out", b"")
    assert names(tmp_path) == ["out", "precious"]
    assert names(tmp_path / "precious") == ["file"]


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / lock_name(key_of("out"))).symlink_to("elsewhere")
    with pytest.raises(WriteError, match="cannot write into its folder"):
        Target(tmp_path / "out", overwrite=False)
    assert not (tmp_path / "elsewhere").exists()


def test_a_child_that_was_forked_meanwhile_keeps_no_lock(tmp_path: Path) -> None:
    claim = Claim(tmp_path / "out")
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    claim.release()
    Claim(tmp_path / "out").release()
    os.write(go[1], b"x")
    os.waitpid(child, 0)


def test_a_lock_that_its_holder_removes_between_opening_and_locking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever had opened the old file would hold a lock that keeps nobody out."""
    path = tmp_path / lock_name(key_of("out"))
    flock, removed = fcntl.flock, []

    def late(descriptor: int, operation: int) -> None:
        if not removed:
            path.unlink()
            removed.append(True)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    claim = Claim(tmp_path / "out")
    with pytest.raises(BusyError):
        Claim(tmp_path / "out")
    claim.release()
    assert names(tmp_path) == []


def test_without_locks_writers_stay_apart_and_nothing_is_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some network file systems."""
    left = tmp_path / unfinished_name("x", key_of("x"))
    left.touch()

    def none(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    first, second = (Target(tmp_path / "out", overwrite=False) for _ in range(2))
    first.write(b"first")
    second.write(b"second")
    second.commit()
    with pytest.raises(WriteError, match="appeared while it was being written"):
        first.commit()
    assert (tmp_path / "out").read_bytes() == b"second"
    assert left.exists()


def test_a_pipe_in_place_of_a_lock_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's, in a folder of both: it may be read and not be written."""
    os.mkfifo(tmp_path / lock_name("0123456789abcdef"), 0o444)
    real = os.open

    def refused(path: Any, flags: int, *rest: int) -> int:
        if str(path).endswith(lock_name("0123456789abcdef")) and flags & os.O_RDWR:
            raise PermissionError(13, "not yours", str(path))
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", refused)
    (tmp_path / unfinished_name("other", "0123456789abcdef", "part")).touch()
    with Claim(tmp_path / "mine"):
        pass
