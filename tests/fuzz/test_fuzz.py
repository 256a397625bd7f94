"""A short campaign with every test run, and that the campaign would see a fault of each sort."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from trtswap.errors import InputError

from . import farm, mutate
from .kinds import KINDS, Kind
from .run import seeds

CASES = 1500
REPOSITORY = Path(__file__).parents[2]


def test_nothing_but_our_own_errors_comes_out() -> None:
    """As ``make fuzz`` does it, in a process of its own: this one has threads, and a fork would keep their locks."""
    script = f"import sys; sys.path.append({str(REPOSITORY)!r}); from tests.fuzz.run import main; main()"
    command = [sys.executable, "-P", "-c", script, "--cases", str(CASES), "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["faults"] == []
    assert found["cases"] > 0.95 * CASES
    assert {name.partition(":")[0] for name in found["outcomes"]} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_undamaged_is_taken(kind: str, tmp_path: Path) -> None:
    """Else the campaign would only try how things are refused."""
    made = seeds(kind, tmp_path)
    assert made
    for number, seed in enumerate(made):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / seed.name
        path.write_bytes(seed.read_bytes())
        for turn in range(3):
            KINDS[kind].use(path, Random(turn))


class Faulty(Kind):
    """Ends as its input says, every fourth time well."""

    name, ways = "faulty", ("ok", "ours", "error", "crash", "exit", "hang")

    def seeds(self, folder: Path) -> list[Path]:
        (folder / "a").write_bytes(b"a")
        return [folder / "a"]

    def mutated(self, data: bytes, rng: Random) -> bytes:
        return rng.choice(self.ways).encode()

    def use(self, path: Path, rng: Random) -> None:
        way = path.read_text()
        if way == "ours":
            raise InputError("as it should be")
        if way == "error":
            raise KeyError("not ours")
        if way == "crash":
            os.abort()
        if way == "exit":
            os._exit(3)
        if way == "hang":
            time.sleep(100)


def test_every_sort_of_fault_is_seen_and_the_next_case_is_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(KINDS, "faulty", Faulty())
    monkeypatch.setattr(farm, "MOST_SECONDS", 0.5)
    bases = seeds("faulty", tmp_path)
    found = farm.run("faulty", range(40), 0, bases)
    expected: dict[str, int] = {}
    for number in range(40):
        folder = tmp_path / f"case{number}"
        folder.mkdir()
        path, _ = farm.case("faulty", number, 0, bases, folder)
        way = {"ours": "refused"}.get(path.read_text(), path.read_text())
        expected[way] = expected.get(way, 0) + 1
    assert {word: count for (_, word), count in found.outcomes.items()} == expected
    assert set(expected) == {"ok", "refused", "error", "crash", "exit", "hang"}
    said = {fault.what.partition(" ")[0]: fault.what for fault in found.faults}
    assert said["crash"] == "crash SIGABRT"
    assert said["error"].startswith("error KeyError: \"'not ours'\" at ")
    assert said["hang"] == "hang over 0.5 s"


def test_a_case_is_decided_by_its_number(tmp_path: Path) -> None:
    bases = seeds("picture", tmp_path)
    made: list[list[Any]] = []
    for turn in range(2):
        folder = tmp_path / str(turn)
        folder.mkdir()
        cases = (farm.case("picture", number, 7, bases, folder)[0] for number in range(50))
        made.append([(path.name, path.read_bytes()) for path in cases])
    assert made[0] == made[1]
    assert len({data for _, data in made[0]}) > 40


@pytest.mark.parametrize("mutator", mutate.ON_BYTES)
def test_mutators_of_bytes_change_something(mutator: mutate.Bytes) -> None:
    data = bytes(range(1, 200)) * 40
    assert sum(mutator(Random(n), bytearray(data)) != data for n in range(50)) > 25


@pytest.mark.parametrize("mutator", mutate.ON_TEXT)
def test_mutators_of_text_change_something(mutator: mutate.Text) -> None:
    text = '[a]\nb = 1\nc = "d"\n"e": -2.5,\n'
    assert sum(mutator(Random(n), text) != text for n in range(50)) > 25
