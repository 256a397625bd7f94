"""Opening and closing videos never stops the process: FFmpeg's threads have nothing to wait for the interpreter for."""

import subprocess
import sys
from pathlib import Path

OPENINGS = 1200


def test_openings_in_four_threads_with_swaps_in_between(cases: Path) -> None:
    """a05 froze the process after 72 to 2,470 openings, as long as FFmpeg's messages went through Python."""
    script = Path(__file__).with_name("openings.py")
    videos = [cases / name for name in ("a05_hevc10_whole.mp4", "flac_srt.mkv", "cut_same.mp4")]
    command = [sys.executable, script, *videos, "--openings", str(OPENINGS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{OPENINGS} openings")
    assert not done.stderr  # the library says nothing by itself
