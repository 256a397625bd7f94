"""A short run of the kills; the long one is by hand."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

KILLS = Path(__file__).with_name("kills.py")


def kill(*options: object) -> dict[str, Any]:
    command = [sys.executable, "-P", str(KILLS), *map(str, options)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    found: dict[str, Any] = json.loads(ran.stdout)["writers"]
    assert ran.returncode == any(one["faults"] for one in found.values())
    return found


def test_kills_leave_the_old_or_the_whole_file_and_nothing_after_the_next_run() -> None:
    found = kill("--kills", 10, "--seed", 1)
    assert {name: one["faults"] for name, one in found.items()} == {name: [] for name in found}
    assert sum(one["unfinished"] for one in found.values()) >= 4, "hardly a kill came while something was written"


def test_a_writer_that_writes_in_place_is_found_out() -> None:
    assert kill("--kills", 20, "--seed", 1, "--jobs", "bare")["bare"]["faults"]
