"""How good are a pack's swaps? Against rendered truth, on people and scenes that no training has seen.

    python -m bench.quality [--pack avatar] [--count 120] [--cache FOLDER] [--grid GRID.jpg] [--out RESULT.json]

Rows: no swap, an aligned paste of the source, the pack with default settings, without each of its stages, and the truth
itself, whose figures are the best that can be reached.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from bench import measure
from bench.check_detector import intersection_over_union
from export.avatar.crops import canvas_transforms, cut, identify_transforms
from export.avatar.renderer.color import as_bytes
from trtswap import SwapOptions, Swapper
from trtswap.canvas.parse import CLASSES
from trtswap.errors import SourceError
from trtswap.faces import Faces
from trtswap.pixels.geometry import compose, invert

from . import heldout, measures, video
from .judge import WEIGHTS, Judge

WITHOUT = {
    "ours": SwapOptions(),
    "without mouth blending": SwapOptions(mouth=False),
    "without restoring": SwapOptions(restore_weight=0.0),
    "without soft mask": SwapOptions(feather=0.0),
}


@dataclass(frozen=True)
class Judged:
    """What a picture is judged with.

    Attributes:
        judge: None before it has been trained: then nobody's likeness is judged.
        latents: of the gallery's people [500, D], by the judge.
        detect: finds landmarks, with the pack's own detector.
    """

    judge: Judge | None
    latents: Tensor
    detect: Swapper


def judged_by(detect: Swapper, cache: Path) -> Judged:
    """The judge, if it has been trained, with its opinion of the gallery."""
    if not WEIGHTS.exists():
        return Judged(None, torch.zeros(0), detect)
    judge = Judge()
    images, landmarks = heldout.gallery(cache)
    return Judged(judge, judge(images.float() / 255, landmarks), detect)


def pasted(swaps: heldout.Swaps, faces: Tensor) -> Tensor:
    """The source's face aligned onto the target's, with a soft edge: uint8 [M, H, W, 3].

    Args:
        faces: landmarks found in the sources [M, 5, 2].
    """
    images = swaps.targets.images.float() / 255
    size = images.shape[-1]
    to_source = compose(invert(identify_transforms(faces, 112)), identify_transforms(swaps.targets.landmarks, 112))
    source = cut(swaps.sources.movedim(-1, 1).float() / 255, invert(to_source), size)
    mask = torch.stack([measures.mask_of(labels, measures.FACE) for labels in swaps.targets.labels]).float()[:, None]
    mask = F.avg_pool2d(mask, 9, 1, 4)
    return as_bytes(torch.lerp(images, source, mask)).movedim(1, -1)


def swapped(swaps: heldout.Swaps, swapper: Swapper) -> Tensor:
    """The pack's result: uint8 [M, H, W, 3]; the target itself where a face was not found."""
    results = []
    for target, source in zip(swaps.targets.images.movedim(1, -1), swaps.sources, strict=True):
        try:
            who = swapper.identity(source, pick="largest")
        except SourceError:
            results.append(target)
            continue
        results.append(swapper.swap(target[None].contiguous(), who)[0])
    return torch.stack(results)


def landmarks_of(swapper: Swapper, pictures: Tensor) -> list[Tensor | None]:
    """Of the best face of each picture uint8 [M, H, W, 3]."""
    found = []
    for picture in pictures:
        faces: Faces = swapper.detect(picture[None].contiguous())
        found.append(faces.landmarks[int(faces.score.argmax())] if len(faces) else None)
    return found


def row(name: str, made: Tensor, swaps: heldout.Swaps, judged: Judged) -> list[dict[str, Any]]:
    """All measures of one way to swap, as cases of a result."""
    pictures = made.movedim(-1, 1).float() / 255
    truths, targets = swaps.truths.images.float() / 255, swaps.targets.images.float() / 255
    values: dict[str, list[float]] = {}

    def note(key: str, value: float | None) -> None:
        if value is not None:
            values.setdefault(key, []).append(value)

    found, wanted = (landmarks_of(judged.detect, p) for p in (made, swaps.truths.images.movedim(1, -1)))
    for i, picture in enumerate(pictures):
        labels = swaps.targets.labels[i]
        area = measures.face_area(labels, swaps.truths.labels[i])
        note("PSNR (dB)", measures.psnr(picture, truths[i], area))
        note("SSIM", measures.similarity(picture, truths[i], area))
        note("sharpness", measures.sharpness(picture, truths[i], area))
        note("mouth error", measures.mouth_error(picture, targets[i], labels))
        note("edge visibility", measures.edge_visibility(picture, truths[i], labels))
        if found[i] is not None and wanted[i] is not None:
            note("landmark error", measures.landmark_error(found[i], wanted[i]))  # type: ignore[arg-type]
    if judged.judge is not None:
        cosine = judged.judge(pictures, swaps.truths.landmarks) @ judged.latents.T
        values["top-1 of 500"] = [float((cosine.argmax(1) == swaps.people).float().mean())]
        values["cosine to source"] = cosine.gather(1, swaps.people[:, None])[:, 0].tolist()
    return [measure.case(f"{name}: {key}", "1", v) for key, v in values.items()]


def detector_and_parser(swapper: Swapper, swaps: heldout.Swaps) -> list[dict[str, Any]]:
    """Average precision of the pack's detector, and overlap of its parser's labels."""
    pictures = swaps.targets.images.movedim(1, -1)
    scores, correct = [], []
    for i, picture in enumerate(pictures):
        faces = swapper.detect(picture[None].contiguous())
        free = True
        for j in faces.score.argsort(descending=True).tolist():
            hit = free and intersection_over_union(faces.box[j], swaps.targets.boxes[i]) >= 0.5
            free = free and not hit
            scores.append(float(faces.score[j]))
            correct.append(hit)
    precision = measures.average_precision(torch.tensor(scores), torch.tensor(correct), len(pictures))
    labels, truth = parsed(swapper, swaps)
    mean, per_class = measures.mean_overlap(labels, truth, len(CLASSES))
    return [
        measure.case("detector: AP@0.5", "1", [precision]),
        measure.case("parser: mIoU", "1", [mean]),
        *(measure.case(f"parser: {CLASSES[c]}", "1", [v]) for c, v in per_class.items()),
    ]


def parsed(swapper: Swapper, swaps: heldout.Swaps) -> tuple[Tensor, Tensor]:
    """Labels found and true, on the canvas: uint8 [M, P, P]."""
    size = swapper.pack.stages["parse"].size
    transforms = canvas_transforms(swaps.targets.landmarks, size)
    canvas = cut(swaps.targets.images.float() / 255, transforms, size).clamp(0, 1)
    truth = cut(swaps.targets.labels[:, None].float(), transforms, size, mode="nearest")[:, 0].round().byte()
    engine = swapper.engines["parse"]
    found = torch.cat([engine(faces=canvas[i : i + 4])["labels"].clone() for i in range(0, len(canvas), 4)])
    return found, truth


def grid(path: Path, swaps: heldout.Swaps, columns: dict[str, Tensor], rows: int = 8) -> None:
    """A picture: source, target, each way to swap, truth."""
    shown = [swaps.sources, swaps.targets.images.movedim(1, -1), *columns.values(), swaps.truths.images.movedim(1, -1)]
    page = np.concatenate([np.concatenate([c[i].numpy() for c in shown], 1) for i in range(rows)], 0)
    Image.fromarray(page).resize((page.shape[1] * 2 // 3, page.shape[0] * 2 // 3), Image.Resampling.LANCZOS).save(
        path, quality=90
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", default="avatar")
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--cache", type=Path, default=Path("demo/quality"))
    parser.add_argument("--grid", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    swaps = heldout.swaps(options.count, options.cache)
    with Swapper(options.pack) as plain:
        judged = judged_by(plain, options.cache)
        sources = landmarks_of(plain, swaps.sources)
        centre = torch.stack([s if s is not None else swaps.targets.landmarks[0] for s in sources])
        columns = {"no swap": swaps.targets.images.movedim(1, -1), "paste": pasted(swaps, centre)}
        cases = detector_and_parser(plain, swaps)
        for name, choices in WITHOUT.items():
            with Swapper(options.pack, options=choices) as swapper:
                columns[name] = swapped(swaps, swapper)
        columns["truth"] = swaps.truths.images.movedim(1, -1)
        for name, made in columns.items():
            cases += row(name, made, swaps, judged)
        cases += video.cases(options.pack)
    data = measure.result("quality", cases, pack=options.pack, count=options.count, max_yaw_degrees=heldout.MAX_YAW)
    print(measure.write(data, options.out))
    print(measure.table(data))
    if options.grid is not None:
        grid(options.grid, swaps, {k: v for k, v in columns.items() if k in ("paste", "ours")})


if __name__ == "__main__":
    main()
