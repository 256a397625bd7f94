"""Judge a swapped clip: who it shows, whether pose, mouth, eyes and gaze are the original's, and what gives it away.

    python -m bench.realfaces ORIGINAL SWAPPED --source FACE.png [--pack PACK] [--write FILE.json] [--sheet SHEET.jpg]

Both clips have the same frames, whatever program made the second; ``trtswap bench --quality`` makes it first. Faces are
found by a pack's detector and measured at 478 points; the first face of each frame is judged. dlib's distances: 0.6 and
more are different people.
"""

import argparse
from pathlib import Path

from bench import measure
from trtswap import RuntimeOptions
from trtswap.backends.runtime import Runtime
from trtswap.packs import DEFAULT_PACK
from trtswap.quality.cases import judged, sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path)
    parser.add_argument("swapped", type=Path)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    with Runtime(options.pack, options=RuntimeOptions(restore=False, occlude=False)) as runtime:
        cases, original, swapped = judged(options.original, options.swapped, options.source, runtime)
    names = {"original": options.original.name, "swapped": options.swapped.name, "source": options.source.name}
    found = measure.result("realfaces", cases, frames=len(original.times), **names)
    print(measure.table(found))
    if options.write:
        measure.write(found, options.write)
    if options.sheet:
        sheet(original, swapped, options.source).save(options.sheet)


if __name__ == "__main__":
    main()
