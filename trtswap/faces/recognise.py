"""Whom a track shows, and from which frame on: looks at single frames, put together.

A look has the cosine of a frame's face to every reference, and how clear the face was. A track's identity is decided
on its looks so far and those just ahead, clear ones counting most, and is decided again with every further look. If
three looks in a row contradict what the others say, the track has gone over to somebody else, and a new decision
begins with the first of them.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

# A track is looked at in frames 0, 1, 2, 4, 8 and then in every so many-th; a change without a cut costs so many looks.
LOOK_EVERY = 8
# Looks in a row that contradict the track before it is believed: a hand or a turned head is gone or still recognised.
RUN = 3
# A look is believed against the others if it is at least this clear, and they, as shares of each other's clearness: a
# dark or blurred face says little, and a much clearer one says that the others did not say much.
_AS_CLEAR, _LESS_CLEAR = 0.5, 0.7


@dataclass(frozen=True)
class Rule:
    """When a face counts as a reference's person.

    Attributes:
        threshold: lowest cosine, -1..1.
        margin: by how much the best cosine exceeds that of any rival.
        rivals: bool [R, R], which references stand for different sources.
    """

    threshold: float
    margin: float
    rivals: Tensor

    def best(self, cosines: Tensor) -> int:
        """Of float32 [R] the reference that is meant, -1 for none."""
        cosine, best = cosines.max(0)
        rivals = cosines[self.rivals[best]]
        clear = not len(rivals) or float(cosine - rivals.max()) >= self.margin
        return int(best) if float(cosine) >= self.threshold and clear else -1

    def contradicts(self, reference: int, usual: float, cosines: Tensor) -> bool:
        """Is this surely not who has been recognised as ``reference`` (-1: as nobody), with a cosine of ``usual``?

        Somebody who turns away may fall below the threshold; a stranger falls below half of it, or to a third of what
        is usual for the track.
        """
        best = self.best(cosines)
        if reference < 0:
            return best >= 0
        strange = float(cosines[reference]) < min(self.threshold, max(self.threshold / 2, usual / 3))
        return strange or (best >= 0 and bool(self.rivals[reference, best]))


@dataclass(frozen=True)
class Look:
    """One frame of a track.

    Attributes:
        time: number of the frame.
        cosines: to every reference, float32 [R] on the host.
        clearness: of the face, 0..1.
    """

    time: int
    cosines: Tensor
    clearness: float


class _Vote:
    """Who the looks so far show: their mean cosines, weighted with the square of their clearness."""

    def __init__(self, rule: Rule):
        self._rule = rule
        self._sum = torch.zeros(len(rule.rivals), dtype=torch.float64)
        self._weight = 0.0
        self.clearness = 0.0
        self.reference = -1

    def add(self, look: Look) -> None:
        weight = max(look.clearness, 1e-3) ** 2
        self._sum = self._sum + weight * look.cosines.double()
        self._weight += weight
        self.clearness = max(self.clearness, look.clearness)
        best = self._rule.best(self._sum / self._weight)
        # Who has been recognised stays so where the looks only become less clear.
        self.reference = best if best >= 0 else self.reference

    def is_contradicted_by(self, look: Look) -> bool:
        comparable = look.clearness >= _AS_CLEAR * self.clearness and self.clearness >= _LESS_CLEAR * look.clearness
        if self._weight == 0 or not comparable:
            return False
        usual = float((self._sum / self._weight)[max(self.reference, 0)])
        return self._rule.contradicts(self.reference, usual, look.cosines)


@dataclass
class _Stretch:
    """A part of a track in which it shows one person: the vote of all looks, and of those that a frame may know."""

    start: int
    ahead: _Vote
    known: _Vote
    waiting: deque[Look] = field(default_factory=deque)

    def add(self, look: Look) -> None:
        self.ahead.add(look)
        self.waiting.append(look)

    def reference_of(self, until: int) -> int:
        while self.waiting and self.waiting[0].time <= until:
            self.known.add(self.waiting.popleft())
        return self.known.reference


class Recognised:
    """One track over time. Looks come in order, and frames are asked for in order, ``horizon`` frames behind."""

    def __init__(self, rule: Rule, start: int, horizon: int):
        self._rule = rule
        self._horizon = horizon
        self._start = start
        self._looked = -1
        self._stretches = [self._stretch(start)]
        self._doubtful: list[Look] = []
        self.seen = start

    def is_due(self, time: int) -> bool:
        """Should the frame be looked at? Notes that the track was seen in it, and looked at if so."""
        self.seen = time
        due = self._looked < 0 or time - self._looked >= min(LOOK_EVERY, max(1, self._looked - self._start))
        if due:
            self._looked = time
        return due

    def is_in_doubt(self, look: Look) -> bool:
        """Does the look contradict those before? Then the frames since the last look are to be looked at as well."""
        return self._stretches[-1].ahead.is_contradicted_by(look)

    def add(self, look: Look, between: Iterable[Look] = ()) -> None:
        """Take note of a look, and, if it is in doubt, of those between it and the one before, in order."""
        if not self.is_in_doubt(look):
            self._doubtful = []
            self._stretches[-1].add(look)
            return
        for earlier in (*between, look):
            self._doubtful = [*self._doubtful, earlier] if self.is_in_doubt(earlier) else []
        if len(self._doubtful) >= RUN:
            # Not before what may have been given out already.
            self._stretches.append(self._stretch(max(self._doubtful[0].time, look.time - self._horizon + 1)))
            for doubtful in self._doubtful:
                self._stretches[-1].add(doubtful)
            self._doubtful = []

    def reference_of(self, time: int) -> int:
        """Which reference the track shows in a frame, -1 for none; decided on looks up to the horizon."""
        while len(self._stretches) > 1 and self._stretches[1].start <= time:
            del self._stretches[0]
        return self._stretches[0].reference_of(time + self._horizon - 1)

    def _stretch(self, start: int) -> _Stretch:
        return _Stretch(start, _Vote(self._rule), _Vote(self._rule))


def rivals(sources: Sequence[Tensor]) -> Tensor:
    """Which of the references that stand for these R sources stand for different ones: bool [R, R]."""
    return torch.tensor([[not torch.equal(a, b) for b in sources] for a in sources])
