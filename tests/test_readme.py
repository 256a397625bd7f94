"""The README's commands and names exist."""

import ast
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

import trtswap
from trtswap.cli import app

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.S)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("trtswap ")]
INLINE = re.findall(r"`(trtswap [a-z].*?)`", README)


def words(command: str) -> list[str]:
    return shlex.split(command.split(" > ", maxsplit=1)[0], comments=True)[1:]


@pytest.mark.parametrize("command", COMMANDS + [c for c in INLINE if "..." not in c])
def test_a_command_of_the_readme_is_understood(command: str) -> None:
    """With --help at its end a command line is parsed, so that an unknown option or command is an error."""
    result = CliRunner().invoke(app, [*words(command), "--help"])
    assert result.exit_code == 0, result.output


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 8


def test_names_of_the_python_example_exist() -> None:
    code = re.search(r"```python\n(.*?)```", README, re.S)
    assert code is not None
    tree = ast.parse(code[1])
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported
    assert all(hasattr(trtswap, name) for name in imported)
    called = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "swapper"
    }
    assert called >= {"identity", "swap", "swap_video"}
    assert all(hasattr(trtswap.Swapper, name) for name in called)


def test_files_that_the_readme_names_exist() -> None:
    root = Path(__file__).parents[1]
    for name in re.findall(r"\| `([a-z/]+/)` \|", README):
        assert (root / name).is_dir(), name
