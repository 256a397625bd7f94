"""``trtswap config``: where the parts for C and C++ are."""

from typing import Annotated

import typer

from trtswap.cli.console import say, stdout


def config(
    *,
    cmake_dir: Annotated[
        bool, typer.Option("--cmake-dir", help="For cmake -Dtrtswap_DIR=...: find_package(trtswap) then builds it.")
    ] = False,
    include: Annotated[bool, typer.Option("--include", help="Folder of trtswap.h and trtswap.hpp.")] = False,
    cflags: Annotated[bool, typer.Option("--cflags", help="Options of a compiler.")] = False,
    sources: Annotated[bool, typer.Option("--sources", help="Folder of the library's CMakeLists.txt.")] = False,
) -> None:
    """Say where the headers and the sources of libtrtswap are."""
    from trtswap.native import FOLDER  # noqa: PLC0415 - mapped into the package where it is installed

    wanted = {
        str(FOLDER / "cmake"): cmake_dir,
        str(FOLDER / "include"): include,
        f"-std=c++17 -I{FOLDER / 'include'}": cflags,
        str(FOLDER): sources,
    }
    if not any(wanted.values()):
        raise typer.BadParameter("expected --cmake-dir, --include, --cflags or --sources.")
    for line, said in wanted.items():
        if said:
            say(stdout(), line)
