"""What lower precision costs and gains: figures of FP16 and INT8 packs against FP32, and the speed of INT8 on the CPU.

    python bench/precision.py PACK CLIP [--repeats N] [--threads N] [--write]

The pack is calibrated on the clip, converted and compared with itself in FP32 on other frames of the clip. Speed is
that of the networks alone, one face each, on what the pipeline gives them: all graphs of a swapped frame, FP32 and INT8
in turn. A conversion that misses the pack's tolerance is reported with its figures and not timed. FP16 is not timed:
ONNX Runtime has no FP16 kernels for the CPU.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import interleaved, result, table, write

from trtswap.backends import OnnxRuntimeOptions, open_engine
from trtswap.backends.engine import Engine
from trtswap.calibration import CalibrationTable, calibrate, to_half, to_int8
from trtswap.calibration.clip import choose_stills
from trtswap.calibration.samples import Row, opened, watch
from trtswap.errors import PrecisionError
from trtswap.model.pack import Pack
from trtswap.options import SwapOptions
from trtswap.report.measuring import cpu_features
from trtswap.session.session import detector

PER_FRAME = ("detect", "swap", "parse", "restore")
"""Graphs that run for each frame of one face; an identity is made once."""


def has_vnni() -> bool:
    """Whether the CPU multiplies bytes in one instruction; on Linux, else False."""
    return any("vnni" in name for name in cpu_features())


def converted(kind: str, pack: Pack, ranges: CalibrationTable, folder: Path, clip: Path) -> tuple[Pack | None, str]:
    """A pack in another precision, or None, and its figures in words."""
    lines: list[str] = []
    try:
        made = {"fp16": to_half, "int8": to_int8}[kind](pack, ranges, folder, held_out=clip, report=lines.append)
    except PrecisionError as error:
        return None, "; ".join([*lines, f"REFUSED: {error}"])
    size = sum(s.path.stat().st_size for s in made.stages.values())
    share = size / sum(s.path.stat().st_size for s in pack.stages.values())
    return made, "; ".join([*lines, f"size {share:.1%} of FP32"])


def one_frame(pack: Pack, clip: Path) -> Mapping[str, Row]:
    """What each graph of a pack is given for a frame of the clip."""
    with torch.inference_mode(), opened(pack, None) as runtime:
        seen = watch(runtime, choose_stills(clip, detector(runtime, SwapOptions()), 1))
    return {name: seen.rows[name][0] for name in PER_FRAME if name in seen.rows}


def frame(engines: Mapping[str, Engine], rows: Mapping[str, Row]) -> None:
    """All networks of one frame with one face."""
    for name, row in rows.items():
        engines[name](**{key: torch.from_numpy(values) for key, values in row.items()})


def time_packs(packs: Mapping[str, Pack], rows: Mapping[str, Row], repeats: int, threads: int) -> list[dict[str, Any]]:
    """Milliseconds a frame, all networks and each alone."""
    options = OnnxRuntimeOptions(threads=threads)
    with ExitStack() as stack:
        sides: dict[str, Callable[[], None]] = {}
        for kind, pack in packs.items():
            engines = {
                n: stack.enter_context(
                    open_engine(pack.stages[n], backend="onnxruntime", device="cpu", options=options)
                )
                for n in rows
            }
            sides[f"{kind}, all networks"] = partial(frame, engines, rows)
            sides |= {f"{kind}, {n}": partial(frame, engines, {n: rows[n]}) for n in rows}
        return interleaved(sides, repeats=repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write bench/results/precision.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pack = Pack.load(args.pack)
    packs, figures = {"fp32": pack}, {}
    with tempfile.TemporaryDirectory() as folder:
        ranges = calibrate(pack, args.clip)
        for kind in ("fp16", "int8"):
            made, figures[kind] = converted(kind, pack, ranges, Path(folder) / kind, args.clip)
            print(f"{kind}: {figures[kind]}")
            if made is not None and kind == "int8":
                packs[kind] = made
        cases = time_packs(packs, one_frame(pack, args.clip), args.repeats, args.threads)
    data = result("precision", cases, pack=pack.name, vnni=has_vnni(), threads=args.threads, figures=figures)
    print(table(data))
    medians = {row["name"]: row["median"] for row in cases}
    if "int8" in packs:
        gain = medians["fp32, all networks"] / medians["int8, all networks"]
        print(f"INT8 is {gain:.2f} times as fast as FP32 (VNNI: {'yes' if has_vnni() else 'no'})")
    if args.write:
        print(write(data))


if __name__ == "__main__":
    sys.exit(main())
