"""The command as a whole: start, help, exit codes, errors."""

import json
import subprocess
import sys
from typing import get_args

import pytest

import trtswap
from trtswap.backends import BACKENDS
from trtswap.cli import options
from trtswap.errors import TrtswapError

from .conftest import Run

COMMANDS = ("swap", "detect", "embed", "export", "config", "build-engines", "engines", "weights", "pack", "doctor")


def test_version(run: Run) -> None:
    ran = run("--version")
    assert (ran.code, ran.out) == (0, f"trtswap {trtswap.__version__}\n")


def test_help_lists_the_commands(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0
    assert all(command in ran.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run: Run, command: str) -> None:
    assert run(command, "--help").code == 0


def test_help_is_quick() -> None:
    """Processor time, which other work on the machine leaves alone: importing PyTorch alone takes two seconds."""
    script = "import sys, time, trtswap.cli; print(time.process_time(), 'torch' in sys.modules)"
    seconds, torch_is_in = subprocess.check_output([sys.executable, "-P", "-c", script], text=True).split()
    assert torch_is_in == "False"
    assert float(seconds) < 0.5


@pytest.mark.parametrize(
    "arguments",
    [
        ("swop",),
        ("swap",),
        ("swap", "a.mp4", "--no-such-option"),
        ("swap", "a.mp4", "-s", "b.png", "--backend", "magic"),
        ("swap", "a.mp4", "-s", "b.png", "--start", "soon"),
        ("swap", "a.mp4", "-s", "b.png", "--smooth", "-1"),
        ("swap", "a.mp4", "-s", "b.png", "--feather", "3"),
        ("swap", "a.mp4", "-s", "b.png", "-e", "film"),
        ("swap", "a.mp4", "-s", "b.png", "--source-face", "first"),
        ("swap", "a.mp4", "-s", "b.png", "--threads", "0"),
        ("swap", "a.mp4", "-s", "b.png", "--workers", "0"),
        ("swap", "a.png", "-s", "b.png", "--workers", "2"),
        ("swap", "a.mp4", "--map", "b.png=c.png"),
        ("detect",),
        ("detect", "a.png", "--start", "1"),
    ],
)
def test_wrong_usage_exits_2(run: Run, arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert "Usage: trtswap" in ran.err


def test_an_error_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, TrtswapError("a.mp4 [1]: is no video"))
    ran = run("doctor")
    assert (ran.code, ran.out, ran.err) == (1, "", "Error: a.mp4 [1]: is no video\n")


def test_a_bug_is_one_line_that_says_how_to_learn_more(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, KeyError("x"))
    ran = run("doctor")
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "a bug in trtswap: KeyError: 'x'" in ran.err
    assert "--debug" in ran.err


@pytest.mark.parametrize("arguments", [("--debug", "doctor"), ("doctor", "--debug")])
def test_debug_shows_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    _fail_with(monkeypatch, KeyError("x"))
    with pytest.raises(SystemExit):
        trtswap.cli.main(arguments)
    assert "Traceback" in capsys.readouterr().err


def _fail_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("trtswap.cli.machine.versions", fail)


def test_doctor(run: Run) -> None:
    facts = json.loads(run("doctor", "--json").out)
    assert facts["versions"]["trtswap"] == trtswap.__version__
    assert facts["auto"]["backend"] in BACKENDS
    encoders = {encoder["name"]: encoder["problem"] for encoder in facts["encoders"]}
    assert encoders["libx264"] is None
    said = run("doctor").out
    assert "libx264: opens" in said
    assert "references: a cosine of 0.7 counts as the same person" in said


def test_backends_are_those_of_the_library() -> None:
    literal = get_args(options.Backend)[0]
    assert set(get_args(literal)) == set(BACKENDS)


def test_public_names() -> None:
    assert all(getattr(trtswap, name) is not None for name in trtswap.__all__)
    assert set(trtswap.__all__) <= set(dir(trtswap))
    with pytest.raises(AttributeError, match="no attribute 'swop'"):
        _ = trtswap.swop
