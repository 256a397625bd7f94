"""Stage 3b: who gets which identity."""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from trtswap.faces.faces import Faces
from trtswap.faces.identity import Identifier, Identity, similarity
from trtswap.faces.recognise import LOOK_EVERY, RUN, Look, Recognised, Rule, rivals
from trtswap.faces.wanted import Wanted
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
        self._wanted = Wanted([identity])

    def observe(self, frames: Frames, faces: Faces, first_frame: int) -> None:
        """There is nothing to find out."""

    def assign(self, faces: Faces, first_frame: int) -> tuple[Faces, Tensor]:
        return faces, self._wanted.of(faces, torch.zeros(len(faces), dtype=torch.int64))


class ByReference:
    """Each face gets the source that belongs to the reference it looks like, or none.

    A track is looked at in its first frames and then now and again; whom it shows, from which frame on, is
    :class:`~trtswap.faces.recognise.Recognised`'s to say. What is decided for a frame depends on
    the frames before it and the ``observe_frames`` from it on, not on how these were batched.

    Args:
        identifier: turns faces into latents.
        pairs: (reference, source): faces like the reference get the source.
        threshold: lowest cosine to a reference that counts as the same person, -1..1.
        margin: by how much the best reference's cosine exceeds that of the next one that stands for another source.
            Over the frames of one lit track the difference of two references' cosines has a standard deviation of
            0.03 to 0.08 (pack avatar), the mean of a track's first five looks about half: 0.1 is two to three of these.

    Attributes:
        threshold: as given.
        best_cosine: the highest of any face to any reference so far; None before the first look.
    """

    # A look that is in doubt, and those up to the next one, which settles it.
    observe_frames = LOOK_EVERY + RUN

    def __init__(
        self,
        identifier: Identifier,
        pairs: Sequence[tuple[Identity, Identity]],
        threshold: float,
        *,
        margin: float = 0.1,
    ):
        self._identifier = identifier
        self._references = torch.stack([reference.latent for reference, _ in pairs])
        self._wanted = Wanted([source for _, source in pairs])
        self.threshold = threshold
        self.best_cosine: float | None = None
        self._rule = Rule(threshold, margin, rivals([source.source.cpu() for _, source in pairs]))
        self._tracks: dict[int, Recognised] = {}
        self._recent: deque[tuple[Frames, Faces, int]] = deque()

    def observe(self, frames: Frames, faces: Faces, first_frame: int) -> None:
        while self._recent and self._recent[0][2] + len(self._recent[0][0]) <= first_frame - LOOK_EVERY:
            self._recent.popleft()
        self._recent.append((frames, faces, first_frame))
        times = (faces.frame_index + first_frame).tolist()
        due = []
        for number, time in zip(faces.track.tolist(), times, strict=True):
            if number not in self._tracks:
                self._tracks[number] = Recognised(self._rule, time, self.observe_frames)
            due.append(self._tracks[number].is_due(time))
        for number, look in self._looks(frames, faces[torch.tensor(due, dtype=torch.bool)], first_frame):
            track = self._tracks[number]
            track.add(look, self._between(number, look.time) if track.is_in_doubt(look) else ())

    def assign(self, faces: Faces, first_frame: int) -> tuple[Faces, Tensor]:
        times = (faces.frame_index + first_frame).tolist()
        found = [self._tracks[n].reference_of(t) for n, t in zip(faces.track.tolist(), times, strict=True)]
        # A track that was last seen before this batch has ended: whoever goes on with it has been observed by now.
        self._tracks = {number: track for number, track in self._tracks.items() if track.seen >= first_frame}
        references = torch.tensor(found, dtype=torch.int64)
        known = references >= 0
        return faces[known], self._wanted.of(faces[known], references[known])

    def _between(self, number: int, time: int) -> list[Look]:
        """Looks at a track in the frames since the last look, which wait to be given out and are still as they were."""
        looks = []
        for frames, faces, first in self._recent:
            since = faces.frame_index + first - time
            rows = (faces.track == number) & (since > -LOOK_EVERY) & (since < 0)
            looks += [look for _, look in self._looks(frames, faces[rows], first)]
        return looks

    def _looks(self, frames: Frames, faces: Faces, first_frame: int) -> list[tuple[int, Look]]:
        """Track number and look of each face; a GPU is waited for once."""
        if not len(faces):
            return []
        latents, clearness = self._identifier.with_clearness(frames, faces)
        cosines = similarity(latents, self._references)
        table = torch.cat([cosines, clearness[:, None]], 1).cpu()
        self.best_cosine = max(float(table[:, :-1].max()), -1.0 if self.best_cosine is None else self.best_cosine)
        times = (faces.frame_index + first_frame).tolist()
        looks = [Look(time, row[:-1], float(row[-1])) for time, row in zip(times, table, strict=True)]
        return list(zip(faces.track.tolist(), looks, strict=True))
