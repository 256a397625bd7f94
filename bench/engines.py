"""What NVIDIA's own compiler, TensorRT for RTX, makes of packs: sizes and device memory of the engines, without a GPU.

    python bench/engines.py [--full PACK --half PACK] > bench/results/engines.json
    python bench/engines.py --table     # of that file, for docs/performance.md

The pack avatar is compiled in FP32, FP16 and INT8; packs of full size where they are given. The tests build the same
and hold it against the file.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
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


def row(stage: StageSpec, graph: Path, targets: Sequence[str]) -> dict[str, Any]:
    """What comes out for one graph, for the table."""
    started = time.process_time()
    try:
        made = compiled(stage, graph, targets)
    except EngineBuildError as error:
        return {"refused": str(error).partition("built no engine: ")[2][:200]}
    return {
        "graph_bytes": graph.stat().st_size,
        "plan_bytes": len(made.plan),
        "device_bytes": made.memory_bytes,
        "rows": default_config(stage, CARD).most_rows,
        "warnings": list(made.warnings),
        "seconds": round(time.process_time() - started, 1),
    }


def rows(pack: Pack, name: str, precision: str, targets: Sequence[str], folder: Path) -> Iterator[dict[str, Any]]:
    """All graphs of a pack in a precision."""
    for stage, graph in graphs(pack, precision, folder).items():
        known = {"pack": name, "precision": precision, "targets": list(targets), "stage": stage}
        print(known, file=sys.stderr)
        yield known | row(pack.stages[stage], graph, targets)


def table(found: list[dict[str, Any]]) -> str:
    """Plan and device memory, MiB, as Markdown: a line for each graph, a column for each precision."""
    columns = list(dict.fromkeys((e["pack"], e["precision"], tuple(e["targets"])) for e in found))
    columns = [column for column in columns if column[1] != "int8"]
    by_key = {(e["pack"], e["precision"], tuple(e["targets"]), e["stage"]): e for e in found}
    titles = [
        f"{pack}, {precision.upper()}{', 7.5' if targets == TURING else ''}" for pack, precision, targets in columns
    ]
    lines = [f"| graph | {' | '.join(titles)} |", f"|---|{'---:|' * len(titles)}"]
    for stage in dict.fromkeys(e["stage"] for e in found):
        cells = (by_key[(*column, stage)] for column in columns)
        sizes = (f"{c['plan_bytes'] / 2**20:.0f}, {c['device_bytes'] / 2**20:,.0f}" for c in cells)
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
        print(table(json.loads(RESULTS.read_text())["engines"]))
        return
    avatar, found = Pack.load(find_pack("avatar")), list[dict[str, Any]]()
    with TemporaryDirectory() as name:
        folder = Path(name)
        for precision, targets in (("fp32", AMPERE_ON), ("fp16", AMPERE_ON), ("fp16", TURING), ("int8", AMPERE_ON)):
            found += rows(avatar, "avatar", precision, targets, folder)
        if given.full:
            found += rows(Pack.load(given.full), "full size", "fp32", AMPERE_ON, folder)
        if given.half:
            for targets in (AMPERE_ON, TURING):
                found += rows(Pack.load(given.half), "full size", "fp16", targets, folder)
    print(json.dumps({"library": find_library("rtx").title, "card_bytes": CARD, "engines": found}, indent=1))


if __name__ == "__main__":
    main()
