"""What a GPU does with trtswap, in one command and one JSON: torch alone is enough, no network, about six minutes.

    python bench/gpu_check.py [--device cuda] [--minutes 6] [--out bench/results/gpu_check.json]
    python bench/gpu_check.py --device cpu --tiny          # the same code on a small pack, to see that it runs

What does not fit into the time or fails is said so in the result. In this order: the measured matrix rate; numbers of
each network on the GPU (bfloat16, float16, CUDA graphs) against the CPU in float32; the pipeline with full-size random
weights at 720p and 1080p with 1, 4 and 16 faces a frame, and how busy the device is; batch sizes; CUDA graphs on and
off; which encoders open; and the tests marked gpu.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from measure import RESULTS, case, result, table, write
from roofline import matrix_rate, traffic

from trtswap import Pack, RuntimeOptions, Swapper
from trtswap.backends import TorchOptions, open_engine
from trtswap.export.build import Weights, export_pack
from trtswap.export.recipes import find_recipe, paste
from trtswap.report.benchmark import Run, run_compute

ROOT = Path(__file__).parents[1]
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": None}


class Check:
    """Runs parts until the time is up and keeps what they measured; a part that fails does not stop the others."""

    def __init__(self, minutes: float) -> None:
        self.rows: list[dict[str, Any]] = []
        self.notes: dict[str, str] = {}
        self._end = time.monotonic() + 60 * minutes

    @property
    def seconds_left(self) -> float:
        return self._end - time.monotonic()

    def part(self, name: str, work: Callable[[], list[dict[str, Any]]], *, needs_seconds: float) -> None:
        if self.seconds_left < needs_seconds:
            self.notes[name] = f"left out: {self.seconds_left:.0f} s were left"
            return
        start = time.monotonic()
        try:
            self.rows += work()
            self.notes[name] = f"done in {time.monotonic() - start:.0f} s"
        except Exception as error:  # noqa: BLE001 - told in the result
            self.notes[name] = f"FAILED: {type(error).__name__}: {error}"
            traceback.print_exc()
        print(f"{name}: {self.notes[name]}", flush=True)


def numerics(pack: Pack, device: torch.device, *, tiny: bool) -> list[dict[str, Any]]:
    """Largest and mean difference of each graph to float32 on the CPU, as a share of the output's range."""
    rows = []
    for name, spec in pack.graphs.items():
        inputs = example(spec, pack, count=2, tiny=tiny)
        with open_engine(spec, backend="torch", device="cpu") as engine:
            truth = {key: value.clone().double() for key, value in engine(**inputs).items()}
        for label, half in HALVES.items():
            options = TorchOptions(half=half)
            with open_engine(spec, backend="torch", device=device, options=options) as engine:
                engine.prepare(**{key: tuple(value.shape) for key, value in inputs.items()})
                got = engine(**{key: value.to(device) for key, value in inputs.items()})
                for key, value in got.items():
                    rows += differences(f"{name}.{key} {label}", value.cpu().double(), truth[key])
    return rows


def differences(name: str, got: torch.Tensor, truth: torch.Tensor) -> list[dict[str, Any]]:
    if not bool(got.isfinite().all()):
        raise ValueError(f"{name} is not finite")
    if name.startswith("parse"):
        return [case(f"{name}: other label", "share", [float((got != truth).double().mean())])]
    span = max(float(truth.max() - truth.min()), 1e-9)
    off = (got - truth).abs() / span
    return [case(f"{name}: largest difference", "share", [float(off.max())]),
            case(f"{name}: mean difference", "share", [float(off.mean())])]  # fmt: skip


def example(spec: Any, pack: Pack, *, count: int, tiny: bool) -> dict[str, torch.Tensor]:
    """Inputs of a stage: smooth noise, and unit latents."""
    noise = torch.Generator().manual_seed(0)
    searched = (96, 160) if tiny else (384, 640)
    sides = searched if spec.kind.searches else (spec.size, spec.size)
    inputs = {}
    for port in spec.inputs:
        if port.content == "latents":
            latent = torch.randn(count, spec.latent, generator=noise)
            inputs[port.name] = latent / latent.norm(dim=1, keepdim=True)
        elif port.content == "shares":
            inputs[port.name] = torch.full((1,), 0.5)
        else:
            small = torch.rand(count, 3, 12, 20, generator=noise)
            inputs[port.name] = torch.nn.functional.interpolate(small, sides, mode="bilinear").contiguous()
    return inputs


def pipeline_rows(pack: Pack, device: torch.device, *, tiny: bool, check: Check) -> Iterator[tuple[str, Any]]:
    """Parts of the compute-side pipeline: sizes and faces, the batch sweep, CUDA graphs on and off."""
    sizes = {"tiny": (320, 180)} if tiny else {"720p": (1280, 720), "1080p": (1920, 1080)}
    faces_of = (1, 4) if tiny else (1, 4, 16)
    frames = 2 if tiny else 256
    for label, size in sizes.items():
        for faces in faces_of:
            name = f"{label}, {faces} face{'s' if faces > 1 else ''}"
            yield (
                name,
                lambda n=name, s=size, f=faces: speed(
                    pack, device, n, size=s, faces=f, frames=max(2, frames // f), batch=8
                ),
            )
    label, size = list(sizes.items())[-1]
    for batch in (2, 4) if tiny else (1, 2, 4, 8, 16, 32):
        name = f"{label}, 1 face, batch {batch}"
        yield (
            name,
            lambda n=name, b=batch: speed(pack, device, n, size=size, faces=1, frames=frames, batch=b, face_batch=b),
        )
    for graphs in (True, False):
        name = f"{label}, 1 face, CUDA graphs {'on' if graphs else 'off'}"
        yield (
            name,
            lambda n=name, g=graphs: speed(pack, device, n, size=size, faces=1, frames=frames, batch=8, graphs=g),
        )


def speed(
    pack: Pack,
    device: torch.device,
    name: str,
    *,
    size: tuple[int, int],
    faces: int,
    frames: int,
    batch: int,
    face_batch: int | None = None,
    graphs: bool = True,
) -> list[dict[str, Any]]:
    """Frames per second, latency, device busy share, time by stage, and memory."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    options = RuntimeOptions(batch=batch, face_batch=face_batch, cuda_graphs=graphs)
    with Swapper(pack.path, backend="torch", device=str(device), runtime=options) as swapper:
        settings: dict[str, Any] = {"size": size, "faces": faces, "frames": frames}
        run_compute(swapper, **settings)
        runs = [run_compute(swapper, **settings) for _ in range(2)]
        staged = run_compute(swapper, **settings, pipelined=False, profile=True)
        busy = device_busy_share(lambda: run_compute(swapper, **settings), device)
    rows = [
        case(f"{name}", "fps", [run.frames_per_second for run in runs]),
        case(f"{name}: latency", "ms", [1e3 * run.latency_seconds for run in runs]),
        *stages(name, staged),
    ]
    if busy is not None:
        peak = torch.cuda.max_memory_reserved(device) / 2**20
        rows += [case(f"{name}: device busy", "share", [busy]), case(f"{name}: device memory", "MiB", [peak])]
    return rows


def stages(name: str, run: Run) -> list[dict[str, Any]]:
    return [case(f"{name}: {stage}", "ms/fr", [1e3 * s / run.frames]) for stage, s in run.stage_seconds.items()]


def device_busy_share(work: Callable[[], Run], device: torch.device) -> float | None:
    """Which part of the time at least one kernel or copy was running, from the profiler's device events."""
    if device.type != "cuda":
        return None
    from torch.profiler import ProfilerActivity, profile  # noqa: PLC0415 - only on a GPU

    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        run = work()
    spans = sorted((e.time_range.start, e.time_range.end) for e in recorded.events() if "CUDA" in str(e.device_type))
    total, until = 0.0, float("-inf")
    for start, end in spans:
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return min(1.0, total / 1e6 / run.seconds)


def codecs() -> list[dict[str, Any]]:
    """Which of NVIDIA's encoders open here: 1 or 0."""
    from trtswap.cli.machine import encoders  # noqa: PLC0415 - heavy

    found = [entry for entry in encoders() if entry["name"].endswith("_nvenc")]
    return [case(f"encoder {entry['name']} opens", "", [float(entry["problem"] is None)]) for entry in found]


def gpu_tests(seconds: float) -> list[dict[str, Any]]:
    """The tests marked gpu; they must not be skipped for want of a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", str(ROOT / "tests")]
    done = subprocess.run(
        command,
        check=False,
        env={**os.environ, "TRTSWAP_REQUIRE_GPU": "1"},
        capture_output=True,
        text=True,
        timeout=seconds,
        cwd=ROOT,
    )
    print(done.stdout[-4000:])
    if done.returncode:
        raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout.strip().splitlines()[-1:]}")
    return [case("tests marked gpu", "passed", [1.0])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--tiny", action="store_true", help="a small pack and few frames, to see that it runs")
    parser.add_argument("--pack", type=Path, help="a pack's folder, instead of full architectures with random weights")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu_check.json")
    args = parser.parse_args()
    device, check = torch.device(args.device), Check(args.minutes)
    if device.type == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    with tempfile.TemporaryDirectory() as folder:
        recipe = paste(size=64, canvas=128) if args.tiny else find_recipe("simswap-224")
        pack = Pack.load(args.pack) if args.pack else export_pack(recipe, Path(folder) / "pack", Weights(None, seed=0))
        side = 256 if args.tiny else 8192
        check.part("matrix rate", lambda: matrix_rate(device, side, 1 << 20 if args.tiny else 1 << 26), needs_seconds=5)
        check.part("numbers", lambda: numerics(pack, device, tiny=args.tiny), needs_seconds=20)
        for name, work in pipeline_rows(pack, device, tiny=args.tiny, check=check):
            check.part(name, work, needs_seconds=10)
        check.part("FLOPs and bytes", lambda: traffic(pack), needs_seconds=5)
    check.part("codecs", codecs, needs_seconds=3)
    if device.type == "cuda":
        check.part("gpu tests", lambda: gpu_tests(check.seconds_left), needs_seconds=30)
    data = result("gpu_check", copy.deepcopy(check.rows), pack=pack.name, tiny=args.tiny, device=str(device),
                  parts=check.notes)  # fmt: skip
    print(table(data))
    print(write(data, args.out))
    failed = [name for name, note in check.notes.items() if note.startswith("FAILED")]
    if failed:
        sys.exit(f"failed: {json.dumps(failed)}")


if __name__ == "__main__":
    main()
