"""What several tests of writing share."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HOLD = """
import sys
from pathlib import Path
from trtswap.files import Target, TargetFolder

kind, path = sys.argv[1:]
place = Target(path, overwrite=True) if kind == "file" else TargetFolder(Path(path), overwrite=True)
(place.temporary if kind == "file" else place.temporary / "part").write_bytes(b"half")
print(place.temporary, flush=True)
if sys.stdin.readline():
    place.commit()
"""

Hold = Callable[[str, Path], subprocess.Popen[str]]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Another process that has half written a ``file`` or ``folder`` and waits; a line on its stdin lets it finish."""
    running: list[subprocess.Popen[str]] = []

    def start(kind: str, path: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", HOLD, kind, str(path)],
            text=True,
            errors="surrogateescape",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        running.append(process)
        assert process.stdout is not None
        assert ".part" in process.stdout.readline()
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))
