"""Where packs are found by name: those of the wheel, and those the user has exported."""

import os
from contextlib import suppress
from pathlib import Path

from trtswap.errors import PackError

SHIPPED = Path(__file__).parent
DEFAULT_PACK = "mesh"
"""What is taken when no pack is named: the one that is for real faces and needs no further files."""


def user_folder() -> Path:
    """Where ``trtswap export`` puts packs: ``$TRTSWAP_PACKS``, else ``$XDG_DATA_HOME/trtswap/packs``."""
    if folder := os.environ.get("TRTSWAP_PACKS"):
        return Path(folder)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "trtswap" / "packs"


def installed_packs() -> dict[str, Path]:
    """Packs that can be called by name: no unfinished ones. One that the user exported hides a shipped one."""
    found: dict[str, Path] = {}
    for folder in (SHIPPED, user_folder()):
        if folder.is_dir():
            found |= {toml.parent.name: toml.parent for toml in sorted(folder.glob("[!.]*/pack.toml"))}
    return found


def sample_sources(pack: str | Path) -> tuple[Path, ...]:
    """Pictures of faces that come with a pack, ``samples/source_*.png``, in their order; empty where it has none.

    Raises:
        PackError: there is no such pack.
    """
    return tuple(sorted((find_pack(pack) / "samples").glob("source_*.png")))


def find_pack(pack: str | Path) -> Path:
    """Folder of a pack given by name or by path.

    Raises:
        PackError: neither a folder with a pack.toml nor the name of an installed pack.
    """
    if not isinstance(pack, str | Path):
        raise PackError(f"pack is a {type(pack).__name__}, expected the name of an installed pack or a folder.")
    path = Path(pack)
    with suppress(OSError, ValueError):  # names that no file system takes
        if (path / "pack.toml").is_file():
            return path
    packs = installed_packs()
    if str(pack) in packs:
        return packs[str(pack)]
    known = ", ".join(packs) or "none"
    raise PackError(
        f"There is no pack {str(pack)!r}: no folder of that name holds a pack.toml, and installed are: {known}. "
        "Make one with `trtswap export` (`trtswap export --help` lists what it can make)."
    )
