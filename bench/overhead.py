"""What trtswap's own work on a face costs: align, warps, masks, paste; no network, no decoding, no encoding.

    python bench/overhead.py [--repeats N] [--write]

The pack `paste` is run on one face, so that the stages are the real ones; the time inside its graphs is not counted.
It has the full-size networks' crops (224 for the swap, a canvas of 512) and then those of the pack `avatar` (128, 256).
The face and the frame are varied one at a time: the cost follows the canvas and, where the face is larger than that,
the pixels of the face that are read and written; not the frame.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from measure import case, interleaved, result, table, write

from trtswap.backends.runtime import Runtime
from trtswap.canvas.pipeline import Opened, Pipeline
from trtswap.export.build import Weights, export_pack
from trtswap.export.recipes import paste
from trtswap.faces import Faces
from trtswap.model.pack import Pack
from trtswap.options import SwapOptions
from trtswap.pixels.color import PixelFormat
from trtswap.pixels.frames import Frames
from trtswap.pixels.geometry import TEMPLATES, identity_transform
from trtswap.session.stopwatch import Stopwatch

BATCH = 4
OURS = ("align", "blend", "paste")
FACES = (8, 20, 50, 100, 200, 300, 450, 600, 1000, 1500, 2000)
USUAL = 200
# Sides of the swap crop and of the canvas, and what the rows of a result add to their names.
CROPS = {(224, 512): "", (128, 256): ", canvas 256"}
SIZES = {"720p": (1280, 720), "1080p": (1920, 1080), "2160p": (3840, 2160)}


def yuv420(width: int, height: int) -> Frames:
    """``BATCH`` frames of noise, 8-bit 4:2:0, BT.709."""
    g = torch.Generator().manual_seed(0)
    shapes = ((height, width), (height // 2, width // 2), (height // 2, width // 2))
    y, u, v = (torch.randint(16, 236, (BATCH, *s), dtype=torch.uint8, generator=g) for s in shapes)
    fmt = PixelFormat("yuv420p", 8, (1, 1), "bt709", False, (0.0, 0.5))
    return Frames((y, u, v), fmt, identity_transform(), (width, height))


def one_face_each(height_pixels: float, width: int, height: int) -> Faces:
    """In each frame a face of the given height (chin to forehead, about half of the FFHQ square) in the middle."""
    landmarks = TEMPLATES["ffhq_512"].scaled(round(2 * height_pixels))[None]
    landmarks = landmarks - landmarks.mean(1, keepdim=True) + torch.tensor([width / 2, height / 2])
    box = torch.cat([landmarks.amin(1), landmarks.amax(1)], 1)
    frame = torch.arange(BATCH)
    return Faces(frame, box.expand(BATCH, -1), landmarks.expand(BATCH, -1, -1), torch.ones(BATCH), frame)


def work(runtime: Runtime, frames: Frames, faces: Faces, latent: torch.Tensor) -> float:
    """Milliseconds of trtswap's own stages for one frame."""
    watch = Stopwatch()
    pipeline = Pipeline(Opened(runtime, SwapOptions()), watch)
    if swapped := pipeline.make(frames, faces, latent):
        pipeline.paste(frames, swapped)
    return sum(watch.seconds[stage] for stage in OURS) * 1e3 / BATCH


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="write bench/results/overhead.json")
    args = parser.parse_args()
    torch.set_num_threads(1)  # as the command line does, which leaves the cores to encoder and networks
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        for (swap, canvas), suffix in CROPS.items():
            pack = export_pack(paste(size=swap, canvas=canvas), Path(folder) / f"paste{canvas}", Weights(None, seed=0))
            cases += measure(pack, args.repeats, suffix)
    data = result("overhead", cases, crops=list(CROPS), batch=BATCH, threads=1, stages=list(OURS))
    print(table(data))
    if args.write:
        print(write(data))


def measure(pack: Pack, repeats: int, suffix: str) -> list[dict[str, Any]]:
    """Milliseconds for each face and frame, and each face's against the usual one's in the same round."""
    sizes = [("2160p", face) for face in FACES] + [("720p", USUAL), ("1080p", USUAL)]
    with torch.inference_mode(), Runtime(pack, backend="onnxruntime", device="cpu") as runtime:
        latent = torch.zeros(BATCH, pack.stages["swap"].latent)
        sides = {}
        for size, face in sizes:
            frames, faces = yuv420(*SIZES[size]), one_face_each(face, *SIZES[size])
            sides[f"{size}, face {face} px{suffix}"] = lambda f=frames, a=faces: work(runtime, f, a, latent)
        cases = interleaved(sides, repeats=repeats)
    usual = next(c["values"] for c in cases if c["name"] == f"2160p, face {USUAL} px{suffix}")
    ratios = [
        case(f"face {face} px / face {USUAL} px{suffix}", "x", [a / b for a, b in zip(c["values"], usual, strict=True)])
        for c, (size, face) in zip(cases, sizes, strict=True)
        if size == "2160p" and face != USUAL
    ]
    return cases + ratios


if __name__ == "__main__":
    main()
