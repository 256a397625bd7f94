"""The report of ``trtswap doctor --engines``: a JSON file for programs and a Markdown file for people."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from trtswap.backends import choose
from trtswap.backends import device as gpus
from trtswap.cli.build_progress import BuildDisplay
from trtswap.errors import InputError
from trtswap.files import Target, write_whole
from trtswap.model.pack import Pack
from trtswap.packs import find_pack

FORMAT = 1


@contextmanager
def targets(stem: Path, *, overwrite: bool) -> Iterator[tuple[Target, Target]]:
    """The places of the two files to write, claimed before the long work; what is not written is given up at the end.

    Raises:
        BusyError: somebody else writes one.
        InputError: one exists and is not to be replaced.
        WriteError: one cannot be written.
    """
    files = stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.md")
    for file in files:
        if file.exists() and not overwrite:
            raise InputError(f"{file} exists. Give another name with -o, or replace it with --overwrite.")
    with Target(files[0], overwrite=overwrite) as for_programs, Target(files[1], overwrite=overwrite) as for_people:
        yield for_programs, for_people


def examine(pack: str, precision: str, device: str, console: Console, stop: Callable[[], bool]) -> dict[str, Any]:
    """Build or take, compare and time the engines of a pack.

    Raises:
        BackendError: there is no GPU or no TensorRT.
        PackError: there is no such pack.
    """
    choice = choose("tensorrt", device)
    from trtswap.engines.build import Options  # noqa: PLC0415 - imports tensorrt
    from trtswap.engines.examine import examine as examine_engines  # noqa: PLC0415 - imports tensorrt

    loaded = Pack.load(find_pack(pack))
    gpu = gpus.find_gpu(choice.device)
    with BuildDisplay(console, quiet=False, stop=stop) as display:
        found = examine_engines(loaded, gpu, Options(precision=precision), listener=display)
    return {
        "format": FORMAT,
        "pack": loaded.name,
        "version": loaded.version,
        "precision": precision,
        "gpu": asdict(gpu.facts),
        "engines": [asdict(one) for one in found],
    }


def in_words(report: Mapping[str, Any]) -> list[str]:
    """A line for each engine."""
    return [f"{one['stage']}: {_verdict(one)}{_figures(one)}{_times(one)}" for one in report["engines"]]


def _verdict(one: Mapping[str, Any]) -> str:
    if one["problem"]:
        return f"PROBLEM: {one['problem']} "
    return f"good, {one['record']['precision']}, {'built now' if one['built_because'] else 'was there'}"


def _figures(one: Mapping[str, Any]) -> str:
    return "".join(f", {name} {value:.6g}" for name, value in one["difference"].items() if name != "finite")


def _times(one: Mapping[str, Any]) -> str:
    timings = "".join(
        f"; {t['batch']} rows in {t['median_ms']:.2f} ms ({t['low_ms']:.2f} to {t['high_ms']:.2f})"
        for t in one["timings"]
    )
    count = len(one["timings"])
    return timings + (f"; CUDA graphs for {one['captured']} of {count} shapes" if count else "")


def write(places: tuple[Target, Target], facts: Mapping[str, Any], words: Mapping[str, Sequence[str]]) -> None:
    """Write both files.

    Raises:
        WriteError: one cannot be written, or has appeared since :func:`targets` and is not to be replaced.
    """
    for_programs, for_people = places
    write_whole(for_programs, json.dumps(facts, indent=2, allow_nan=False) + "\n")
    sections = (f"## {title}\n\n" + "".join(f"- {line}\n" for line in lines) for title, lines in words.items())
    write_whole(for_people, "# trtswap doctor\n\n" + "\n".join(sections))
