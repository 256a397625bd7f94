"""Stage 3: who a face is."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.backends.runtime import Stage
from trtswap.faces import Faces
from trtswap.pixels.frames import Frames
from trtswap.pixels.geometry import align


class Identifier:
    """Turns faces into identity latents with a pack's identify graph.

    Args:
        stage: the identify graph.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __call__(self, frames: Frames, faces: Faces) -> Tensor:
        """Latents of N faces: float32 [N, D] on the engine's device, L2-normalised."""
        spec = self.stage.spec
        transforms = align(faces.landmarks, spec.templates, spec.size)
        crops = frames.sample(faces.frame_index, transforms, spec.size)
        return self.stage.rows(faces=crops.clamp_(0, 1))


def average(latents: Tensor) -> Tensor:
    """One identity from several pictures: the mean of [I, D] unit vectors, made a unit vector [D] again."""
    return F.normalize(latents.mean(0), dim=0)


def similarity(latents: Tensor, references: Tensor) -> Tensor:
    """Cosine of every latent [N, D] to every reference [R, D]: float32 [N, R], -1..1."""
    return torch.clamp(F.normalize(latents, dim=1) @ F.normalize(references, dim=1).T, -1, 1)


@dataclass(frozen=True)
class Identity:
    """Who to show, or whom to look for.

    Attributes:
        latent: float32 [D], L2-normalised.
        names: the pictures it was made from, for messages and reports.
    """

    latent: Tensor
    names: tuple[str, ...] = ()
