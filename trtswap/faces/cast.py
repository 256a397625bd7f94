"""Stage 3b: who gets which identity."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from trtswap.faces.faces import Faces
from trtswap.faces.identity import Identifier, Identity, average, similarity
from trtswap.pixels.frames import Frames

Who = Identity | Sequence[tuple[Identity, Identity]]


class Casting(Protocol):
    """Decides which identity each tracked face gets."""

    observe_frames: int
    """How many frames of a new face it wants to see before it decides."""

    def observe(self, frames: Frames, faces: Faces, first_frame: int) -> None:
        """Take note of the tracked faces of a batch whose first frame has the number ``first_frame``."""

    def assign(self, faces: Faces, first_frame: int) -> tuple[Faces, Tensor]:
        """The faces of a batch that get an identity, and their latents: float32 [N, D].

        Batches come in order, each after it and the ``observe_frames`` frames from its first on have been observed.
        """


class Nobody:
    """No face gets an identity: faces are followed, and nothing changes."""

    observe_frames = 0

    def observe(self, frames: Frames, faces: Faces, first_frame: int) -> None:
        """There is nothing to find out."""

    def assign(self, faces: Faces, first_frame: int) -> tuple[Faces, Tensor]:
        return faces[torch.zeros(len(faces), dtype=torch.bool)], torch.zeros(0, 0)


class OneForAll:
    """Every face gets the same identity."""

    observe_frames = 0

    def __init__(self, identity: Identity):
        self._latent = identity.latent

    def observe(self, frames: Frames, faces: Faces, first_frame: int) -> None:
        """There is nothing to find out."""

    def assign(self, faces: Faces, first_frame: int) -> tuple[Faces, Tensor]:
        return faces, self._latent.expand(len(faces), -1)


class ByReference:
    """Each face gets the source that belongs to the reference it looks like, or none.

    A track is compared with the references by the mean latent of the faces of its first frames, once; its
    identity never changes afterwards.

    Args:
        identifier: turns faces into latents.
        pairs: (reference, source): faces like the reference get the source.
        threshold: lowest cosine to a reference that counts as the same person, -1..1.
    """

    observe_frames = 5

    def __init__(self, identifier: Identifier, pairs: Sequence[tuple[Identity, Identity]], threshold: float):
        self._identifier = identifier
        self._references = torch.stack([reference.latent for reference, _ in pairs])
        self._sources = torch.stack([source.latent for _, source in pairs])
        self._threshold = threshold
        self._started: dict[int, int] = {}
        self._latents: dict[int, list[Tensor]] = {}
        self._pairs: dict[int, int] = {}

    def observe(self, frames: Frames, faces: Faces, first_frame: int) -> None:
        times = (faces.frame_index + first_frame).tolist()
        numbers = faces.track.tolist()
        for number, time in zip(numbers, times, strict=True):
            self._started.setdefault(number, time)
        young = [time - self._started[n] < self.observe_frames for n, time in zip(numbers, times, strict=True)]
        seen = faces[torch.tensor(young, dtype=torch.bool)]
        for number, latent in zip(seen.track.tolist(), self._identifier(frames, seen), strict=True):
            self._latents.setdefault(number, []).append(latent)

    def assign(self, faces: Faces, first_frame: int) -> tuple[Faces, Tensor]:
        pairs = torch.tensor([self._pair_of(number) for number in faces.track.tolist()], dtype=torch.int64)
        known = pairs >= 0
        return faces[known], self._sources[pairs[known].to(self._sources.device)]

    def _pair_of(self, number: int) -> int:
        """Which pair a track belongs to, -1 for none."""
        if number not in self._pairs:
            latent = average(torch.stack(self._latents.pop(number)))
            cosine, best = similarity(latent[None], self._references)[0].max(0)
            self._pairs[number] = int(best) if float(cosine) >= self._threshold else -1
        return self._pairs[number]
