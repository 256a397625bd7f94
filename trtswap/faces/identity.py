"""Stage 3: who a face is."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.backends.batching import run_in_pieces
from trtswap.backends.engine import Engine
from trtswap.faces import Faces
from trtswap.model.pack import StageSpec
from trtswap.pixels.frames import Frames
from trtswap.pixels.geometry import align


class Identifier:
    """Turns faces into identity latents with a pack's identify graph.

    Args:
        engine: the identify graph, opened.
        spec: its entry in the pack: crop size and template.
        piece: faces that run through the network at once.
    """

    def __init__(self, engine: Engine, spec: StageSpec, *, piece: int):
        self.engine = engine
        self.spec = spec
        self.piece = piece

    def __call__(self, frames: Frames, faces: Faces) -> Tensor:
        """Latents of N faces: float32 [N, D] on the engine's device, L2-normalised."""
        transforms = align(faces.landmarks, self.spec.templates, self.spec.size)
        crops = frames.sample(faces.frame_index, transforms, self.spec.size)
        return run_in_pieces(self.engine, "latents", self.piece, faces=crops.clamp_(0, 1))


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
