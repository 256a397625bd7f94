"""Hands before faces: how much of them stays as it is, and how much of the face is not swapped for their sake.

    python -m bench.realfaces.occluded CLIP --source FACE.png --hand HAND.jpg [--hand ...] [--sheet SHEET.jpg]
    python -m bench.realfaces.occluded --avatar FOLDER

A hand is photographed before an even wall (the npm package fingerpose 0.1.0 has three); FOLDER keeps what was rendered.
Every frame is swapped with and without an occluder; what counts are the pixels that the swap without it changes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench import measure
from trtswap import RuntimeOptions, Swapper
from trtswap.packs import DEFAULT_PACK, sample_sources
from trtswap.pictures.arrays import frames_from_rgb
from trtswap.pixels.frames import Frames
from trtswap.quality.clip import follow

from . import hands
from .hands import Covered

CHANGED = 8  # levels, from which on a pixel has been swapped
FEWEST = 100  # pixels of a frame that make a share
LESS = 4  # what has changed by so many times less stays
HAND, FREE = 0.9, 0.02  # how much of a pixel the hand hides
ROWS, SIDE = 6, 320


def swapped(frames: Sequence[NDArray[np.uint8]], source: Path, pack: str, *, occlude: bool) -> NDArray[np.uint8]:
    """The frames as one stream, [T, H, W, 3]."""
    made: list[NDArray[np.uint8]] = []

    def keep(parts: Sequence[Frames]) -> None:
        made.extend(part.rgb(i).cpu().numpy() for part in parts for i in range(len(part)))

    with Swapper(pack, runtime=RuntimeOptions(occlude=occlude)) as swapper:
        session = swapper.session(swapper.identity(source))
        for start in range(0, len(frames), 8):
            keep(session.push(frames_from_rgb(list(frames[start : start + 8]))))
        keep(session.flush())
    return np.stack(made)


def change(result: NDArray[np.uint8], frame: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Levels by which each pixel of a frame has changed, [H, W]."""
    levels: NDArray[np.int16] = np.abs(result.astype(np.int16) - frame).max(-1)
    return levels


def cases(
    name: str, covered: Covered, without: NDArray[np.uint8], with_it: NDArray[np.uint8], bare: NDArray[np.uint8] | None
) -> list[dict[str, Any]]:
    """Shares of pixels, of each frame that has enough of them.

    Args:
        without, with_it: the frames swapped without and with an occluder.
        bare: the frames without a hand swapped, which say what of the face is; ``without`` where None, although a hand
            lends the face beside it its light.
    """
    kept, lost, pixels, stay = [], [], 0, 0
    painted, results = (list(map(change, made, covered.frames)) for made in (without, with_it))
    faces = painted if bare is None else list(map(change, bare, covered.bare))
    known = covered.faces or [np.ones_like(hand, bool) for hand in covered.hands]
    for hand, before, face, after, there in zip(covered.hands, painted, faces, results, known, strict=True):
        over, beside = (before >= CHANGED) & (hand > HAND), (face >= CHANGED) & (hand < FREE) & there
        stays = (after < before / LESS)[over]
        pixels, stay = pixels + stays.size, stay + int(stays.sum())
        if stays.size > FEWEST:
            kept.append(float(stays.mean()))
            lost.append(float((after < face / LESS)[beside].mean()))
    return [
        measure.case(f"{name}: of all frames' pixels of a hand, stays", "share", [stay / pixels]),
        measure.case(f"{name}: of a frame's pixels of a hand, stays", "share", kept),
        measure.case(f"{name}: of the face beside a hand, not swapped", "share", lost),
    ]


def bare_cases(
    name: str, covered: Covered, without: NDArray[np.uint8], with_it: NDArray[np.uint8]
) -> list[dict[str, Any]]:
    """What an occluder takes from faces that nothing hides."""
    pairs = zip(map(change, without, covered.bare), map(change, with_it, covered.bare), strict=True)
    lost = [float((after < before / LESS)[before >= CHANGED].mean()) for before, after in pairs]
    return [measure.case(f"{name}: of a bare face, not swapped", "share", lost)]


def sheet(covered: Covered, *results: NDArray[np.uint8]) -> Image.Image:
    """Frames spread over the clip, cut about the hand and the face: original, then each result."""
    page = Image.new("RGB", (ROWS * SIDE, (1 + len(results)) * SIDE))
    for column, number in enumerate(np.linspace(0, len(covered.frames) - 1, ROWS + 2).round().astype(int)[1:-1]):
        ys, xs = np.nonzero(change(results[0][number], covered.frames[number]) >= CHANGED)
        middle, half = (int(xs.mean()), int(ys.mean())), int(0.75 * (np.ptp(ys) + 1))
        box = (middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half)
        for row, frames in enumerate((covered.frames, *results)):
            picture = Image.fromarray(frames[number]).crop(box).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            page.paste(picture, (column * SIDE, row * SIDE))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, nargs="?")
    parser.add_argument("--source", type=Path)
    parser.add_argument("--hand", type=Path, action="append", default=[])
    parser.add_argument("--avatar", type=Path)
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    if options.avatar:
        name, source, covered = "avatar", options.source or sample_sources("avatar")[0], hands.drawn(options.avatar)
    elif options.clip and options.source and options.hand:
        with Swapper(runtime=RuntimeOptions(occlude=False)) as swapper:
            clip = follow(options.clip, swapper.runtime)
        name, source = options.clip.stem, options.source
        covered = hands.photographed(clip, [hands.cut_out(file) for file in options.hand])
    else:
        parser.error("expected CLIP, --source and --hand, or --avatar FOLDER")
    results = [swapped(covered.frames, source, options.pack, occlude=occlude) for occlude in (False, True)]
    bare = swapped(covered.bare, source, options.pack, occlude=False) if covered.bare else None
    rows = cases(name, covered, *results, bare)
    if bare is not None:
        rows += bare_cases(name, covered, bare, swapped(covered.bare, source, options.pack, occlude=True))
    found = measure.result("occluded", rows, pack=options.pack, frames=len(covered.frames))
    print(measure.table(found))
    if options.write:
        measure.write(found, options.write)
    if options.sheet:
        sheet(covered, *results).save(options.sheet)


if __name__ == "__main__":
    main()
