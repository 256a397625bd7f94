"""Which runtime is fastest for a pack's graphs on this CPU: ONNX Runtime, OpenVINO or PyTorch, in several arithmetics.

    python bench/cpu_runtimes.py PACK [--int8 PACK] [--stages swap,restore] [--threads N] [--repeats N] [--write]

All sides run the same graph files on the same pictures, in turn; INT8 takes the graphs of a pack that ``trtswap pack
convert --precision int8`` made. Beside the time stands how far a result is from ONNX Runtime's in FP32: a faster
arithmetic earns its place only within the pack's tolerance.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import openvino
import torch
from measure import case, interleaved, result, table, write
from torch import Tensor

from trtswap import Pack
from trtswap.backends import TorchOptions, open_engine
from trtswap.backends.openvino import SETTINGS
from trtswap.backends.options import on_cores
from trtswap.export.build import example_inputs
from trtswap.export.closeness import psnr
from trtswap.model.pack import StageSpec

Run = Callable[..., Mapping[str, Tensor]]


def openvino_in_bf16(graph: Path, threads: int) -> Run:
    """A graph in an arithmetic that trtswap's own backend does not offer, because it was never faster."""
    settings = {**SETTINGS, "INFERENCE_PRECISION_HINT": "bf16", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(graph, "CPU", settings)
    request = compiled.create_infer_request()

    def run(**tensors: Tensor) -> dict[str, Tensor]:
        given = {name: openvino.Tensor(t.numpy(), shared_memory=True) for name, t in tensors.items()}
        request.infer(given, share_inputs=True)
        return {str(n): torch.from_numpy(request.get_tensor(o).data) for n, o in enumerate(compiled.outputs)}

    return run


def runtimes(spec: StageSpec, int8: StageSpec | None, threads: int) -> Iterator[tuple[str, Run]]:
    """Every way to run one stage; the first is the one that the others are compared with."""
    in_onnxruntime, in_openvino = (
        partial(open_engine, backend=backend, device="cpu", options=on_cores(backend, threads))
        for backend in ("onnxruntime", "openvino")
    )
    yield "ONNX Runtime FP32", in_onnxruntime(spec)
    yield "OpenVINO FP32", in_openvino(spec)
    yield "OpenVINO BF16", openvino_in_bf16(spec.path, threads)
    yield "PyTorch BF16", open_engine(spec, backend="torch", device="cpu", options=TorchOptions(half=torch.bfloat16))
    if int8 is not None and int8.precision != spec.precision:
        yield "ONNX Runtime INT8", in_onnxruntime(int8)
        yield "OpenVINO INT8", in_openvino(int8)


def closeness(found: Tensor, reference: Tensor) -> tuple[str, float]:
    """Of pictures the PSNR, of labels the share that agrees: (unit, figure)."""
    if reference.dtype == torch.uint8:
        return "share", float((found == reference).float().mean())
    return "dB", psnr(found.numpy(), reference.numpy(), peak=1.0)


def compared(spec: StageSpec, int8: StageSpec | None, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of one stage: milliseconds, speed against the first runtime, and closeness to it."""
    inputs = example_inputs(spec, 1)
    sides = dict(runtimes(spec, int8, args.threads))
    rows = interleaved(
        {name: partial(discard, run, inputs) for name, run in sides.items()}, repeats=args.repeats, warm_up=1
    )
    results = {name: next(iter(run(**inputs).values())).clone() for name, run in sides.items()}
    first = rows[0]
    made = []
    for row in rows:
        ratios = [a / b for a, b in zip(first["values"], row["values"], strict=True)]
        unit, figure = closeness(results[row["name"]], results[first["name"]])
        name = f"{spec.name}, {row['name']}"
        made += [row | {"name": name}, case(f"{name}: speed", "x", ratios), case(f"{name}: alike", unit, [figure])]
    return made


def discard(run: Run, inputs: Mapping[str, Tensor]) -> None:
    """Run, and let the wall clock measure."""
    run(**inputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("--int8", type=Path, help="the same pack, converted")
    parser.add_argument("--stages", default="identify,swap,parse,restore")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write bench/results/cpu_runtimes.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pack, int8 = Pack.load(args.pack), Pack.load(args.int8).stages if args.int8 else {}
    with torch.inference_mode():
        rows = [
            row for name in args.stages.split(",") if name in pack.stages
            for row in compared(pack.stages[name], int8.get(name), args)
        ]  # fmt: skip
    data = result("cpu_runtimes", rows, pack=pack.name, threads=args.threads)
    print(table(data))
    if args.write:
        print(write(data))


if __name__ == "__main__":
    main()
