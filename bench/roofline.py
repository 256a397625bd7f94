"""How near each network comes to what the machine can do: FLOPs, bytes, and the measured matrix rate.

    python bench/roofline.py PACK [--backend auto] [--device cpu] [--batch 4] [--repeats 5] [--write]

A network's FLOPs (two for each multiplication of convolutions and matrix products) over its time, as a share of the
rate of one large matrix product measured in the same run, in the same arithmetic; and as a share of the smaller of that
rate and of what the memory could feed (FLOPs per byte of weights and activations, times the measured copy rate).
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import case, result, table, write

from trtswap import Pack
from trtswap.backends import choose, open_engine
from trtswap.backends.options import on_cores
from trtswap.model.pack import StageSpec
from trtswap.packs import find_pack

MATRIX = ("Conv", "ConvTranspose", "MatMul", "Gemm")


def cost(spec: StageSpec, *, batch: int = 1) -> tuple[float, float]:
    """(FLOPs, bytes) of one run: bytes are the weights' and every node's inputs and outputs, each moved once.

    The graph is run operator by operator on PyTorch's meta device, where tensors have shapes and no values.
    """
    from trtswap.backends.torch.engine import TorchEngine  # noqa: PLC0415 - imports onnx

    engine = TorchEngine(spec.path, device=torch.device("meta"), precision=spec.precision)
    flops = moved = 0.0
    plan = engine._plan
    slots: list[Any] = list(plan.slots)
    for name, tensor in inputs_of(spec, batch, torch.device("meta")).items():
        slots[plan.inputs[name]] = tensor
    for step in plan.steps:
        given = [slots[i] for i in step.inputs]
        found = step.run(*given)
        made = (found,) if isinstance(found, torch.Tensor) else tuple(found)
        for slot, value in zip(step.outputs, made, strict=False):
            slots[slot] = value
        on_device = [t for t in (*given, *made) if isinstance(t, torch.Tensor) and t.device.type == "meta"]
        moved += sum(t.numel() * t.element_size() for t in on_device)
        flops += _flops(step.label.split(" ")[0], given, made)
    return flops, moved


def _flops(kind: str, given: list[Any], made: tuple[torch.Tensor, ...]) -> float:
    if kind not in MATRIX:
        return 0.0
    out, weight = made[0], given[1]
    if kind == "Conv":
        return 2.0 * out.numel() * weight[0].numel()
    if kind == "ConvTranspose":
        return 2.0 * given[0].numel() * weight[0].numel()
    return 2.0 * out.numel() * given[0].shape[-1]


def inputs_of(spec: StageSpec, batch: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Inputs of a stage: grey pictures."""
    shape = (batch, 3, 384, 640) if spec.kind.searches else (batch, 3, spec.size, spec.size)
    shapes = {"latents": (batch, spec.latent), "shares": (1,)}
    return {port.name: torch.full(shapes.get(port.content, shape), 0.5, device=device) for port in spec.inputs}


def traffic(pack: Pack) -> list[dict[str, Any]]:
    """FLOPs and bytes of each network for one face or frame."""
    rows = []
    for name, spec in pack.stages.items():
        flops, moved = cost(spec)
        rows += [case(f"{name}: work", "GFLOP", [flops / 1e9]), case(f"{name}: traffic", "MB", [moved / 1e6])]
    return rows


def matrix_rate(device: torch.device, side: int = 4096, numbers: int = 1 << 26) -> list[dict[str, Any]]:
    """GFLOP/s of a square matrix product in each arithmetic, and GB/s of a copy of so many floats."""
    rows = []
    for name, dtype in {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}.items():
        a, b = (torch.full((side, side), 0.01, dtype=dtype, device=device) for _ in range(2))
        seconds = timed(lambda a=a, b=b: a @ b, device)  # type: ignore[misc]
        rows.append(case(f"matrix product {name}", "GFLOP/s", [2 * side**3 / s / 1e9 for s in seconds]))
    block = torch.zeros(numbers, dtype=torch.float32, device=device)
    other = torch.empty_like(block)
    seconds = timed(lambda: other.copy_(block), device)
    return [*rows, case("copy", "GB/s", [2 * block.numel() * 4 / s / 1e9 for s in seconds])]


def timed(work: Callable[[], Any], device: torch.device, repeats: int = 5) -> list[float]:
    """Seconds of single runs after a warm-up, with the device's work finished."""

    def finish() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    seconds = []
    for repeat in range(repeats + 2):
        finish()
        start = time.perf_counter()
        work()
        finish()
        if repeat >= 2:
            seconds.append(time.perf_counter() - start)
    return seconds


def attained(pack: Pack, args: argparse.Namespace, rates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows for each network: its rate, and its share of the measured one and of the roof above it."""
    rate = {row["name"]: row["median"] for row in rates}
    peak, copy = rate[f"matrix product {args.arithmetic}"], rate["copy"]
    rows, device = [], torch.device(args.device)
    for name, spec in pack.stages.items():
        flops, moved = cost(spec, batch=args.batch)
        inputs = inputs_of(spec, args.batch, device)
        backend = choose(args.backend, args.device, graphs=(spec,)).backend
        options = on_cores(backend, args.threads)
        with open_engine(spec, backend=backend, device=args.device, options=options) as engine:
            seconds = timed(lambda e=engine, i=inputs: e(**i), device, args.repeats)  # type: ignore[misc]
        gflops = flops / statistics.median(seconds) / 1e9
        roof = min(peak, copy * flops / max(moved, 1.0))
        rows += [
            case(f"{name}", "ms", [s * 1e3 / args.batch for s in seconds]),
            case(f"{name}: rate", "GFLOP/s", [gflops]),
            case(f"{name}: share of the matrix rate", "share", [gflops / peak]),
            case(f"{name}: share of its roof", "share", [gflops / roof if roof else 0.0]),
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", help="name or folder")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--arithmetic", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--side", type=int, default=2048, help="of the matrices whose product is timed")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write bench/results/roofline.json")
    args = parser.parse_args()
    pack = Pack.load(find_pack(Path(args.pack) if "/" in args.pack else args.pack))
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    backend = choose(args.backend, args.device, graphs=tuple(pack.stages.values())).backend
    rates = matrix_rate(torch.device(args.device), args.side)
    data = result("roofline", [*rates, *traffic(pack), *attained(pack, args, rates)], pack=pack.name,
                  backend=backend, device=args.device, batch=args.batch, arithmetic=args.arithmetic)  # fmt: skip
    print(table(data))
    if args.write:
        print(write(data))


if __name__ == "__main__":
    main()
