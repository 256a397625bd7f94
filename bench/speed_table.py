"""The speed table of docs/performance.md, from the JSON in bench/results/; losses stand beside wins.

    python bench/speed_table.py            # prints the table
    python bench/speed_table.py --check    # exits 1 where docs/performance.md does not hold it as it is

docs/performance.md holds the table between the lines ``<!-- speed -->`` and ``<!-- /speed -->``.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from measure import RESULTS, check

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- speed -->", "<!-- /speed -->"
# benchmark, row of its result, words for people, and what the project has set itself as a target.
ROWS: tuple[tuple[str, str, str, str], ...] = (
    ("throughput_avatar", "trtswap", "avatar pack, end to end", ""),
    ("throughput_avatar", "trtswap / baseline", "the same against the baseline", ">= 2.5"),
    ("throughput_full", "trtswap", "full-size networks, one face 1080p, end to end", ""),
    ("throughput_full", "trtswap / baseline", "the same against the baseline", ">= 1.5"),
    ("throughput_full", "share of time in networks", "of which inside the networks", ">= 0.85"),
    ("throughput_identity", "identity, 1080p", "no networks but detection, 1080p, x264 ultrafast", ">= 30"),
    ("pipelining_full", "time / slowest role's own time",
     "pipelined time against the slowest role's, full-size networks", "<= 1.15"),
    ("pipelining_avatar", "time / slowest role's own time", "the same, avatar pack", "<= 1.15"),
    ("pipelining_avatar", "time / greater of that and all work spread over the cores",
     "the same against the greater of that and all work spread over the cores", "<= 1.15"),
    ("roofline", "swap: share of the matrix rate", "SimSwap 224: share of the matrix product's rate", ""),
    ("roofline", "parse: share of the matrix rate", "BiSeNet 512: the same", ""),
    ("roofline", "restore: share of the matrix rate", "GFPGAN 512, which sets the limit: the same", ""),
    ("cpu_runtimes", "swap, OpenVINO FP32: speed", "SimSwap 224 in OpenVINO, FP32, against ONNX Runtime", ""),
    ("cpu_runtimes", "swap, OpenVINO BF16: speed", "the same, BF16", ""),
    ("cpu_runtimes", "swap, PyTorch BF16: speed", "the same in PyTorch, BF16", ""),
    ("cpu_runtimes", "swap, ONNX Runtime INT8: speed", "the same in ONNX Runtime, INT8", ""),
    ("cpu_runtimes", "swap, OpenVINO INT8: speed", "the same in OpenVINO, INT8", ""),
    ("cpu_runtimes", "restore, ONNX Runtime INT8: speed", "GFPGAN 512 in ONNX Runtime, INT8", ""),
    ("cpu_runtimes", "restore, OpenVINO INT8: speed", "the same in OpenVINO, INT8", ""),
    ("memory", "last tenth / second tenth", "peak memory, end of a long video against its beginning", "<= 1.05"),
    ("overhead", "1080p, face 200 px", "trtswap's own work on a face of 200 px, one thread", ""),
    ("overhead", "2160p, face 200 px", "the same in a 2160p frame", ""),
    ("overhead", "face 8 px / face 200 px", "a face of 8 px against that", "<= 3"),
    ("overhead", "face 600 px / face 200 px", "a face of 600 px", "<= 3"),
    ("overhead", "face 1500 px / face 200 px", "a face of 1,500 px, which has 56 times the pixels", "<= 3"),
    ("overhead", "face 8 px / face 200 px, canvas 256", "a face of 8 px, at the avatar pack's sizes", "<= 3"),
    ("overhead", "face 600 px / face 200 px, canvas 256", "a face of 600 px", "<= 3"),
    ("overhead", "face 1500 px / face 200 px, canvas 256", "a face of 1,500 px", "<= 3"),
    ("gpu_check", "1080p, 1 face", "GPU, full-size networks, 1080p, one face, compute side", ">= 150"),
    ("gpu_check", "1080p, 1 face: device busy", "of which the device is busy", ">= 0.9"),
)  # fmt: skip


def results(folder: Path = RESULTS) -> dict[str, Mapping[str, Any]]:
    """Every checked result by its benchmark's name."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        data = json.loads(file.read_text(encoding="utf-8"))
        check(data)
        found[data["benchmark"]] = data
    return found


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown; a row for each figure that was measured."""
    lines = ["| what | figure | target | machine, date |", "|---|---|---|---|", *_rows(found)]
    return "\n".join(lines)


def _rows(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for benchmark, name, words, target in ROWS:
        data = found.get(benchmark)
        row = next((r for r in data["cases"] if r["name"] == name), None) if data else None
        if data is None or row is None:
            continue
        low, high = row["quartiles"]
        spread = f" ({low:.3g} to {high:.3g})" if len(row["values"]) > 1 else ""
        missed = " **missed**" if target and not meets(row["median"], target) else ""
        machine = data["machine"]
        where = machine["gpu"] or f"{machine['cores']} cores, {machine['cpu']}"
        figure = f"{row['median']:.3g} {row['unit']}".strip()
        yield f"| {words} | {figure}{spread} | {target}{missed} | {where}, {data['date']} |"


def meets(value: float, target: str) -> bool:
    """Whether a figure is on the right side of ``>= x`` or ``<= x``."""
    sign, number = target.split()
    return value >= float(number) if sign == ">=" else value <= float(number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    made = table(results())
    if not parser.parse_args().check:
        print(made)
        return
    _, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    held, end, _ = rest.partition(END)
    if not (begin and end) or held.strip() != made:
        sys.exit(f"{PAGE.name} does not hold the table of bench/speed_table.py; put its output between the marks.")


if __name__ == "__main__":
    main()
