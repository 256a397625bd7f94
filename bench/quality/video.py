"""What is measured of videos: flicker, colour, jitter of a still head, lag behind a moving one."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from bench import measure
from export.avatar.renderer.clip import true_landmarks
from trtswap import SwapOptions, Swapper
from trtswap.faces import Faces
from trtswap.packs import find_pack, sample_sources
from trtswap.pixels.frames import Frames
from trtswap.swapper import Observer
from trtswap.video.reader import VideoReader

from . import measures

STILL_FRAMES, STILL_NOISE = 48, 0.03


def frames_of(path: Path) -> Iterator[tuple[Frames, int]]:
    """Batches of a video, and each frame's place in its batch."""
    with VideoReader(path, batch_size=8) as reader:
        for frames in reader:
            yield from ((frames, i) for i in range(len(frames)))


def picture(frames: Frames, index: int) -> Tensor:
    """float32 RGB [3, H, W], 0..1."""
    return frames.rgb(index).movedim(-1, 0).float() / 255


def tracks(swapper: Swapper, video: Path) -> list[Faces]:
    """Tracked faces of each frame."""
    found = []
    for frames, faces in swapper.detect_video(video):
        found += [faces[faces.frame_index == i] for i in range(len(frames))]
    return found


def largest_landmarks(swapper: Swapper, video: Path) -> Tensor:
    """Of the largest face of each frame: float32 [frames, 5, 2], NaN where there is none."""
    rows = []
    for faces in tracks(swapper, video):
        area = (faces.box[:, 2:] - faces.box[:, :2]).prod(1)
        rows.append(faces.landmarks[int(area.argmax())] if len(faces) else torch.full((5, 2), torch.nan))
    return torch.stack(rows)


def jitter(landmarks: Tensor) -> float:
    """Standard deviation over time of landmarks that stand still, pixels, mean over points and axes."""
    return float(landmarks.std(0).mean())


def lag(found: Tensor, true: Tensor) -> float:
    """Frames by which found landmarks [T, 5, 2] follow the true ones: where their distance is least, by a parabola."""
    shifts, errors = range(-3, 4), []
    for shift in shifts:
        a = found[3 + shift : len(found) - 3 + shift]
        offset = a - true[3 : len(true) - 3]
        offset = offset[~offset.isnan().any((1, 2))]
        errors.append(float((offset - offset.mean(0)).square().mean()))
    best = min(max(int(np.argmin(errors)), 1), len(errors) - 2)
    before, at, after = errors[best - 1 : best + 2]
    return shifts[best] + 0.5 * (before - after) / (before - 2 * at + after)


def still_video(path: Path, frame: Tensor) -> None:
    """The same picture with fresh noise in every frame, losslessly coded.

    Args:
        frame: uint8 RGB [H, W, 3].
    """
    generator = torch.Generator().manual_seed(3)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = frame.shape[0], frame.shape[1], "yuv444p"
        for number in range(STILL_FRAMES):
            noise = torch.randn(frame.shape, generator=generator) * STILL_NOISE * 255
            pixels = (frame + noise).clamp(0, 255).round().byte().numpy()
            shown = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            shown.pts, shown.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))


class _WrongMatrix(Observer):
    """Makes a swap take the planes' colours by the matrix of another standard, as programs do that ignore the tag."""

    def before(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        self.right = frames.format
        frames.format = replace(frames.format, matrix="bt601" if "709" in frames.format.matrix else "bt709")

    def after(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        frames.format = self.right


def against_truth(result: Path, truth: Path, boxes: list[Tensor | None]) -> dict[str, list[float]]:
    """PSNR and flicker in the boxes of the front face."""
    values: dict[str, list[float]] = {"PSNR (dB)": [], "flicker": []}
    last: tuple[Tensor, Tensor] | None = None
    for (made, i), (true, j), box in zip(frames_of(result), frames_of(truth), boxes, strict=True):
        pair = (picture(made, i), picture(true, j))
        if box is not None:
            area = torch.zeros(pair[0].shape[1:], dtype=torch.bool)
            x0, y0, x1, y1 = box.round().int().clamp(min=0).tolist()
            area[y0:y1, x0:x1] = True
            values["PSNR (dB)"].append(measures.psnr(*pair, area))
            if last is not None:
                values["flicker"].append(
                    measures.flicker(torch.stack([last[0], pair[0]]), torch.stack([last[1], pair[1]]), area)
                )
        last = pair
    return values


def cases(pack: str) -> list[dict[str, Any]]:
    """Measures on the demo clip that comes with the pack; colours and flicker where its true swap is there, too."""
    samples = find_pack(pack) / "samples"
    clip, truth, source = samples / "clip.mp4", samples / "truth.mp4", sample_sources(pack)[0]
    with tempfile.TemporaryDirectory() as folder:
        compared = _clip_cases(pack, clip, truth, source, Path(folder)) if truth.exists() else []
        return [*compared, *_tracking_cases(pack, clip, Path(folder))]


def _clip_cases(pack: str, clip: Path, truth: Path, source: Path, folder: Path) -> list[dict[str, Any]]:
    with Swapper(pack) as swapper:
        boxes = [largest_box(faces) for faces in tracks(swapper, clip)]
    rows: dict[str, Path] = {"no swap": clip}
    for name, options, observers in (
        ("ours", SwapOptions(), ()),
        ("without smoothing", SwapOptions(smooth=0), ()),
        ("without colour handling", SwapOptions(), (_WrongMatrix(),)),
    ):
        rows[name] = folder / f"{name.replace(' ', '-')}.mp4"
        with Swapper(pack, options=options) as swapper:
            swapper.swap_video(clip, rows[name], swapper.identity(source), crf=12, observers=observers)
    return [
        measure.case(f"clip, {name}: {key}", "1", values)
        for name, path in rows.items()
        for key, values in against_truth(path, truth, boxes).items()
    ]


def largest_box(faces: Faces) -> Tensor | None:
    if not len(faces):
        return None
    return faces.box[int((faces.box[:, 2:] - faces.box[:, :2]).prod(1).argmax())]


def _tracking_cases(pack: str, clip: Path, folder: Path) -> list[dict[str, Any]]:
    frames, index = next(frames_of(clip))
    still_video(folder / "still.mkv", frames.rgb(index))
    true, found = true_landmarks(), {}
    out = []
    for name, smooth in (("smoothed", SwapOptions().smooth), ("not smoothed", 0)):
        with Swapper(pack, options=SwapOptions(smooth=smooth)) as swapper:
            still = jitter(largest_landmarks(swapper, folder / "still.mkv"))
            found[name] = largest_landmarks(swapper, clip)
        out += [
            measure.case(f"still head, {name}: jitter (pixels)", "1", [still]),
            measure.case(f"moving head, {name}: lag (frames)", "1", [lag(found[name], true)]),
        ]
    return out
