"""How much an aligned face shakes: by its landmarks, five of a detector or made of 478 points, and by the smoothing.

    python -m bench.shake VIDEO [--pack PACK] [--write FILE.json]

Every frame's face is cut out as a canvas of 512 pixels. How far the picture moves from one canvas to the next is found
by phase correlation (Kuglin and Hines, 1975; OpenCV's), which knows nothing of landmarks: a steady alignment leaves no
motion. What is told is the change of that motion from frame to frame, pixels of the canvas: what is seen as shaking.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from bench.measure import case, result, table, write
from trtswap import RuntimeOptions, SwapOptions
from trtswap.backends.runtime import Runtime
from trtswap.pixels.geometry import align
from trtswap.quality.measures import shake
from trtswap.session.session import Session
from trtswap.video.opening import open_reader

SIZE = 512
BLUR = 1.5  # pixels, against the noise of the codec
WAYS = {
    "five landmarks": (False, 0),
    "five landmarks, smoothed": (False, 4),
    "478 points": (True, 0),
    "478 points, smoothed": (True, 4),
}


@dataclass(frozen=True)
class Followed:
    """One face over a video: its canvases in grey, float32 [T, 512, 512], and its landmarks [T, 5, 2]."""

    canvases: NDArray[np.float32]
    landmarks: torch.Tensor


def follow(video: Path, pack: str, *, dense: bool, smooth: int) -> Followed:
    """The first face of each frame."""
    canvases, landmarks = [], []
    options = RuntimeOptions(dense=dense, restore=False)
    with Runtime(pack, options=options) as runtime, open_reader(video) as reader:
        session = Session(runtime, None, SwapOptions(smooth=smooth, max_faces=1))
        batches = [batch for frames in reader for batch in session.follow(frames)] + session.follow_rest()
        for batch in batches:
            transforms = align(batch.faces.landmarks, ("ffhq_512",), SIZE)
            crops = batch.frames.sample(batch.faces.frame_index, transforms, SIZE).clamp(0, 1).movedim(1, -1)
            grey = [cv2.cvtColor(255 * crop.numpy(), cv2.COLOR_RGB2GRAY) for crop in crops]
            canvases += [cv2.GaussianBlur(one, (0, 0), BLUR) for one in grey]
            landmarks.append(batch.faces.landmarks)
    return Followed(np.stack(canvases), torch.cat(landmarks))


def still(landmarks: torch.Tensor) -> NDArray[np.bool_]:
    """The half of the frames in which the face moves least in the picture: [T - 2]."""
    speed = (landmarks[1:] - landmarks[:-1]).mean(1).norm(dim=1)
    around = torch.maximum(speed[:-1], speed[1:])
    return (around < around.median()).numpy()


def cases(video: Path, pack: str) -> list[dict[str, Any]]:
    followed = {name: follow(video, pack, dense=dense, smooth=smooth) for name, (dense, smooth) in WAYS.items()}
    held = still(followed["478 points, smoothed"].landmarks)
    rows = []
    for name, one in followed.items():
        changes = shake(one.canvases)
        rows += [
            case(f"{name}: still", "pixels", [float(np.median(changes[held]))]),
            case(f"{name}: all", "pixels", [float(np.median(changes))]),
            case(f"{name}: worst 5 %", "pixels", [float(np.percentile(changes, 95))]),
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--pack", default="avatar")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    found = result("shake", cases(options.video, options.pack), video=options.video.name, pack=Path(options.pack).name)
    print(table(found))
    if options.write:
        write(found, options.write)


if __name__ == "__main__":
    main()
