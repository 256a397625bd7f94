"""Two swaps to one file and two exports of one pack, by threads and by processes: one wins, the other says why."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from trtswap.errors import BusyError, ExportError
from trtswap.export.writer import PackWriter
from trtswap.model.pack import Pack
from trtswap.options import RuntimeOptions
from trtswap.packs import find_pack, sample_sources
from trtswap.session.observers import Observer
from trtswap.swapper import Swapper
from trtswap.video.reader import VideoReader

from .conftest import names

CLIP = find_pack("avatar") / "samples" / "clip.mp4"
BUSY = "another thread or process is writing it at this moment"


class Paused(Observer):
    """Holds a swap up in the midst of it."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def stage(self, name: str) -> None:
        if name == "swap":
            self.begun.set()
            assert self.go_on.wait(60)


def swap_to(path: Path, *observers: Observer, overwrite: bool = False) -> None:
    options = RuntimeOptions(restore=False, threads=1, batch=2)
    with Swapper("avatar", backend="onnxruntime", runtime=options) as swapper:
        who = swapper.identity(sample_sources("avatar")[0])
        swapper.swap_video(CLIP, path, who, end=0.2, overwrite=overwrite, preset="ultrafast", observers=observers)


def export_to(path: Path, *, overwrite: bool = False, version: str = "1") -> None:
    with PackWriter(path, overwrite=overwrite) as writer:
        for stage in Pack.load(find_pack("avatar")).stages.values():
            writer.copy(stage)
        writer.finish(name="copy", version=version, licence="CC0", description="", weights={})


def is_video(path: Path) -> None:
    with VideoReader(path) as reader:
        assert sum(len(frames) for frames in reader) > 2


SCRIPTS = {
    "swap": """
import sys
from pathlib import Path
from trtswap import Swapper, RuntimeOptions, Observer
from trtswap.packs import find_pack, sample_sources

class Paused(Observer):
    said = False
    def stage(self, name):
        if name == "swap" and not self.said:
            self.said = True
            print("begun", flush=True)
            sys.stdin.readline()

with Swapper("avatar", backend="onnxruntime", runtime=RuntimeOptions(restore=False, threads=1, batch=2)) as swapper:
    who = swapper.identity(sample_sources("avatar")[0])
    clip = find_pack("avatar") / "samples" / "clip.mp4"
    swapper.swap_video(clip, Path(sys.argv[1]), who, end=0.2, preset="ultrafast", observers=[Paused()])
""",
    "export": """
import sys
from pathlib import Path
from trtswap.export.writer import PackWriter
from trtswap.model.pack import Pack
from trtswap.packs import find_pack

with PackWriter(Path(sys.argv[1]), overwrite=False) as writer:
    for stage in Pack.load(find_pack("avatar")).stages.values():
        writer.copy(stage)
    print("begun", flush=True)
    sys.stdin.readline()
    writer.finish(name="copy", version="1", licence="CC0", description="", weights={})
""",
}
WORK: dict[str, Callable[[Path], None]] = {"swap": swap_to, "export": export_to}
WHOLE: dict[str, Callable[[Path], object]] = {"swap": is_video, "export": Pack.load}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_of_two_processes_one_wins(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with subprocess.Popen(
        [sys.executable, "-P", "-c", SCRIPTS[kind], str(path)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "begun\n"
        with pytest.raises(BusyError, match=BUSY):
            WORK[kind](path)
        first.communicate("go on\n", timeout=60)
    assert first.returncode == 0
    assert names(tmp_path) == ["out.mp4"]
    WHOLE[kind](path)


def test_of_two_swaps_in_two_threads_one_wins(tmp_path: Path) -> None:
    path, paused = tmp_path / "out.mp4", Paused()
    first = threading.Thread(target=swap_to, args=(path, paused))
    first.start()
    assert paused.begun.wait(60)
    with pytest.raises(BusyError, match=BUSY):
        swap_to(path, overwrite=True)
    paused.go_on.set()
    first.join(60)
    assert names(tmp_path) == ["out.mp4"]
    is_video(path)


def test_of_two_exports_in_two_threads_one_wins_and_none_is_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "pack"
    with PackWriter(path, overwrite=False) as first:
        for overwrite in (False, True):
            outcome: list[BaseException] = []

            def second(overwrite: bool = overwrite, outcome: list[BaseException] = outcome) -> None:
                try:
                    export_to(path, overwrite=overwrite)
                except BusyError as error:
                    outcome.append(error)

            thread = threading.Thread(target=second)
            thread.start()
            thread.join(60)
            assert BUSY in str(outcome[0])
        for stage in Pack.load(find_pack("avatar")).stages.values():
            first.copy(stage)
        first.finish(name="first", version="1", licence="CC0", description="", weights={})
    with pytest.raises(ExportError, match="exists"):
        export_to(path)
    assert Pack.load(path).name == "first"
    export_to(path, overwrite=True, version="2")
    assert (Pack.load(path).name, Pack.load(path).version) == ("copy", "2")
    assert names(tmp_path) == ["pack"]


def test_a_pack_that_appears_while_another_is_exported_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pack"
    with PackWriter(path, overwrite=False) as writer:
        for stage in Pack.load(find_pack("avatar")).stages.values():
            writer.copy(stage)
        export_to(tmp_path / "another")
        (tmp_path / "another").rename(path)
        with pytest.raises(ExportError, match=r"exists already.*; what was finished is .*pack\.trtswap-[0-9a-f]{12}"):
            writer.finish(name="late", version="1", licence="CC0", description="", weights={})
    assert Pack.load(path).name == "copy"
    (kept,) = (tmp_path / name for name in names(tmp_path) if name != "pack")
    assert Pack.load(kept).name == "late"


def test_an_unfinished_pack_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trtswap.packs import installed_packs

    monkeypatch.setenv("TRTSWAP_PACKS", str(tmp_path))
    with PackWriter(tmp_path / "mine", overwrite=False) as writer:
        for stage in Pack.load(find_pack("avatar")).stages.values():
            writer.copy(stage)
        (tmp_path / names(tmp_path)[0] / "pack.toml").touch()
        assert set(installed_packs()) == {"avatar", "mesh"}
