"""Figures of a swapped clip, as rows of a result."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trtswap.backends.runtime import Runtime
from trtswap.errors import InputError
from trtswap.pictures.arrays import read_image
from trtswap.quality import measures
from trtswap.quality.clip import Clip, both, follow
from trtswap.quality.judge import Judge
from trtswap.report.measuring import case
from trtswap.swapper import Swapper

SHEET_ROWS, SHEET_SIDE = 6, 256
FEWEST = 3  # frames, that what changes over time can be seen in


def judged(original: Path, swapped: Path, source: Path, runtime: Runtime) -> tuple[list[dict[str, Any]], Clip, Clip]:
    """Every figure of a swapped clip, and the frames that were compared.

    Args:
        original, swapped: clips of the same frames, whatever program made the second.
        source: the picture of whom to show.
        runtime: finds and measures the faces.

    Raises:
        InputError: there are too few frames in which both show a face.
        ReadError: a clip cannot be read.
        SourceError: the picture cannot be read.
    """
    before, after = both(*(follow(video, runtime) for video in (original, swapped)))
    if len(before.times) < FEWEST:
        raise InputError(
            f"{original} and {swapped} both show a face in {len(before.times)} frames, expected {FEWEST} or more."
        )
    cases = [*identity_cases(before, after, source, runtime), *expression_cases(before, after)]
    return [*cases, *picture_cases(before, after)], before, after


def identity_cases(original: Clip, swapped: Clip, source: Path, runtime: Runtime) -> list[dict[str, Any]]:
    """Who the frames show: dlib's distances, of which 0.6 and more are those of different people."""
    judge, picture = Judge(), read_image(source)
    face = Swapper(runtime=runtime).detect(picture[None])
    if not len(face):
        raise InputError(f"{source}: no face was found in it.")
    wanted = judge(np.asarray(picture), face.box[int(face.side.argmax())].numpy())
    before, after = (
        np.stack([judge(f, box.numpy()) for f, box in zip(c.frames, c.faces.box, strict=True)])
        for c in (original, swapped)
    )
    return [
        case("distance to the source", "dlib", list(np.linalg.norm(after - wanted, axis=1))),
        case("distance to the original", "dlib", list(np.linalg.norm(after - before, axis=1))),
        case("the original's distance to the source", "dlib", list(np.linalg.norm(before - wanted, axis=1))),
    ]


def expression_cases(original: Clip, swapped: Clip) -> list[dict[str, Any]]:
    """Whether pose, mouth, eyes and gaze are the original's."""
    a, b = original.pose, swapped.pose
    rows = [
        case(f"{name} apart", "degrees", (getattr(a, name) - getattr(b, name)).abs().tolist())
        for name in ("yaw", "pitch", "roll")
    ]
    rows.append(case("gaze apart", "eye widths", (a.gaze - b.gaze).norm(dim=-1).mean(1).tolist()))
    mouth = measures.correlation(a.mouth.tolist(), b.mouth.tolist())
    eyes = measures.correlation(a.eyes.mean(1).tolist(), b.eyes.mean(1).tolist())
    rows.append(case("mouth opens alike", "correlation", [mouth]))
    return [*rows, case("eyes open alike", "correlation", [eyes])]


def picture_cases(original: Clip, swapped: Clip) -> list[dict[str, Any]]:
    """What gives a swap away."""
    before, after = (clip.canvases(original.faces.landmarks) for clip in (original, swapped))
    masks = measures.mask_of(before, after)
    if not masks.any():
        return []
    own = swapped.canvases(swapped.faces.landmarks)
    ratio = measures.flicker(after, masks) / measures.flicker(before, masks)
    sharp = measures.sharpness(after, masks) / measures.sharpness(before, masks)
    steady = np.median(measures.shake(own.mean(-1))) / np.median(measures.shake(before.mean(-1)))
    return [
        case("flicker", "times the original's", [ratio]),
        case("sharpness", "times the original's", [sharp]),
        case("shake of the aligned face", "times the original's", [float(steady)]),
        case("seam", "levels per pixel", [measures.seam(before, after, masks)]),
        case("skin tone jump at the edge", "levels", [measures.tone_jump(before, after, masks)]),
    ]


def sheet(original: Clip, swapped: Clip, source: Path) -> Image.Image:
    """Source, original and swapped face side by side, for frames spread over the clip."""
    spread = np.linspace(0, len(original.times) - 1, SHEET_ROWS).round().astype(int)
    times = [original.times[i] for i in spread]
    rows = [clip.only(times).canvases(original.only(times).faces.landmarks) for clip in (original, swapped)]
    face = Image.open(source).convert("RGB")
    face.thumbnail((SHEET_SIDE, SHEET_SIDE))
    page = Image.new("RGB", ((SHEET_ROWS + 1) * SHEET_SIDE, 2 * SHEET_SIDE), (32, 32, 32))
    page.paste(face, (0, 0))
    for line, row in enumerate(rows):
        for column, canvas in enumerate(row, 1):
            picture = Image.fromarray(canvas.round().astype(np.uint8)).resize((SHEET_SIDE, SHEET_SIDE))
            page.paste(picture, (column * SHEET_SIDE, line * SHEET_SIDE))
    return page
