"""Does a detector that has only ever seen photographs take the avatars for faces?

    python -m bench.check_detector YUNET.pth [--count 1000] [--out RESULT.json]

Renders random avatars with moderate yaw, runs the real YuNet on them, and writes how many faces were found exactly,
with which scores, and how far their landmarks lie from the truth.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench import measure
from export.avatar.renderer.noise import Noise
from export.avatar.renderer.render import Avatars, Renderer
from export.avatar.renderer.scene import sample_scene
from trtswap.export.checkpoints import load_into, load_state_dict
from trtswap.export.detect import DetectGraph
from trtswap.export.networks.yunet import YuNet

SCORE = 0.6  # what counts as found
OVERLAP = 0.5  # intersection over union with the true box
TARGETS = {"found": 0.99, "score": 0.88, "landmark error": 0.07}
CHUNK = 10
ENLARGED = 2  # pictures are enlarged before detection, as the runtime enlarges small ones to its detector's size


@dataclass(frozen=True)
class Finding:
    """What the detector says about one avatar.

    Attributes:
        faces: how many faces it sees.
        overlap: intersection over union of the best one's box with the true box.
        score: of the best one.
        error: mean distance of its landmarks from the true ones, as a share of the distance between the true eyes.
        offsets: of each landmark from the truth, in the same unit, [5, 2].
    """

    faces: int
    overlap: float
    score: float
    error: float
    offsets: Tensor

    @property
    def exact(self) -> bool:
        """Whether the rendered face and nothing else was found."""
        return self.faces == 1 and self.overlap >= OVERLAP


def detector(weights: Path) -> DetectGraph:
    """The real YuNet (n) with its decoding, from its published checkpoint."""
    network = YuNet("n")
    load_into(network, load_state_dict("yunet_n", weights))
    return DetectGraph(network, threshold=SCORE).eval()


@torch.inference_mode()
def findings(graph: DetectGraph, avatars: Avatars) -> Iterator[Finding]:
    """One finding for each avatar."""
    images = F.interpolate(avatars.images, scale_factor=float(ENLARGED), mode="bilinear")
    boxes, landmarks, scores = graph(images)
    boxes, landmarks = ((v + 0.5) / ENLARGED - 0.5 for v in (boxes, landmarks))
    for i, true_box in enumerate(avatars.boxes):
        truth = avatars.landmarks[i]
        offsets = (landmarks[i, 0] - truth) / (truth[1] - truth[0]).norm()
        yield Finding(
            faces=int((scores[i] > 0).sum()),
            overlap=intersection_over_union(boxes[i, 0], true_box),
            score=float(scores[i, 0]),
            error=float(offsets.norm(dim=-1).mean()),
            offsets=offsets,
        )


def intersection_over_union(a: Tensor, b: Tensor) -> float:
    """Of two boxes xyxy [4]."""
    shared = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0).prod()
    return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))


def check(weights: Path, *, first: int, count: int, samples: int) -> dict[str, Any]:
    """A result in the format of ``bench/measure.py``."""
    graph, renderer = detector(weights), Renderer(Noise(), samples=samples)
    found: list[Finding] = []
    seconds: list[float] = []
    for start in range(first, first + count, CHUNK):
        seeds = range(start, min(start + CHUNK, first + count))
        scene = sample_scene(seeds, max_yaw_degrees=30.0)
        begin = time.perf_counter()
        avatars = renderer.render(scene)
        seconds.append((time.perf_counter() - begin) / len(seeds))
        found += findings(graph, avatars)
    exact = [f for f in found if f.exact]
    cases = [
        measure.case("found exactly", "share", [float(f.exact) for f in found]),
        measure.case("score", "1", [f.score for f in found]),
        measure.case("box overlap", "IoU", [f.overlap for f in exact]),
        measure.case("landmark error", "eye distances", [f.error for f in exact]),
        measure.case("rendering", "s", seconds),
    ]
    offsets = torch.stack([f.offsets for f in exact]).mean(0)
    summary = {
        "found": sum(f.exact for f in found) / count,
        "score": sum(f.score for f in found) / count,
        "landmark error": sum(f.error for f in exact) / max(1, len(exact)),
    }
    missed = [first + i for i, f in enumerate(found) if not f.exact]
    return measure.result(
        "avatars_detector", cases, first=first, count=count, samples=samples, size=[renderer.height, renderer.width],
        means=summary, targets=TARGETS, missed=missed,
        mean_offsets=[[round(v, 4) for v in row] for row in offsets.tolist()],
    )  # fmt: skip


def passes(means: dict[str, float]) -> bool:
    return all((means[k] <= v) if k == "landmark error" else (means[k] >= v) for k, v in TARGETS.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="yunet_n.pth")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=2, help="per pixel and axis")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    data = check(options.weights, first=options.first, count=options.count, samples=options.samples)
    print(measure.write(data, options.out))
    print(measure.table(data))
    print(data["settings"])
    if not passes(data["settings"]["means"]):
        sys.exit("below the targets")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
