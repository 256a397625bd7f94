"""README and docs/: every command and every piece of Python runs, every option, link and folder exists.

A block that cannot run says why in a comment before it, ``<!-- not run: needs a GPU -->``; its commands are parsed.
"""

import re
import shlex
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import av
import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from trtswap.cli import app
from trtswap.packs import find_pack
from trtswap.video.reader import VideoReader
from trtswap.video.writer import VideoWriter, WriteOptions

ROOT = Path(__file__).parents[1]
PAGES = {page.name: page.read_text("utf-8") for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
BLOCK = re.compile(r"(?:<!-- not run: (.+?) -->\n)?```(sh|python)\n(.*?)```", re.S)
# A screen holds some 450 words.
MOST_WORDS = 950


@dataclass(frozen=True)
class Block:
    """A piece of shell or Python; ``why`` it is not run, or nothing."""

    page: str
    number: int
    why: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}-{self.number}-{self.language}"


BLOCKS = [
    Block(page, number, *(part or "" for part in found.groups()))
    for page, text in PAGES.items()
    for number, found in enumerate(BLOCK.finditer(text), 1)
]
COMMANDS = [
    (block.page, line)
    for block in BLOCKS
    if block.language == "sh"
    for line in block.text.replace("\\\n", " ").splitlines()
    if line.startswith("trtswap ")
]
INLINE = [(page, found) for page, text in PAGES.items() for found in re.findall(r"`(trtswap [a-z].*?)`", text)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages take for granted: a video, pictures of people, and ``trtswap`` on the path."""
    samples = find_pack("avatar") / "samples"
    work = tmp_path / "work"
    (work / "results").mkdir(parents=True)
    options = WriteOptions(preset="ultrafast")
    with (
        VideoReader(samples / "clip.mp4", end=0.7) as reader,
        VideoWriter(work / "in.mp4", reader.info, options=options, source=samples / "clip.mp4", end=0.7) as writer,
    ):
        for batch in reader:
            writer.write(batch)
    shutil.copy(work / "in.mp4", work / "clip.mp4")
    people = {"face": 1, "front": 1, "side": 1, "anna": 1, "ben": 2, "new": 2, "other": 3}
    for name, number in people.items():
        shutil.copy(samples / f"source_{number}.png", work / f"{name}.png")
    two = [Image.open(samples / f"source_{number}.png") for number in (1, 2)]
    group = Image.new("RGB", (two[0].width * 2, two[0].height))
    group.paste(two[0], (0, 0)), group.paste(two[1], (two[0].width, 0))
    group.save(work / "group.png")
    two[0].save(work / "photo.jpg")
    two[0].resize((128, 128)).save(work / "anim.gif", save_all=True, append_images=[two[1].resize((128, 128))])
    program = tmp_path / "bin" / "trtswap"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m trtswap_command "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setenv("TRTSWAP_PACKS", str(tmp_path / "packs"))
    monkeypatch.setenv("TRTSWAP_COMPILED", str(tmp_path / "compiled"))
    return work


@pytest.mark.parametrize("block", [b for b in BLOCKS if not b.why and b.language == "sh"], ids=str)
def test_commands_run(block: Block, folder: Path) -> None:
    before = set(folder.rglob("*"))
    for line in block.text.replace("\\\n", " ").splitlines():
        done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert "Internal error" not in done.stderr
        for made in sorted(set(folder.rglob("*")) - before, reverse=True):
            made.rmdir() if made.is_dir() else made.unlink()


@pytest.mark.parametrize("block", [b for b in BLOCKS if not b.why and b.language == "python"], ids=str)
def test_python_runs(block: Block, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", block.text], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for video in folder.glob("*.mp4"):
        with av.open(str(video)) as container:
            assert container.streams.video[0].frames > 0


@pytest.mark.parametrize(("page", "command"), COMMANDS + [one for one in INLINE if "..." not in one[1]])
def test_a_command_is_understood(page: str, command: str) -> None:
    """With --help at its end a command line is parsed, so that an unknown option or command is an error."""
    words = shlex.split(command.split(" > ", maxsplit=1)[0], comments=True)[1:]
    words = [word for word in words if word != "--debug"]  # which may stand anywhere, and is taken out before
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0, result.output


def test_what_is_not_run_says_why() -> None:
    why = {block.why for block in BLOCKS if block.why}
    assert len(why) <= 6
    assert sum(not block.why for block in BLOCKS) >= 15


def options_of(command: object) -> set[str]:
    found = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}  # type: ignore[attr-defined]
    for inner in getattr(command, "commands", {}).values():
        found |= options_of(inner)
    return {name.strip() for name in found}


@pytest.mark.parametrize("page", PAGES)
def test_options_exist(page: str) -> None:
    text = re.sub(r"```.*?```|`make [^`]*`|\(`ARGS=[^)]*\)", "", PAGES[page], flags=re.S)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text))
    others = {"--check", "--random-weights"}  # of bench/speed_table.py, and one that is told by a command above
    assert named - others <= options_of(get_command(app)) | {"--help"}, page


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    base = ROOT if page == "README.md" else ROOT / "docs"
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", PAGES[page]):
        name, _, anchor = link.partition("#")
        target = base / name if name else base / page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.M)
            assert anchor in {heading.lower().replace(" ", "-") for heading in headings}, f"{page}: {link}"


def test_the_readme_fits_two_screens() -> None:
    assert len(PAGES["README.md"].split()) <= MOST_WORDS


def test_folders_that_are_named_exist() -> None:
    for name in re.findall(r"\| `([a-z/]+/)` \|", "".join(PAGES.values())):
        assert (ROOT / name).is_dir(), name
