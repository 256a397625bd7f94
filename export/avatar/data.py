"""Training data: pairs of renders that differ in the head alone, written as chunks and read as one set of tensors.

    python -m export.avatar.data FOLDER [--scenes 5000] [--size 192] [--first 0] [--step 1]

Scene k shows the identity ``people(k)[0]``, and its truth the same scene with ``people(k)[1]``, hair kept. Several
processes share the work with ``--first i --step n``; chunks that exist are left alone, so a stopped run goes on.
"""

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from export.avatar.renderer.color import as_bytes
from export.avatar.renderer.identity import sample_identity
from export.avatar.renderer.noise import Noise
from export.avatar.renderer.render import Renderer, compiled_distance
from export.avatar.renderer.scene import Scene, sample_scene

SIZE = 192  # side of the pictures, pixels: a face has about as many as the swap network's crop
CHUNK = 20  # scenes in a file
PEOPLE = 1500
# Held-out identities and scenes have seeds below these (bench/quality.py).
FIRST_PERSON, FIRST_SCENE = 100_000, 1_000_000


def people(scene: int) -> tuple[int, int]:
    """Identity seeds of the target and of the truth of a scene."""
    generator = np.random.default_rng([scene, 11])
    a, b = generator.choice(PEOPLE, 2, replace=False)
    return FIRST_PERSON + int(a), FIRST_PERSON + int(b)


def training_scene(numbers: range) -> Scene:
    """Scenes of a chunk, in wider poses than :func:`sample_scene` draws, and no faces that a hand hides."""
    scene = sample_scene([FIRST_SCENE + n for n in numbers], identity_seeds=[people(n)[0] for n in numbers])
    pose = scene.pose | {
        "pitch_degrees": (scene.pose["pitch_degrees"] * 1.4).clamp(-25, 25),
        "roll_degrees": (scene.pose["roll_degrees"] * 1.5).clamp(-25, 25),
    }
    return replace(scene, pose=pose)


def render_chunk(renderer: Renderer, numbers: range) -> dict[str, np.ndarray]:
    """Targets and truths of some scenes, as the arrays of :class:`Renders`."""
    scene = training_scene(numbers)
    other = scene.with_identity(sample_identity([people(n)[1] for n in numbers]), keep_hair=True)
    target, truth = renderer.render(scene), renderer.render(other)
    return {
        "images": np.stack([as_bytes(target.images).numpy(), as_bytes(truth.images).numpy()], 1),
        "labels": np.stack([target.labels.numpy(), truth.labels.numpy()], 1),
        "landmarks": np.stack([target.landmarks.numpy(), truth.landmarks.numpy()], 1),
        "boxes": np.stack([target.boxes.numpy(), truth.boxes.numpy()], 1),
        "people": np.array([people(n) for n in numbers]) - FIRST_PERSON,
    }


@dataclass(frozen=True)
class Renders:
    """M scenes, each as target (0) and truth (1).

    Attributes:
        images: uint8 RGB [M, 2, 3, H, W].
        labels: uint8 [M, 2, H, W].
        landmarks: float32 [M, 2, 5, 2], pixels.
        boxes: float32 xyxy [M, 2, 4], pixels.
        people: int64 [M, 2], 0 to PEOPLE - 1.
    """

    images: Tensor
    labels: Tensor
    landmarks: Tensor
    boxes: Tensor
    people: Tensor

    def __len__(self) -> int:
        return len(self.people)


def load(folder: Path) -> Renders:
    """All chunks of a folder, in the order of their scenes."""
    chunks = [np.load(path) for path in sorted(folder.glob("*.npz"))]
    return Renders(**{k: torch.from_numpy(np.concatenate([c[k] for c in chunks])) for k in chunks[0].files})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", type=int, default=5000)
    parser.add_argument("--size", type=int, default=SIZE, help="side of the pictures, pixels")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--step", type=int, default=1)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    renderer = Renderer(Noise(), height=options.size, width=options.size, samples=1, distance=compiled_distance())
    for chunk in range(options.first, options.scenes // CHUNK, options.step):
        path = options.folder / f"{chunk:05}.npz"
        if path.exists():
            continue
        arrays = render_chunk(renderer, range(chunk * CHUNK, (chunk + 1) * CHUNK))
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(part, path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
