"""Judge a swapped clip: who it shows, whether pose, mouth, eyes and gaze are the original's, and what gives it away.

    python -m bench.realfaces ORIGINAL SWAPPED --source FACE.png [--pack PACK] [--write FILE.json] [--sheet SHEET.jpg]

Both clips have the same frames, whatever program made the second. Faces are found by a pack's detector and measured at
478 points; the first face of each frame is judged. dlib's distances: 0.6 and more are different people.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bench import measure
from bench.shake import shake
from trtswap import RuntimeOptions, SwapOptions, Swapper
from trtswap.backends.runtime import Runtime
from trtswap.faces import Faces
from trtswap.faces.pose import Pose, pose_of
from trtswap.pictures.arrays import read_image
from trtswap.pixels.geometry import align
from trtswap.session.session import Session
from trtswap.video.opening import open_reader

from . import measures
from .judge import Judge

SIZE = 512
SHEET_ROWS, SHEET_SIDE = 6, 256


@dataclass(frozen=True)
class Clip:
    """The first face of each frame.

    Attributes:
        faces: one for each of ``times``, the numbers of the frames that have one.
        frames: these frames, whole, RGB uint8 [H, W, 3] each.
    """

    faces: Faces
    times: list[int]
    frames: list[NDArray[np.uint8]]

    @property
    def pose(self) -> Pose:
        """What the faces' points say."""
        return pose_of(self.faces.points)

    def canvases(self, landmarks: torch.Tensor) -> NDArray[np.float32]:
        """The frames cut by landmarks [T, 5, 2]: float32 RGB [T, 512, 512, 3], 0..255."""
        transforms = align(landmarks, ("ffhq_512",), SIZE).numpy()
        cut = [
            cv2.warpAffine(f, m, (SIZE, SIZE), flags=cv2.INTER_AREA)
            for f, m in zip(self.frames, transforms, strict=True)
        ]
        return np.stack(cut).astype(np.float32)


def follow(video: Path, runtime: Runtime) -> Clip:
    """Find the face of a clip; unsmoothed, so that what is measured is what is there."""
    faces, times, frames = [], [], []
    with open_reader(video) as reader:
        session = Session(runtime, None, SwapOptions(smooth=0, fill=0, max_faces=1))
        batches = [batch for part in reader for batch in session.follow(part)] + session.follow_rest()
        for batch in batches:
            for row, frame in enumerate(batch.faces.frame_index.tolist()):
                faces.append(batch.faces[torch.tensor([row])])
                times.append(batch.first_frame + frame)
                frames.append(batch.frames.rgb(frame).numpy())
    return Clip(Faces.cat(faces), times, frames)


def both(original: Clip, swapped: Clip) -> tuple[Clip, Clip]:
    """The frames in which both have a face."""
    shared = sorted(set(original.times) & set(swapped.times))
    return _only(original, shared), _only(swapped, shared)


def _only(clip: Clip, times: list[int]) -> Clip:
    rows = [clip.times.index(time) for time in times]
    return Clip(clip.faces[torch.tensor(rows, dtype=torch.int64)], times, [clip.frames[row] for row in rows])


def identity_cases(original: Clip, swapped: Clip, source: Path, runtime: Runtime) -> list[dict[str, Any]]:
    """Who the frames show."""
    judge, picture = Judge(), read_image(source)
    face = Swapper(runtime=runtime).detect(picture[None])
    wanted = judge(np.asarray(picture), face.box[int(face.side.argmax())].numpy())
    before, after = (
        np.stack([judge(f, box.numpy()) for f, box in zip(c.frames, c.faces.box, strict=True)])
        for c in (original, swapped)
    )
    return [
        measure.case("distance to the source", "dlib", list(np.linalg.norm(after - wanted, axis=1))),
        measure.case("distance to the original", "dlib", list(np.linalg.norm(after - before, axis=1))),
        measure.case("the original's distance to the source", "dlib", list(np.linalg.norm(before - wanted, axis=1))),
    ]


def expression_cases(original: Clip, swapped: Clip) -> list[dict[str, Any]]:
    """Whether pose, mouth, eyes and gaze are the original's."""
    a, b = original.pose, swapped.pose
    rows = [
        measure.case(f"{name} apart", "degrees", (getattr(a, name) - getattr(b, name)).abs().tolist())
        for name in ("yaw", "pitch", "roll")
    ]
    rows.append(measure.case("gaze apart", "eye widths", (a.gaze - b.gaze).norm(dim=-1).mean(1).tolist()))
    mouth = measures.correlation(a.mouth.tolist(), b.mouth.tolist())
    eyes = measures.correlation(a.eyes.mean(1).tolist(), b.eyes.mean(1).tolist())
    rows.append(measure.case("mouth opens alike", "correlation", [mouth]))
    return [*rows, measure.case("eyes open alike", "correlation", [eyes])]


def picture_cases(original: Clip, swapped: Clip) -> list[dict[str, Any]]:
    """What gives a swap away."""
    before, after = (clip.canvases(original.faces.landmarks) for clip in (original, swapped))
    masks = measures.mask_of(before, after)
    if not masks.any():
        return []
    own = swapped.canvases(swapped.faces.landmarks)
    ratio = measures.flicker(after, masks) / measures.flicker(before, masks)
    sharp = measures.sharpness(after, masks) / measures.sharpness(before, masks)
    steady = np.median(shake(own.mean(-1))) / np.median(shake(before.mean(-1)))
    return [
        measure.case("flicker", "times the original's", [ratio]),
        measure.case("sharpness", "times the original's", [sharp]),
        measure.case("shake of the aligned face", "times the original's", [float(steady)]),
        measure.case("seam", "levels per pixel", [measures.seam(before, after, masks)]),
        measure.case("skin tone jump at the edge", "levels", [measures.tone_jump(before, after, masks)]),
    ]


def sheet(original: Clip, swapped: Clip, source: Path) -> Image.Image:
    """Source, original and swapped face side by side, for frames spread over the clip."""
    spread = np.linspace(0, len(original.times) - 1, SHEET_ROWS).round().astype(int)
    original, swapped = (_only(clip, [original.times[i] for i in spread]) for clip in (original, swapped))
    canvases = [clip.canvases(original.faces.landmarks) for clip in (original, swapped)]
    face = Image.open(source).convert("RGB")
    face.thumbnail((SHEET_SIDE, SHEET_SIDE))
    page = Image.new("RGB", ((SHEET_ROWS + 1) * SHEET_SIDE, 2 * SHEET_SIDE), (32, 32, 32))
    page.paste(face, (0, 0))
    for line, row in enumerate(canvases):
        for column, canvas in enumerate(row, 1):
            picture = Image.fromarray(canvas.round().astype(np.uint8)).resize((SHEET_SIDE, SHEET_SIDE))
            page.paste(picture, (column * SHEET_SIDE, line * SHEET_SIDE))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path)
    parser.add_argument("swapped", type=Path)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--pack", default="avatar")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    with Runtime(options.pack, options=RuntimeOptions(restore=False, occlude=False)) as runtime:
        original, swapped = both(*(follow(video, runtime) for video in (options.original, options.swapped)))
        cases = identity_cases(original, swapped, options.source, runtime)
    cases += [*expression_cases(original, swapped), *picture_cases(original, swapped)]
    names = {"original": options.original.name, "swapped": options.swapped.name, "source": options.source.name}
    found = measure.result("realfaces", cases, frames=len(original.times), **names)
    print(measure.table(found))
    if options.write:
        measure.write(found, options.write)
    if options.sheet:
        sheet(original, swapped, options.source).save(options.sheet)


if __name__ == "__main__":
    main()
