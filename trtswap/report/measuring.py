"""How every benchmark measures and writes: warm-up, interleaved repeats, median and spread, strict JSON.

A result file holds ``{"benchmark", "trtswap", "date", "machine", "settings", "cases"}``; every case has a name, a unit,
the single values, and their median and quartiles. :func:`check` is the schema.
"""

import json
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from trtswap.backends.sizing import cores

MATRIX_FEATURES = ("avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")
LIBRARIES = ("torch", "onnxruntime", "openvino", "av", "numpy")
CASE_KEYS = {"name", "unit", "values", "median", "quartiles"}
RESULT_KEYS = {"benchmark", "trtswap", "date", "machine", "settings", "cases"}


def interleaved(
    sides: Mapping[str, Callable[[], float | None]], *, repeats: int, warm_up: int = 2, unit: str = "ms"
) -> list[dict[str, Any]]:
    """Run all sides in turn, A B A B ..., so that a drifting machine hits them alike.

    Args:
        sides: name -> work. Work that returns a number has measured itself; otherwise its wall time in
            milliseconds is taken.
    """
    values: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(warm_up + repeats):
        for name, work in sides.items():
            start = time.perf_counter()
            measured = work()
            elapsed = (time.perf_counter() - start) * 1e3
            if repeat >= warm_up:
                values[name].append(elapsed if measured is None else measured)
    return [case(name, unit, v) for name, v in values.items()]


def case(name: str, unit: str, values: Sequence[float]) -> dict[str, Any]:
    """One row of a result file."""
    quartiles = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return {
        "name": name,
        "unit": unit,
        "values": [round(v, 4) for v in values],
        "median": round(statistics.median(values), 4),
        "quartiles": [round(quartiles[0], 4), round(quartiles[2], 4)],
    }


def cpu_name() -> str:
    """The processor's name; Linux tells it in a file, elsewhere the architecture has to do."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text("utf-8").splitlines() if listing.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def cpu_features() -> list[str]:
    """Which of ``MATRIX_FEATURES`` the processor has; on Linux, else none."""
    listing = Path("/proc/cpuinfo")
    flags = set(listing.read_text("utf-8").split()) if listing.is_file() else set()
    return [name for name in MATRIX_FEATURES if name in flags]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def peak_memory_mib() -> float:
    """The most memory that this process has had, MiB; 0 where the system does not tell.

    Not ``ru_maxrss``, which begins with the peak of the process that started this one.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) / 1024 if found else 0.0


def machine() -> dict[str, Any]:
    """What the figures were measured on, without anything that names the machine."""
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu_features": cpu_features(),
        "gpu": cuda,
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name)) is not None},
    }


def result(benchmark: str, cases: Sequence[Mapping[str, Any]], **settings: Any) -> dict[str, Any]:
    """A checked result."""
    data = {
        "benchmark": benchmark,
        "trtswap": version("trtswap"),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "settings": settings,
        "cases": list(cases),
    }
    check(data)
    return data


def check(data: Mapping[str, Any]) -> None:
    """Raise ValueError where a result breaks the schema."""
    if set(data) != RESULT_KEYS:
        raise ValueError(f"result has keys {sorted(data)}, expected {sorted(RESULT_KEYS)}")
    for row in data["cases"]:
        if set(row) != CASE_KEYS:
            raise ValueError(f"case {row.get('name')!r} has keys {sorted(row)}, expected {sorted(CASE_KEYS)}")
        low, high = row["quartiles"]
        if not row["values"] or not min(row["values"]) <= row["median"] <= max(row["values"]) or low > high:
            raise ValueError(f"case {row['name']!r}: median and quartiles do not fit its values")
    json.dumps(data, allow_nan=False)


def table(data: Mapping[str, Any]) -> str:
    """The cases as lines of text."""
    width = max(len(row["name"]) for row in data["cases"])
    return "\n".join(
        f"{row['name']:{width}}  {row['median']:10.2f} {row['unit']:6} "
        f"({row['quartiles'][0]:.2f} to {row['quartiles'][1]:.2f}, {len(row['values'])} runs)"
        for row in data["cases"]
    )
