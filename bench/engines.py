"""What NVIDIA's own compiler, TensorRT for RTX, makes of packs: sizes and device memory of the engines, without a GPU.

    python bench/engines.py [--full PACK --half PACK] > bench/results/engines.json
    python bench/engines.py --table     # of that file, for docs/performance.md

The pack avatar is compiled in FP32, FP16 and INT8; packs of full size where they are given. The tests build the same
and hold it against the file.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

from trtswap.backends.trt.library import AMPERE_ON, find_library
from trtswap.calibration.convert import half_stage, int8_stage
from trtswap.calibration.table import CalibrationTable
from trtswap.engines.aim import GIB
from trtswap.engines.child import compile_apart
from trtswap.engines.config import default_config
from trtswap.engines.half import TABLE
from trtswap.engines.progress import Silent
from trtswap.engines.request import Compiled
from trtswap.errors import EngineBuildError
from trtswap.model.pack import Pack, StageSpec
from trtswap.packs import find_pack
from trtswap.report.measuring import case, result

RESULTS = Path(__file__).parent / "results" / "engines.json"
CARD = 8 * GIB
"""Memory of the card that engines are made for."""
TURING = ("7.5",)
CONVERT = {"fp16": half_stage, "int8": int8_stage}


def graphs(pack: Pack, precision: str, folder: Path) -> dict[str, Path]:
    """A pack's graphs in a precision, by stage; converted with the pack's own table where it has another one."""
    if all(stage.precision == precision for stage in pack.stages.values()):
        return {name: stage.path for name, stage in pack.stages.items()}
    table, made = CalibrationTable.load(pack.path / TABLE), {}
    for name, stage in pack.stages.items():
        made[name] = folder / f"{pack.name}-{precision}-{name}.onnx"
        if not made[name].exists():
            onnx.save(CONVERT[precision](stage, table.stages[name]), made[name])
    return made


def compiled(stage: StageSpec, graph: Path, targets: Sequence[str]) -> Compiled:
    """The engine of a stage for a card of 8 GiB.

    Raises:
        EngineBuildError: the library refuses the graph.
    """
    config = default_config(stage, CARD)
    return compile_apart(find_library("rtx"), config.request(graph, stage.contract[0], targets), Silent())


def title(pack: str, precision: str, targets: Sequence[str]) -> str:
    """What a set of engines is called in results and tables."""
    return f"{pack}, {precision.upper()}{', 7.5' if tuple(targets) == TURING else ''}"


def cases(pack: Pack, name: str, precision: str, targets: Sequence[str], folder: Path) -> Iterator[dict[str, Any]]:
    """Size and device memory of all engines of a pack in a precision.

    Raises:
        EngineBuildError: the library refuses a graph, or has warnings.
    """
    for stage, graph in graphs(pack, precision, folder).items():
        called = f"{title(name, precision, targets)}: {stage}"
        print(called, file=sys.stderr)
        made = compiled(pack.stages[stage], graph, targets)
        if made.warnings:
            raise EngineBuildError(f"{called}: {'; '.join(made.warnings)}")
        yield case(f"{called}, engine", "MiB", [len(made.plan) / 2**20])
        yield case(f"{called}, device memory", "MiB", [made.memory_bytes / 2**20])


def table(data: Mapping[str, Any]) -> str:
    """Of a result: MiB of each engine and of its device memory, as Markdown; INT8, which saves nothing here, aside."""
    found = {row["name"]: row["median"] for row in data["cases"]}
    sets = [name for name in dict.fromkeys(name.partition(":")[0] for name in found) if "INT8" not in name]
    lines = [f"| graph | {' | '.join(sets)} |", f"|---|{'---:|' * len(sets)}"]
    for stage in ("detect", "identify", "swap", "parse", "restore"):
        sizes = (f"{found[f'{n}: {stage}, engine']:.0f}, {found[f'{n}: {stage}, device memory']:,.0f}" for n in sets)
        lines.append(f"| {stage} | {' | '.join(sizes)} |")
    return "\n".join(lines)


def main() -> None:
    """Compile everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", type=Path, help="a pack of full size in FP32")
    parser.add_argument("--half", type=Path, help="the same in FP16")
    parser.add_argument("--table", action="store_true", help="print the table of what was measured last")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(RESULTS.read_text())))
        return
    avatar, found = Pack.load(find_pack("avatar")), list[dict[str, Any]]()
    with TemporaryDirectory() as name:
        folder = Path(name)
        for precision, targets in (("fp32", AMPERE_ON), ("fp16", AMPERE_ON), ("fp16", TURING), ("int8", AMPERE_ON)):
            found += cases(avatar, "avatar", precision, targets, folder)
        if given.full:
            found += cases(Pack.load(given.full), "full size", "fp32", AMPERE_ON, folder)
        if given.half:
            for targets in (AMPERE_ON, TURING):
                found += cases(Pack.load(given.half), "full size", "fp16", targets, folder)
    made = result("engines", found, library=find_library("rtx").title, card_bytes=CARD)
    print(json.dumps(made, indent=1, allow_nan=False))


if __name__ == "__main__":
    main()
