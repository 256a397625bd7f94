"""End-to-end speed against bench/baseline.py, measured in turn in the same run.

    python bench/throughput.py avatar   [--pack avatar] [--video clip.mp4]     # >= 2.5 x the baseline
    python bench/throughput.py full     [--pack INT8 --against FP32]           # >= 1.5 x, >= 85 % in networks
    python bench/throughput.py identity                                        # >= 30 frames/s at 1080p, x264 ultrafast
    python bench/throughput.py pipelining [--pack PACK]                        # time <= 1.15 x the slowest role's own
    python bench/throughput.py memory   [--minutes 20]                         # flat

Every case prints its table; ``--write`` puts it into bench/results/. Without ``--pack``, `full` and `identity` make
their packs, with the real detector: full architectures with random weights elsewhere, and Identity nodes.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from baseline import Baseline
from measure import case, interleaved, peak_memory_mib, result, table, write

from trtswap import Pack, RuntimeOptions, SwapOptions, Swapper
from trtswap.backends.sizing import cores
from trtswap.cli.process import bound_arenas
from trtswap.cli.runtime import Running
from trtswap.export.build import Weights, export_pack
from trtswap.export.recipes import find_recipe
from trtswap.packs import find_pack
from trtswap.report.benchmark import Run, run_compute, run_video, somebody

DATA = Path(__file__).parents[2] / "shared" / "data"
ROLES = {
    "decode": ("decode",),
    "detect": ("detect", "track", "identify"),
    "swap": ("align", "swap", "parse", "blend", "restore"),
    "paste": ("paste",),
    "encode": ("encode",),
}


def against_baseline(name: str, args: argparse.Namespace, *, pack: Pack, video: Path, preset: str) -> dict[str, Any]:
    """Both sides in turn: frames per second, their ratio, and the share of time inside the networks."""
    with tempfile.TemporaryDirectory() as folder, opened(pack, args) as swapper:
        who, out = somebody(swapper), Path(folder)
        first = Baseline(Pack.load(find_pack(args.against)) if args.against else pack, args.detector)
        latent = who.latent[None].numpy()
        runs: list[Run] = []

        def ours() -> float:
            runs.append(run_video(swapper, video, out / "a.mp4", who, preset=preset, end=args.end))
            return runs[-1].frames_per_second

        def theirs() -> float:
            run = first.swap_video(video, out / "b.mp4", latent, preset=preset, end=args.end)
            return run.frames / run.seconds

        rows = interleaved({"trtswap": ours, "baseline": theirs}, repeats=args.repeats, warm_up=1, unit="fps")
        speeds = {row["name"]: row["values"] for row in rows}
        ratios = [a / b for a, b in zip(speeds["trtswap"], speeds["baseline"], strict=True)]
        memory_mib = peak_memory_mib()
        alone = in_turn(pack, args, video, out / "a.mp4", preset)
        rows += [
            case("trtswap / baseline", "x", ratios),
            case("share of time in networks", "", [alone.network_share]),
            case("cores in use", "", [run.cpu_seconds / run.seconds for run in runs[1:]]),
            case("latency", "ms", [run.latency_seconds * 1e3 for run in runs[1:]]),
            case("peak memory", "MiB", [memory_mib]),
            *stage_rows(alone),
        ]
    return result(f"throughput_{name}", rows, **running(swapper),
                  precision=pack.stages["swap"].precision, video=video.name, preset=preset, end=args.end)  # fmt: skip


def identity(args: argparse.Namespace, pack: Pack, video: Path) -> dict[str, Any]:
    """The runtime alone: detection is the only network."""
    with tempfile.TemporaryDirectory() as folder, opened(pack, args) as swapper:
        out, who = Path(folder) / "a.mp4", somebody(swapper)
        runs = [run_video(swapper, video, out, who, preset="ultrafast", end=args.end) for _ in range(args.repeats + 1)]
        memory_mib = peak_memory_mib()
        alone = in_turn(pack, args, video, out, "ultrafast")
    rows = [
        case("identity, 1080p", "fps", [run.frames_per_second for run in runs[1:]]),
        case("cpu time", "ms/fr", [1e3 * run.cpu_seconds / run.frames for run in runs[1:]]),
        case("cores in use", "", [run.cpu_seconds / run.seconds for run in runs[1:]]),
        case("peak memory", "MiB", [memory_mib]),
        *stage_rows(alone),
    ]
    return result("throughput_identity", rows, **running(swapper), video=video.name, preset="ultrafast",
                  detect_every=args.detect_every)  # fmt: skip


def pipelining(args: argparse.Namespace, pack: Pack, video: Path) -> dict[str, Any]:
    """The time of a pipelined swap against what bounds it.

    No schedule beats the slowest role alone, one batch after the other on every core, by more than what several workers
    spare, nor all work spread evenly over the cores.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(pack, args) as swapper,
        opened(pack, args, workers=1) as single,
    ):
        out, who = Path(folder) / "a.mp4", somebody(swapper)
        to_slowest, to_bound, to_turn = [], [], []
        for repeat in range(args.repeats + 1):
            alone, together = (
                run_video(s, video, out, who, preset=args.preset, end=args.end, pipelined=s is swapper)
                for s in (single, swapper)
            )
            slowest = max(sum(alone.stage_seconds.get(s, 0.0) for s in stages) for stages in ROLES.values())
            if repeat:
                to_slowest.append(together.seconds / slowest)
                to_bound.append(together.seconds / max(slowest, alone.cpu_seconds / args.cores))
                to_turn.append(alone.seconds / together.seconds)
    rows = [
        case("time / slowest role's own time", "x", to_slowest),
        case("time / greater of that and all work spread over the cores", "x", to_bound),
        case("speed / that of the stages in turn", "x", to_turn),
        *stage_rows(alone),
    ]
    settings = {"video": video.name, "preset": args.preset, "cores": args.cores}
    return result(f"pipelining_{'avatar' if pack.name == 'avatar' else 'full'}", rows, **running(swapper), **settings)


def memory(args: argparse.Namespace, pack: Pack) -> dict[str, Any]:
    """Peak memory after each tenth of a long run of made-up 720p frames."""
    part = max(8, round(args.minutes * 60 * 25 / 10))
    with opened(pack, args) as swapper:
        peaks = []
        for _ in range(10):
            run_compute(swapper, size=(1280, 720), faces=1, frames=part)
            peaks.append(peak_memory_mib())
    rows = [case("peak memory by tenth of the video", "MiB", peaks),
            case("last tenth / second tenth", "x", [peaks[-1] / peaks[1]])]  # fmt: skip
    return result("memory", rows, **running(swapper), frames=10 * part)


def running(swapper: Swapper) -> dict[str, Any]:
    """What was measured."""
    return {"pack": swapper.pack.name, "backend": swapper.choice.backend, "workers": swapper.runtime.options.workers}


def stage_rows(run: Run) -> list[dict[str, Any]]:
    """Time of each stage when nothing else runs beside it."""
    return [case(f"stage {name}", "ms/fr", [1e3 * s / run.frames]) for name, s in run.stage_seconds.items()]


def in_turn(pack: Pack, args: argparse.Namespace, video: Path, target: Path, preset: str) -> Run:
    """One stage after the other, each with every core to itself; the second run, since a first one warms up."""
    with opened(pack, args, workers=1) as swapper:
        who = somebody(swapper)
        _, run = (
            run_video(swapper, video, target, who, preset=preset, end=args.end, pipelined=False) for _ in range(2)
        )
    return run


def opened(pack: Pack, args: argparse.Namespace, *, workers: int | None = None) -> Swapper:
    """As the command line opens it, where nothing else is asked for."""
    settled = RuntimeOptions(batch=args.batch, face_batch=args.face_batch, threads=args.threads)
    running = Running(str(pack.path), args.backend, "cpu", settled, workers or args.workers)
    return running.open(SwapOptions(detect_every=args.detect_every))


def made(name: str, folder: Path) -> Pack:
    """A pack of a recipe: the detector's real weights, random ones elsewhere."""
    weights = Weights(DATA) if name in ("identity", "paste") else Weights(DATA, seed=0)
    return export_pack(find_recipe(name), folder / name, weights)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("row", choices=("avatar", "full", "identity", "pipelining", "memory"))
    parser.add_argument("--pack", help="name or folder")
    parser.add_argument("--against", help="pack that the baseline runs, where it is not the same")
    parser.add_argument("--video", type=Path, default=DATA / "presenter.mp4")
    parser.add_argument("--end", type=float, help="seconds of the video to take")
    parser.add_argument("--detector", type=Path, help="ONNX file for the baseline's FaceDetectorYN")
    parser.add_argument("--preset", default="ultrafast")
    parser.add_argument("--backend", default="auto")
    for name in ("threads", "batch", "face-batch", "workers"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--cores", type=int, default=cores())
    parser.add_argument("--detect-every", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write bench/results/")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    args = parsed(arguments)
    # As the command line does beside the CPU's runtimes: for the baseline too.
    torch.set_num_threads(1)
    bound_arenas()
    default = {"avatar": "avatar", "full": "simswap-224", "memory": "identity"}.get(args.row, "identity")
    with tempfile.TemporaryDirectory() as folder:
        if args.pack is None and default != "avatar":
            pack = made(default, Path(folder))
        else:
            pack = Pack.load(find_pack(args.pack or default))
        rows: dict[str, Callable[[], dict[str, Any]]] = {
            "avatar": lambda: against_baseline("avatar", args, pack=pack, video=args.video, preset=args.preset),
            "full": lambda: against_baseline("full", args, pack=pack, video=args.video, preset=args.preset),
            "identity": lambda: identity(args, pack, args.video),
            "pipelining": lambda: pipelining(args, pack, args.video),
            "memory": lambda: memory(args, pack),
        }
        data = rows[args.row]()
    print(table(data))
    if args.write:
        print(write(data))


if __name__ == "__main__":
    main()
