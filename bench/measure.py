"""Where benchmarks put their results; how they measure is in ``trtswap.report.measuring``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trtswap.files import write_whole
from trtswap.report.measuring import case, check, interleaved, machine, peak_memory_mib, result, table

RESULTS = Path(__file__).parent / "results"

__all__ = ["RESULTS", "case", "check", "interleaved", "machine", "peak_memory_mib", "result", "table", "write"]


def write(data: Mapping[str, Any], path: Path | None = None) -> Path:
    """Write a result as strict JSON (no NaN), by default into ``bench/results/BENCHMARK.json``."""
    check(data)
    path = path or RESULTS / f"{data['benchmark']}.json"
    write_whole(path, json.dumps(data, indent=1, allow_nan=False) + "\n", overwrite=True)
    return path
