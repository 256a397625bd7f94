"""Ctrl-C from the command's first moments on: it ends soon, with the shell's number for it, and without a traceback."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MARK = "import os, trtswap_command as c; c.end_at_signals(); os.write(2, b'begun\\n'); c.main()"
# Seconds after the command's own first lines; importing everything takes one to three.
MOMENTS = (0.0, 0.01, 0.05, 0.15, 0.3, 0.6, 1.0, 1.5, 2.2)
SOON = 2.0  # a second, and one for a busy machine


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_of_the_start(number: signal.Signals, data: Path, tmp_path: Path) -> None:
    arguments = ["swap", data / "presenter.mp4", "-s", data / "astronaut.png", "-o", tmp_path / "out.mp4"]
    for moment in MOMENTS:
        command = [sys.executable, "-c", MARK, *map(str, arguments)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            assert running.stderr is not None
            assert running.stderr.readline() == "begun\n"
            time.sleep(moment)
            running.send_signal(number)
            sent = time.monotonic()
            _, said = running.communicate(timeout=60)
            took = time.monotonic() - sent
        assert running.returncode == 128 + number, (moment, said)
        assert "Traceback" not in said
        assert "nternal" not in said
        assert took < SOON, (moment, took)
    assert not (tmp_path / "out.mp4").exists()
