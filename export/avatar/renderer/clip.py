"""The demo clip: an avatar talks and turns, another passes behind, a hand crosses the face; and its true swap.

    python -m export.avatar.renderer.clip FOLDER [--part target|truth|samples] [--first 0] [--step 1]
    python -m export.avatar.renderer.clip FOLDER --join          # clip.mp4 and truth.mp4 of the rendered frames

Needs ``espeak-ng`` for the voice, whose loudness moves the jaw. Frames that exist are left alone, so that several
processes share the work and a stopped one goes on.
"""

import argparse
import io
import os
import subprocess
import wave
from dataclasses import replace
from functools import cache
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .backdrop import backdrop
from .camera import Camera
from .color import as_bytes
from .expression import rotation
from .identity import sample_identity
from .labels import landmark_points
from .light import to_picture
from .noise import Noise
from .parameters import Values
from .props import kinds_in, without_props
from .render import Renderer, build_field, compiled_distance
from .scene import Scene, sample_scene

WIDTH, HEIGHT, RATE, FRAMES = 1280, 720, 25, 165
MAIN, PASSER, SOURCES = 9_463, 9_424, (9_421, 9_434, 9_444)  # identities; the first source is the default one
SCENE = 9_500
TEXT = "Hello! I am an avatar. Nobody has ever had this face, and now somebody else will wear it."
# Windows of the picture that the two heads are rendered in: left, top, width, height.
FRONT, BEHIND = (240, 0, 920, 720), (0, 60, 640, 660)


@cache
def voice() -> tuple[np.ndarray, int]:
    """Mono samples -1..1 and their rate."""
    command = ["espeak-ng", "-v", "en-us+f3", "-s", "165", "--stdout", TEXT]
    with wave.open(io.BytesIO(subprocess.run(command, check=True, capture_output=True).stdout)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16).astype(np.float32) / 32768
    silence = np.zeros(rate * FRAMES // RATE, dtype=np.float32)
    count = min(len(samples), len(silence) - rate // 4)
    silence[rate // 4 : rate // 4 + count] = samples[:count]
    return silence, rate


def loudness() -> np.ndarray:
    """Of each frame, 0..1, smoothed over three frames."""
    samples, rate = voice()
    per_frame = rate // RATE
    power = np.sqrt((samples[: per_frame * FRAMES].reshape(FRAMES, per_frame) ** 2).mean(1))
    smooth = np.convolve(np.pad(power, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    loud: np.ndarray = np.clip(smooth / np.quantile(smooth, 0.95), 0, 1)
    return loud


def curve(*waves: tuple[float, float, float]) -> Tensor:
    """Sum of sines (height, seconds a turn, phase) over the frames: float32 [FRAMES, 1]."""
    t = torch.arange(FRAMES, dtype=torch.float32)[:, None] / RATE
    return torch.stack([h * torch.sin(6.2832 * (t / period + phase)) for h, period, phase in waves]).sum(0)


def pulse(middle: float, width: float) -> Tensor:
    """1 at a moment, 0 a width (seconds) away from it, smooth: float32 [FRAMES, 1]."""
    t = torch.arange(FRAMES, dtype=torch.float32)[:, None] / RATE
    return torch.exp(-0.5 * ((t - middle) / width) ** 2)


def still(seed: int) -> Scene:
    """One scene for all frames: a neutral face, no props, even light, nothing added by the camera."""
    scene = sample_scene([SCENE] * FRAMES, identity_seeds=[seed] * FRAMES)
    quiet = {k: torch.zeros_like(v) for k, v in scene.expression.items()}
    light = scene.light | {
        "key_turn": torch.full_like(scene.light["key_turn"], -0.5),
        "key_height": torch.full_like(scene.light["key_turn"], 0.6),
        "key_strength": torch.full_like(scene.light["key_turn"], 1.15),
    }
    view = {k: torch.zeros_like(v) for k, v in scene.view.items()}
    return replace(scene, expression=quiet, props=without_props(scene.props), view=view, light=light)


def filled(values: Values, **new: Tensor | float) -> Values:
    like = next(iter(values.values()))
    return values | {k: v if isinstance(v, Tensor) else torch.full_like(like, v) for k, v in new.items()}


def front_scene(seed: int) -> Scene:
    """The avatar that talks."""
    scene = still(seed)
    loud = torch.from_numpy(loudness()).float()[:, None]
    shut = sum(pulse(t, 0.055) for t in (0.9, 2.6, 4.9, 6.0)).clamp(max=1)  # type: ignore[union-attr]
    expression = filled(
        scene.expression, jaw_open=0.5 * loud**1.3, lips_part=(1.5 * loud).clamp(max=1),
        pucker=0.3 * curve((1, 0.7, 0)) * loud,
        smile=0.3 + 0.35 * pulse(5.9, 0.5) + curve((0.08, 2.3, 0.2)), lid_left=shut, lid_right=shut,
        brow_raise=0.1 + curve((0.25, 2.9, 0.1)), gaze_yaw=curve((0.18, 3.3, 0.4)), gaze_pitch=curve((0.06, 2.1, 0.0)),
    )  # fmt: skip
    pose = filled(
        scene.pose, yaw_degrees=curve((24, 5.2, 0.0), (5, 1.9, 0.3)), pitch_degrees=curve((4, 2.7, 0.1), (1.5, 0.9, 0)),
        roll_degrees=curve((4, 4.1, 0.6)),
    )  # fmt: skip
    t = torch.arange(FRAMES, dtype=torch.float32)[:, None] / RATE
    across = ((t - 3.3) / 1.3).clamp(0, 1)  # the hand passes from 3.3 s to 4.6 s
    props = filled(
        scene.props, hand=((across > 0) & (across < 1)).float(), hand_side=1.0, hand_x=19.0 - 38.0 * across,
        hand_y=-7.0 + curve((1.0, 1.3, 0)), hand_angle=-0.5 + 0.7 * across,
    )  # fmt: skip
    view = filled(scene.view, distance=95.0, zoom=0.5, shift_y=0.03, defocus=0.7)
    return replace(scene, expression=expression, pose=pose, props=props, view=view)


def passer_scene(seed: int) -> Scene:
    """The avatar behind, who looks at the camera while passing."""
    scene = still(seed)
    pose = filled(scene.pose, yaw_degrees=26.0 - 34.0 * pulse(2.2, 0.9), pitch_degrees=curve((2, 0.8, 0)))
    expression = filled(scene.expression, smile=0.5 * pulse(2.2, 0.8), gaze_yaw=-0.15 * pulse(2.2, 0.8))
    view = filled(scene.view, distance=130.0, zoom=0.39, shift_y=-0.09, defocus=1.0)
    clothes = sample_scene([SCENE + 4] * FRAMES).clothes
    return replace(scene, expression=expression, pose=pose, view=view, clothes=clothes)


def true_landmarks() -> Tensor:
    """Of the avatar that talks, in every frame: float32 [FRAMES, 5, 2], pixels of the clip."""
    scene = front_scene(MAIN)
    turn = rotation(scene.pose)
    left, top, wide, high = FRONT
    field = build_field(scene, turn, kinds_in(scene.props))
    return Camera(scene.view, turn, high, wide).project(landmark_points(field)) + torch.tensor([left, top])


def passer_left(frame: int) -> int:
    """Where the window of the avatar behind begins; it walks out of the picture at the right."""
    return round(-560 + frame * (WIDTH + 480) / FRAMES)


def wall(noise: Noise) -> Tensor:
    """The room: float32 [3, HEIGHT, WIDTH]."""
    scene = sample_scene([SCENE])
    y, x = torch.meshgrid(torch.arange(HEIGHT) / HEIGHT, torch.arange(WIDTH) / HEIGHT, indexing="ij")
    linear = backdrop(filled(scene.backdrop, saturation=0.25, lightness=0.55), noise, x.flatten(), y.flatten())
    return to_picture(linear.mT.view(1, 3, HEIGHT, WIDTH), scene.light["exposure"])[0]


class Painter:
    """Renders frames of the clip with given people."""

    def __init__(self, front: int, passer: int, *, hair_of: tuple[int, int] | None = None) -> None:
        noise = Noise()
        distance = compiled_distance()
        self.room = wall(noise)
        self.front, self.passer = front_scene(front), passer_scene(passer)
        if hair_of is not None:
            self.front = front_scene(hair_of[0]).with_identity(sample_identity([front] * FRAMES), keep_hair=True)
            self.passer = passer_scene(hair_of[1]).with_identity(sample_identity([passer] * FRAMES), keep_hair=True)
        self.renderers = {
            window: Renderer(noise, height=window[3], width=window[2], samples=1, distance=distance)
            for window in (FRONT, BEHIND)
        }

    def paint(self, frame: int) -> Tensor:
        """float32 [3, HEIGHT, WIDTH]."""
        picture = self.room.clone()
        self._put(picture, self.passer[frame : frame + 1], BEHIND, passer_left(frame))
        self._put(picture, self.front[frame : frame + 1], FRONT, FRONT[0])
        grain = torch.randn(1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(frame)) * 0.006
        return (picture + grain).clamp(0, 1)

    def _put(self, picture: Tensor, scene: Scene, window: tuple[int, int, int, int], left: int) -> None:
        _, top, wide, high = window
        x0, x1 = max(left, 0), min(left + wide, WIDTH)
        if x1 <= x0:
            return
        behind = torch.zeros(3, high, wide)
        behind[:, :, x0 - left : x1 - left] = picture[:, top : top + high, x0:x1]
        made = self.renderers[window].render(scene, behind[None]).images[0]
        picture[:, top : top + high, x0:x1] = made[:, :, x0 - left : x1 - left]


def paint_frames(folder: Path, painter: Painter, first: int, step: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(first, FRAMES, step):
        path = folder / f"{frame:04}.png"
        if path.exists():
            continue
        pixels = as_bytes(painter.paint(frame)).movedim(0, -1).numpy()
        Image.fromarray(pixels).save(path.with_suffix(".part"), format="png", compress_level=1)
        os.replace(path.with_suffix(".part"), path)


def sample_pictures(folder: Path) -> None:
    """Portraits of the sources, 512 x 512."""
    folder.mkdir(parents=True, exist_ok=True)
    renderer = Renderer(Noise(), height=512, width=512, samples=2)
    for number, seed in enumerate(SOURCES):
        scene = still(seed)[0:1]
        calm = replace(
            scene, expression=filled(scene.expression, smile=0.35),
            pose=filled(scene.pose, yaw_degrees=0.0, pitch_degrees=0.0, roll_degrees=0.0),
            view=filled(scene.view, distance=95.0, zoom=1.0, shift_y=-0.02),
        )  # fmt: skip
        pixels = as_bytes(renderer.render(calm).images[0]).movedim(0, -1).numpy()
        Image.fromarray(pixels).save(folder / f"source_{number + 1}.png", optimize=True)


def join(frames: Path, target: Path, *, crf: int, sound: bool) -> None:
    """Frames and voice as H.264 and AAC, BT.709, limited range."""
    with av.open(str(target), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": str(crf), "preset": "slow"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.color_range, video.codec_context.colorspace = 1, 1
        video.codec_context.color_primaries, video.codec_context.color_trc = 1, 1
        samples, rate = voice()
        audio = container.add_stream("aac", rate=rate, layout="mono") if sound else None
        for path in sorted(frames.glob("*.png")):
            frame = av.VideoFrame.from_ndarray(np.array(Image.open(path)), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            block = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
            block.sample_rate = rate
            container.mux(audio.encode(block))
            container.mux(audio.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", choices=("target", "truth", "samples"), default="target")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--join", action="store_true")
    options = parser.parse_args()
    folder: Path = options.folder
    if options.join:
        join(folder / "target", folder / "clip.mp4", crf=21, sound=True)
        join(folder / "truth", folder / "truth.mp4", crf=27, sound=False)
    elif options.part == "samples":
        sample_pictures(folder)
    elif options.part == "target":
        paint_frames(folder / "target", Painter(MAIN, PASSER), options.first, options.step)
    else:
        painter = Painter(SOURCES[0], SOURCES[0], hair_of=(MAIN, PASSER))
        paint_frames(folder / "truth", painter, options.first, options.step)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
