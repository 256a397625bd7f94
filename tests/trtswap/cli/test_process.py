"""What the command line sets for its process: each case in a process of its own."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import ctypes, pathlib, sys, threading
from trtswap.cli.process import bound_arenas

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
everyone = threading.Barrier(12)

def allocate():
    everyone.wait()
    for _ in range(100):
        libc.malloc(ctypes.c_size_t(50_000))
    everyone.wait()

if sys.argv[2] == "bounded":
    print(bound_arenas())
threads = [threading.Thread(target=allocate) for _ in range(12)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
print(pathlib.Path(sys.argv[1]).read_text().count("<heap "))
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


def run(folder: Path, bounded: str, **environment: str) -> list[str]:
    """What ``bound_arenas`` returned, where it was called, and how many heaps twelve threads made."""
    kept = {name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")}
    command = [sys.executable, "-P", "-c", SCRIPT, str(folder / "heaps.xml"), bounded]
    return subprocess.check_output(command, text=True, env=kept | environment).split()


@glibc
def test_threads_share_two_heaps(tmp_path: Path) -> None:
    assert run(tmp_path, "bounded") == ["True", "2"]
    assert int(*run(tmp_path, "as it is")) > 2


@glibc
@pytest.mark.parametrize(
    "chosen",
    [{"MALLOC_ARENA_MAX": "5"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=5"}],
    ids=lambda chosen: next(iter(chosen)),
)
def test_a_number_that_the_user_chose_stays(tmp_path: Path, chosen: dict[str, str]) -> None:
    assert run(tmp_path, "bounded", **chosen) == ["False", "5"]


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from trtswap.cli import process

    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not process.bound_arenas()


def test_the_command_line_sets_both() -> None:
    script = """
import os
from trtswap.cli import main, process
process.bound_arenas = lambda: print("bounded")
try:
    main(["--version"])
finally:
    print(os.environ["OMP_WAIT_POLICY"], os.environ["SVT_LOG"])
"""
    kept = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | {"SVT_LOG": "3"}
    said = subprocess.check_output([sys.executable, "-P", "-c", script], text=True, env=kept).split()
    assert said[0] == "bounded"
    assert said[-2:] == ["PASSIVE", "3"]
