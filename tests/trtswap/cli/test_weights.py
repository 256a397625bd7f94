"""``trtswap weights``: what it prints, what it asks, how it fails."""

import json
import os
import pty
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trtswap.cli.weights import app
from trtswap.errors import CheckpointError
from trtswap.export import checkpoints
from trtswap.export.checkpoints import Checkpoint

CONTENT = b"weights"


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A folder with the files of a manifest of two."""
    entries = {}
    for name in ("one", "two"):
        content = CONTENT + name.encode()
        digest, urls = sha256(content).hexdigest(), ("http://127.0.0.1:9/closed",)
        entries[name] = Checkpoint(name, f"{name}.pth", digest, urls, f"licence of {name}", "state_dict", len(content))
        (tmp_path / "source").mkdir(exist_ok=True)
        (tmp_path / "source" / f"{name}.pth").write_bytes(content)
    monkeypatch.setattr(checkpoints, "manifest", lambda: entries)
    monkeypatch.setenv("TRTSWAP_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "source"


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def failure(*arguments):
    """The error of a call that must fail."""
    result = run(*arguments)
    assert result.exit_code == 1
    return result.exception


def test_list_shows_every_checkpoint_and_its_licence():
    result = CliRunner().invoke(app, ["list"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for entry in checkpoints.manifest().values():
        assert entry.name in result.stdout
        assert entry.licence in result.stdout


def test_list_json(source):
    run("pull", "one", "--from", source, "--accept-license")
    rows = json.loads(run("list", "--json").stdout)
    assert [(row["name"], row["present"]) for row in rows] == [("one", True), ("two", False)]
    assert rows[0]["sha256"] == sha256(CONTENT + b"one").hexdigest()
    assert rows[0]["licence"] == "licence of one"


def test_pull_from_a_folder(source, tmp_path):
    result = run("pull", "one", "two", "--from", source, "--into", tmp_path / "here", "--accept-license")
    assert result.exit_code == 0
    assert (tmp_path / "here" / "two.pth").read_bytes() == CONTENT + b"two"
    assert result.stdout.splitlines() == [f"{name}: {tmp_path / 'here' / name}.pth" for name in ("one", "two")]
    assert "licence of one" in result.stderr


def test_pull_json_is_alone_on_stdout(source, tmp_path):
    result = run("pull", "two", "--from", source, "--accept-license", "--json")
    (row,) = json.loads(result.stdout)
    assert (row["name"], row["path"]) == ("two", str(tmp_path / "weights" / "two.pth"))


def test_pull_needs_the_licence_accepted(source, tmp_path):
    error = failure("pull", "one", "--from", source)
    assert isinstance(error, CheckpointError)
    assert "licence of one" in str(error)
    assert "--accept-license" in str(error)
    assert not (tmp_path / "weights").exists()


def test_present_checkpoint_asks_nothing(source, tmp_path):
    result = run("pull", "one", "--into", source)
    assert result.exit_code == 0
    assert "licence" not in result.stderr


def test_unknown_name_is_told_before_anything_is_fetched(source, tmp_path):
    error = failure("pull", "one", "three", "--from", source, "--accept-license")
    assert "'three' is unknown; expected one of: one, two" in str(error)
    assert not (tmp_path / "weights").exists()


def test_from_what_is_no_folder_is_wrong_usage(source, tmp_path):
    assert run("pull", "one", "--from", tmp_path / "absent", "--accept-license").exit_code == 2


def test_verify(source):
    result = run("verify", "--into", source)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["one: ok", "two: ok"]


def test_verify_reports_all_before_it_fails(source):
    (source / "one.pth").write_bytes(b"damaged")
    result = run("verify", "--into", source, "--json")
    assert result.exit_code == 1
    assert "one.pth is not the official file: it has 7 bytes, expected 10" in str(result.exception)
    assert [(row["name"], row["ok"]) for row in json.loads(result.stdout)] == [("one", False), ("two", True)]


def test_verify_of_a_missing_checkpoint(source, tmp_path):
    assert "trtswap weights pull two" in str(failure("verify", "two", "--into", tmp_path / "empty"))


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1)])
def test_licence_is_asked_on_a_terminal(data, tmp_path, answer, code):
    command = [sys.executable, "-P", "-c", "from trtswap.cli.weights import app; app()", "pull", "yunet_n"]
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [*command, "--from", str(data), "--into", str(tmp_path)], stdin=end, stdout=end, stderr=end
    )
    os.close(end)
    os.write(terminal, f"{answer}\n".encode())
    output = everything(terminal)
    assert process.wait() == code
    assert "trained on WIDER FACE" in output
    assert "Do you accept this licence?" in output
    assert Path(tmp_path / "yunet_n.pth").is_file() == (code == 0)


def everything(terminal: int) -> str:
    """What was written to a terminal until its last user left."""
    output = b""
    try:
        while chunk := os.read(terminal, 4096):
            output += chunk
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(terminal)
    return output.decode()
