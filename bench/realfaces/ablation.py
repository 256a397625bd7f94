"""What each option does to a swap: on the demo clip, whose true swap is there, and on a clip of real people, judged.

python -m bench.realfaces.ablation CLIP --source FACE.png [--pack mesh] [--write FILE.json]
"""

import argparse
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from bench import measure
from bench.quality import video
from trtswap import Pack, RuntimeOptions, SwapOptions, Swapper
from trtswap.backends.runtime import Runtime
from trtswap.packs import DEFAULT_PACK, find_pack, sample_sources
from trtswap.quality.cases import judged

SAMPLES = find_pack("avatar") / "samples"
ALIKE = ("distance to the source", "distance to the original", "mouth opens alike", "eyes open alike", "flicker")

VARIANTS: Mapping[str, tuple[SwapOptions, RuntimeOptions]] = {
    "as it is": (SwapOptions(), RuntimeOptions()),
    "landmarks not smoothed": (SwapOptions(smooth=0), RuntimeOptions()),
    "five landmarks": (SwapOptions(), RuntimeOptions(dense=False)),
    "no occluder": (SwapOptions(), RuntimeOptions(occlude=False)),
    "mouth swapped": (SwapOptions(mouth=False), RuntimeOptions()),
    "likeness 0": (SwapOptions(likeness=0.0), RuntimeOptions()),
    "likeness 1": (SwapOptions(likeness=1.0), RuntimeOptions()),
}


@cache
def front_boxes() -> list[Tensor | None]:
    """Of the demo clip's front face, in every frame: xyxy, pixels."""
    with Swapper("avatar") as swapper:
        return [video.largest_box(faces) for faces in video.tracks(swapper, SAMPLES / "clip.mp4")]


def cases(pack: str, clip: Path, source: Path, name: str, measuring: Runtime) -> list[dict[str, Any]]:
    """Of one variant: against the truth, and by the judge."""
    options, runtime = VARIANTS[name]
    with tempfile.TemporaryDirectory() as folder:
        demo, real = Path(folder) / "demo.mp4", Path(folder) / "real.mp4"
        with Swapper(pack, options=options, runtime=runtime) as swapper:
            for original, who, made in (
                (SAMPLES / "clip.mp4", sample_sources("avatar")[0], demo),
                (clip, source, real),
            ):
                swapper.swap_video(original, made, swapper.identity(who), crf=12)
        truth = video.against_truth(demo, SAMPLES / "truth.mp4", front_boxes())
        found, _, _ = judged(clip, real, source, measuring)
    rows = [measure.case(f"{name}: demo clip, {what}", "", values) for what, values in truth.items()]
    return rows + [row | {"name": f"{name}: {row['name']}"} for row in found if row["name"] in ALIKE]


def possible(pack: str, name: str) -> bool:
    """Whether a pack takes what a variant asks for."""
    loaded = Pack.load(find_pack(pack))
    options, runtime = VARIANTS[name]
    takes_likeness = options.likeness is None or loaded.stages["swap"].likeness is not None
    return takes_likeness and (runtime.dense or not loaded.needs_points)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with Runtime(options=RuntimeOptions(restore=False, occlude=False)) as measuring:
        for name in filter(lambda name: possible(options.pack, name), VARIANTS):
            rows += cases(options.pack, options.clip, options.source, name, measuring)
    found = measure.result("ablation", rows, pack=options.pack, clip=options.clip.name)
    print(measure.table(found))
    if options.write:
        measure.write(found, options.write)


if __name__ == "__main__":
    main()
