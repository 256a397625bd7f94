"""Scenes and people that no training of a pack has seen: their seeds are fixed below those of ``export/avatar``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from export.avatar.renderer.color import as_bytes
from export.avatar.renderer.identity import sample_identity
from export.avatar.renderer.noise import Noise
from export.avatar.renderer.parameters import Values
from export.avatar.renderer.props import without_props
from export.avatar.renderer.render import Avatars, Renderer
from export.avatar.renderer.scene import Scene, sample_scene

# export/avatar/data.py: people from 100,000 on, scenes from 1,000,000 on.
PEOPLE, SCENES, PORTRAITS = 50_000, 60_000, 70_000
SIZE = 320  # side of the pictures, pixels
MAX_YAW = 35.0


@dataclass(frozen=True)
class Swaps:
    """M scenes, who is to appear in them, and what that looks like.

    Attributes:
        targets, truths: the scene with its own and with the other identity, hair kept.
        sources: uint8 RGB [M, H, W, 3], portraits of the other identities.
        people: numbers of these identities among the gallery, int64 [M].
    """

    targets: Avatars
    truths: Avatars
    sources: Tensor
    people: Tensor


def portraits(people: Sequence[int], renderer: Renderer, *, take: int = 0) -> Avatars:
    """Pictures of held-out people, each in a scene of its own; another ``take`` is another scene."""
    scene = sample_scene(
        [PORTRAITS + 1000 * take + p for p in people], identity_seeds=[PEOPLE + p for p in people], max_yaw_degrees=15.0
    )
    return renderer.render(bare(scene))


def bare(scene: Scene) -> Scene:
    """Without anything in front of the face."""
    return replace(scene, props=without_props(scene.props))


def swaps(count: int, folder: Path) -> Swaps:
    """Render them, or take them from the folder, where an earlier run left them."""
    path = folder / f"swaps-{count}-{SIZE}.pt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(_rendered_swaps(count), path)
    return _read(path)


def _rendered_swaps(count: int) -> dict[str, object]:
    renderer = Renderer(Noise(), height=SIZE, width=SIZE, samples=1)
    people = np.random.default_rng(5).permutation(500)[:count].tolist()
    scene = sample_scene(
        [SCENES + i for i in range(count)], identity_seeds=[PEOPLE + 600 + i for i in range(count)],
        max_yaw_degrees=MAX_YAW,
    )  # fmt: skip
    others: Values = sample_identity([PEOPLE + p for p in people])
    made = {
        "targets": renderer.render(scene),
        "truths": renderer.render(scene.with_identity(others, keep_hair=True)),
        "sources": portraits(people, renderer, take=1),
    }
    tensors: dict[str, object] = {
        k: {"images": as_bytes(a.images), "boxes": a.boxes, "landmarks": a.landmarks, "labels": a.labels}
        for k, a in made.items()
    }
    return tensors | {"people": torch.tensor(people)}


def _read(path: Path) -> Swaps:
    found = torch.load(path, weights_only=True)
    targets, truths = (Avatars(**found[k]) for k in ("targets", "truths"))
    return Swaps(targets, truths, found["sources"]["images"].movedim(1, -1).contiguous(), found["people"])


def gallery(folder: Path, count: int = 500, size: int = 192) -> tuple[Tensor, Tensor]:
    """One portrait of each held-out person: uint8 [count, 3, size, size] and landmarks [count, 5, 2]."""
    path = folder / f"gallery-{count}-{size}.pt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made = portraits(range(count), Renderer(Noise(), height=size, width=size, samples=1))
        torch.save({"images": as_bytes(made.images), "landmarks": made.landmarks}, path)
    found = torch.load(path, weights_only=True)
    return found["images"], found["landmarks"]
