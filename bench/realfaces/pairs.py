"""Still pictures of several people: each shown on each of the others, and who the result is taken for.

    python -m bench.realfaces.pairs a.jpg b.jpg group.jpg@0 group.jpg@2 ... [--pack PACK] [--likeness 0 1]

``@N`` is a face of a picture, counted from the left. A result is of the first rank where dlib's network finds it nearer
to the source's picture than to anybody else's, the target's included.
"""

import argparse
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bench import measure
from trtswap import Identity, RuntimeOptions, SwapOptions, Swapper
from trtswap.faces import Faces
from trtswap.packs import DEFAULT_PACK
from trtswap.pictures.arrays import frames_from_rgb, read_image
from trtswap.pixels.geometry import align
from trtswap.quality.judge import Judge

SAME = 0.6  # distance below which dlib's documentation takes two pictures for one person
SIDE = 160


@dataclass(frozen=True)
class Person:
    """One face of a picture: RGB uint8 [H, W, 3], the face, who it is for the pack, and for the judge."""

    picture: NDArray[np.uint8]
    face: Faces
    identity: Identity
    known: NDArray[np.float64]


def person(text: str, swapper: Swapper, judge: Judge) -> Person:
    """Read ``picture.jpg`` or ``picture.jpg@N``."""
    name, _, number = text.partition("@")
    picture = np.asarray(read_image(Path(name)))
    found = swapper.detect(picture[None])
    face = found[found.box[:, 0].argsort(stable=True)[int(number or 0)][None]]
    identity = swapper.identity(Path(name), pick=int(number) if number else "largest")
    return Person(picture, face, identity, judge(picture, face.box[0].numpy()))


def shown(source: Person, target: Person, swapper: Swapper, options: SwapOptions) -> NDArray[np.uint8]:
    """The target's picture with the source's face; of several faces in it all are swapped."""
    made: NDArray[np.uint8] = swapper.swap(target.picture[None], source.identity, options=options)[0]
    return made


def cut(picture: NDArray[np.uint8], face: Faces) -> Image.Image:
    """The face of a picture, for the sheet."""
    transform = align(face.landmarks, ("ffhq_512",), SIDE)
    crop = frames_from_rgb([picture]).sample(torch.zeros(1, dtype=torch.int64), transform, SIDE)[0]
    return Image.fromarray((crop.clamp(0, 1).movedim(0, -1) * 255).round().byte().numpy())


def judge_all(
    people: list[Person], swapper: Swapper, judge: Judge, likeness: float | None
) -> tuple[list[dict[str, Any]], Image.Image]:
    """Figures of all pairs, and a sheet: sources down, targets across."""
    page = Image.new("RGB", (SIDE * len(people), SIDE * len(people)))
    own, other, first, same = [], [], [], []
    for i, one in enumerate(people):
        page.paste(cut(one.picture, one.face), (SIDE * i, SIDE * i))
    for i, j in permutations(range(len(people)), 2):
        source, target = people[i], people[j]
        made = shown(source, target, swapper, SwapOptions(likeness=likeness))
        page.paste(cut(made, target.face), (SIDE * j, SIDE * i))
        found = judge(made, target.face.box[0].numpy())
        apart = [float(np.linalg.norm(found - each.known)) for each in people]
        own.append(apart[i])
        other.append(apart[j])
        first.append(float(np.argmin(apart) == i))
        same.append(float(apart[i] < SAME))
    name = "" if likeness is None else f", likeness {likeness:g}"
    rows = [
        measure.case(f"distance to the source{name}", "dlib", own),
        measure.case(f"distance to the target{name}", "dlib", other),
        measure.case(f"taken for the source, of {len(people)}{name}", "share", [float(np.mean(first))]),
        measure.case(f"nearer than {SAME} to the source{name}", "share", [float(np.mean(same))]),
    ]
    return rows, page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--likeness", type=float, nargs="*")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    judge = Judge()
    with Swapper(options.pack, runtime=RuntimeOptions(restore=False)) as swapper:
        people = [person(text, swapper, judge) for text in options.pictures]
        cases: list[dict[str, Any]] = []
        for likeness in options.likeness or [None]:
            rows, page = judge_all(people, swapper, judge, likeness)
            cases += rows
            if options.sheet:
                page.save(options.sheet.with_stem(f"{options.sheet.stem}-{likeness}"))
    found = measure.result("realfaces-pairs", cases, people=len(people), pack=options.pack)
    print(measure.table(found))
    if options.write:
        measure.write(found, options.write)


if __name__ == "__main__":
    main()
