"""What one would write first: frame by frame, in full-frame RGB, with OpenCV; the same graphs at batch 1.

    python bench/baseline.py PACK SOURCE.png IN.mp4 OUT.mp4 [--detector yunet.onnx]

Written as such programs are written, and not made slower than they are: decoder and encoder have their own threads, the
detector works on a frame of 640 pixels as trtswap's does, ONNX Runtime has every core and its default settings.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from trtswap.canvas.parse import FACE, MOUTH
from trtswap.model.pack import Pack, StageSpec
from trtswap.pixels.geometry import TEMPLATES

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Run:
    """Frames written, faces swapped, and the wall time of it all."""

    frames: int
    faces: int
    seconds: float


class Baseline:
    """One pack's graphs in ONNX Runtime sessions.

    Args:
        detector: an ONNX file for OpenCV's FaceDetectorYN; the pack's own detect graph where None.
    """

    def __init__(self, pack: Pack, detector: Path | None = None) -> None:
        self.pack = pack
        self.sessions = {
            name: onnxruntime.InferenceSession(spec.path, providers=["CPUExecutionProvider"])
            for name, spec in pack.stages.items()
        }
        threshold = pack.stages["detect"].threshold
        self.yunet = None if detector is None else cv2.FaceDetectorYN.create(str(detector), "", (320, 320), threshold)

    def _run(self, stage: str, **inputs: Floats) -> list[NDArray[np.generic]]:
        outputs: list[NDArray[np.generic]] = self.sessions[stage].run(None, inputs)
        return outputs

    def landmarks(self, rgb: Image) -> list[Floats]:
        """Five points of every face, frame pixels."""
        size = self.pack.stages["detect"].size
        scale = min(1.0, size / max(rgb.shape[:2]))
        small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if self.yunet is not None:
            self.yunet.setInputSize((small.shape[1], small.shape[0]))
            _, found = self.yunet.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
            return [] if found is None else [row[4:14].reshape(5, 2).astype(np.float32) / scale for row in found]
        height, width = small.shape[:2]
        padded = cv2.copyMakeBorder(small, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT)
        names = [output.name for output in self.sessions["detect"].get_outputs()]
        found = dict(zip(names, self._run("detect", images=tensor(padded)), strict=True))
        threshold = max(self.pack.stages["detect"].threshold, 1e-6)
        return [points / scale for points, score in zip(found["landmarks"][0], found["scores"][0], strict=True)
                if score >= threshold]  # fmt: skip

    def identity(self, rgb: Image) -> Floats:
        """The latent of the first face of a picture."""
        spec = self.pack.stages["identify"]
        crop = cv2.warpAffine(rgb, transform(self.landmarks(rgb)[0], spec), (spec.size, spec.size))
        latent: Floats = self._run("identify", faces=tensor(crop))[0]  # type: ignore[assignment]
        return latent

    def swap(self, rgb: Image, points: Floats, latent: Floats) -> Image:
        """One face of one frame; everything is warped to, and blended on, the full frame."""
        swap, parse = self.pack.stages["swap"], self.pack.stages["parse"]
        canvas_size, (height, width) = self.pack.canvas_size, rgb.shape[:2]
        to_swap = transform(points, swap)
        to_canvas = transform(points, self.pack.stages.get("restore", parse), canvas_size)
        crop = cv2.warpAffine(rgb, to_swap, (swap.size, swap.size))
        canvas = cv2.warpAffine(rgb, to_canvas, (canvas_size, canvas_size))
        swapped = image(self._run("swap", faces=tensor(crop), latents=latent)[0])
        labels = self._run("parse", faces=tensor(cv2.resize(canvas, (parse.size, parse.size))))[0][0]
        pasted, seen = paste(swapped, to_swap, (width, height))
        mouth = warp_back(soft(np.isin(labels, MOUTH), canvas_size), to_canvas, (width, height))
        seen = seen * (1 - mouth)[..., None]
        mixed = rgb * (1 - seen) + pasted * seen
        if "restore" in self.pack.stages:
            again = cv2.warpAffine(mixed.astype(np.uint8), to_canvas, (canvas_size, canvas_size))
            mixed, _ = paste(image(self._run("restore", faces=tensor(again))[0]), to_canvas, (width, height))
        face = warp_back(soft(np.isin(labels, FACE), canvas_size), to_canvas, (width, height))[..., None]
        out: Image = (rgb * (1 - face) + mixed * face).astype(np.uint8)
        return out

    def swap_video(
        self,
        source: Path,
        target: Path,
        latent: Floats,
        *,
        preset: str = "medium",
        crf: int = 18,
        end: float | None = None,
    ) -> Run:
        """Swap every face of a video, or of its first ``end`` seconds; the sound is copied."""
        start, frames, faces = time.perf_counter(), 0, 0
        with av.open(str(source)) as video, av.open(str(target), "w") as out:
            stream = video.streams.video[0]
            stream.thread_type = "AUTO"
            encoder = out.add_stream("libx264", rate=stream.average_rate, options={"crf": f"{crf}", "preset": preset})
            encoder.width, encoder.height, encoder.pix_fmt = stream.width, stream.height, "yuv420p"
            sounds = {s: out.add_stream_from_template(s) for s in video.streams.audio}
            for packet in video.demux(stream, *sounds):
                if packet.stream in sounds:
                    if packet.dts is not None:
                        packet.stream = sounds[packet.stream]
                        out.mux(packet)
                    continue
                for frame in packet.decode():
                    if end is not None and frame.time >= end:
                        break
                    rgb = frame.to_ndarray(format="rgb24")
                    for points in self.landmarks(rgb):
                        rgb = self.swap(rgb, points, latent)
                        faces += 1
                    picture = av.VideoFrame.from_ndarray(rgb, "rgb24")
                    picture.pts, picture.time_base = frame.pts, frame.time_base
                    out.mux(encoder.encode(picture))
                    frames += 1
            out.mux(encoder.encode(None))
        return Run(frames, faces, time.perf_counter() - start)


def transform(points: Floats, spec: StageSpec, size: int | None = None) -> NDArray[np.float64]:
    """Frame to crop: OpenCV's robust fit, which is what such programs call."""
    target = TEMPLATES[spec.templates[0]].scaled(size or spec.size).numpy()
    matrix, _ = cv2.estimateAffinePartial2D(points, target, method=cv2.LMEDS)
    return np.asarray(matrix, np.float64)


def tensor(rgb: Image) -> Floats:
    """[1, 3, H, W], 0..1."""
    return np.ascontiguousarray(rgb.transpose(2, 0, 1)[None], np.float32) / np.float32(255)


def image(output: NDArray[np.generic]) -> Image:
    """[H, W, 3], 0..255."""
    return (np.clip(output[0], 0, 1).transpose(1, 2, 0) * 255).round().astype(np.uint8)


def soft(mask: NDArray[np.bool_], size: int) -> Floats:
    """A mask with soft edges, [size, size]."""
    whole = cv2.resize(mask.astype(np.float32), (size, size))
    return np.asarray(cv2.GaussianBlur(whole, (0, 0), 0.02 * size), np.float32)


def warp_back(mask: Floats, to_crop: NDArray[np.float64], size: tuple[int, int]) -> Floats:
    """A mask of a crop on the full frame, [H, W]."""
    return np.asarray(cv2.warpAffine(mask, cv2.invertAffineTransform(to_crop), size), np.float32)


def paste(crop: Image, to_crop: NDArray[np.float64], size: tuple[int, int]) -> tuple[Image, Floats]:
    """A crop on the full frame [H, W, 3], and where it is seen [H, W, 1]."""
    whole = cv2.warpAffine(crop, cv2.invertAffineTransform(to_crop), size)
    inner = np.zeros(crop.shape[:2], np.float32)
    border = max(1, crop.shape[0] // 16)
    inner[border:-border, border:-border] = 1
    seen = warp_back(cv2.GaussianBlur(inner, (0, 0), border / 2).astype(np.float32), to_crop, size)
    return np.asarray(whole, np.uint8), seen[..., None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("pack", "source", "video", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--detector", type=Path)
    parser.add_argument("--preset", default="medium")
    args = parser.parse_args()
    baseline = Baseline(Pack.load(args.pack), args.detector)
    source = cv2.cvtColor(cv2.imread(str(args.source)), cv2.COLOR_BGR2RGB)
    run = baseline.swap_video(args.video, args.out, baseline.identity(source), preset=args.preset)
    print(f"{run.frames} frames, {run.faces} faces, {run.frames / run.seconds:.2f} frames/s")


if __name__ == "__main__":
    main()
