"""What the swap graph takes for each face: the row of its identity, or of the picture whose pose is nearest."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trtswap.faces.faces import Faces
from trtswap.faces.identity import Identity
from trtswap.faces.pose import pose_of
from trtswap.pixels.transfer import on_device

CLEARLY = 6.0
"""Degrees by which another picture's pose must be nearer than that of the one that a track shows: a change is seen."""


class Wanted:
    """The rows of some identities.

    An identity of several pictures shows each track the one that is nearest to its pose, and stays with it until
    another one is clearly nearer. Frames come in order; the choice does not depend on how they are batched.

    Args:
        identities: at least one, on the device where rows are wanted.
    """

    def __init__(self, identities: Sequence[Identity]) -> None:
        rows = [identity.source.reshape(-1, identity.source.shape[-1]) for identity in identities]
        self._rows = torch.cat(rows)
        counts = torch.tensor([len(own) for own in rows])
        self._first = (counts.cumsum(0) - counts).tolist()
        self._poses = [None if i.poses is None or len(own) == 1 else i.poses.cpu()
                       for own, i in zip(rows, identities, strict=True)]  # fmt: skip
        self._shown: dict[tuple[int, int], int] = {}

    def of(self, faces: Faces, which: Tensor) -> Tensor:
        """Rows of N faces: float32 [N, D].

        Args:
            faces: tracked, of the next frames.
            which: int64 [N], the identity that each gets.
        """
        if len(self._rows) == 1:  # without a copy for each face: a picture is large
            return self._rows.expand(len(faces), -1)
        if all(poses is None for poses in self._poses):
            rows = torch.tensor(self._first)[which]
        else:
            rows = torch.tensor(self._nearest(faces, which.tolist()), dtype=torch.int64)
        return self._rows[on_device(rows, self._rows.device)]

    def _nearest(self, faces: Faces, which: list[int]) -> list[int]:
        turned = pose_of(faces.points).turns
        rows = []
        for row, (track, one) in enumerate(zip(faces.track.tolist(), which, strict=True)):
            poses, place = self._poses[one], (track, one)
            shown = self._shown.get(place, 0)
            if poses is not None and float(faces.fit[row]) > 0:
                apart = (poses - turned[row]).norm(dim=1)
                best = int(apart.argmin())
                new = place not in self._shown
                shown = best if new or float(apart[shown] - apart[best]) > CLEARLY else shown
                self._shown[place] = shown
            rows.append(self._first[one] + shown)
        return rows
