"""Stage 2: the same face over time; steadier landmarks, short misses filled.

Offline work may look ahead: a frame is given out ``lag`` frames after it came in, when what follows it is
known, so that smoothing has no lag of its own and a face that is lost for a moment is put back in between.
Tracks end at cuts: nothing is smoothed or filled across one.
The result depends on the frames alone, not on how they were batched.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from trtswap.faces.cuts import Cut
from trtswap.faces.faces import POINTS, Faces

# A face is the same as before if its landmarks moved by less than this share of its size.
MAX_MOVE = 0.5
# ... and by less than this share where the picture has changed so suddenly that it may be a cut: between two frames of
# the clips in tests/trtswap/faces/test_cuts.py nobody's landmarks move by more than 0.1 while the picture stays.
MAX_MOVE_AT_A_CHANGE = 0.12
# Columns of an observation: what is smoothed, box 4, landmarks 10, points; and what is not, score 1, fit 1.
_BOX, _LANDMARKS, _POINTS, _SCORE, _FIT = slice(0, 4), slice(4, 14), slice(14, -2), -2, -1
# A face that was measured at 478 points holds still as far as it is less than this share of the distance between its
# eyes away from the parabola: there it is smoothed. Further away it has moved as no parabola does, and stays where it
# is. Shake of aligned faces of 512 pixels in a talking head's video, still, in all, at worst (95 %): 0.35, 0.42, 1.08
# unsmoothed; 0.29, 0.49, 2.23 on the parabola; 0.27, 0.36, 0.98 so.
HELD = 0.004
# Points that a parabola is fitted to; a line goes through fewer.
_PARABOLA = 5


@dataclass(eq=False)
class _Track:
    number: int
    times: deque[int] = field(default_factory=deque)
    rows: deque[Tensor] = field(default_factory=deque)

    def add(self, time: int, row: Tensor) -> None:
        self.times.append(time)
        self.rows.append(row)

    def forget_before(self, time: int) -> None:
        while self.times and self.times[0] < time:
            self.times.popleft()
            self.rows.popleft()


class Tracker:
    """Follows faces from frame to frame.

    Args:
        half_window: landmarks of a frame are smoothed over this many frames before and after it; 0 turns
            smoothing off.
        max_gap: a face missed in at most this many consecutive frames is put back; 0 turns filling off.
        min_lag: look at least this many frames ahead.

    Smoothing fits a parabola to each coordinate over the window by least squares and takes its value at the
    frame (Savitzky and Golay, 1964): with 9 frames the standard deviation of independent noise halves, while
    a head that moves with constant speed or acceleration is followed exactly. Faces that were measured densely are
    smoothed only as far as they hold still (``HELD``): theirs is the smaller noise.
    """

    def __init__(self, *, half_window: int = 4, max_gap: int = 5, min_lag: int = 0):
        self.half_window = half_window
        self.max_gap = max_gap
        self.lag = max(half_window + max_gap, min_lag)
        self._tracks: list[_Track] = []
        self._next_number = 0
        self._pushed = 0
        self._given = 0
        self._shot_start = 0

    def push(self, faces: Faces | None, cut: Cut = Cut.NO) -> Faces:
        """Take the faces found in the next frame; the same come back with their track numbers.

        Args:
            faces: of one frame; None for a frame in which nobody has looked.
            cut: does a new shot begin with the frame?
        """
        if cut == Cut.CERTAIN:
            self._shot_start = self._pushed
        if faces is None:
            self._pushed += 1
            return Faces.none()
        numbers = self._associate(faces, MAX_MOVE if cut == Cut.NO else MAX_MOVE_AT_A_CHANGE)
        self._pushed += 1
        return replace(faces, track=torch.tensor(numbers, dtype=torch.int64))

    def ready(self, *, ended: bool = False) -> Iterator[Faces]:
        """Give out the frames that are complete now, oldest first; with ``ended`` all that are left."""
        until = self._pushed if ended else self._pushed - self.lag
        while self._given < until:
            time = self._given
            self._given += 1
            rows = [(t.number, row) for t in self._tracks if (row := self._at(t, time)) is not None]
            yield _faces(rows)
            self._forget(self._given)

    def _associate(self, faces: Faces, max_move: float) -> list[int]:
        """Give each face to the nearest track that is not lost yet, nearest pairs first; else start a track."""
        now = self._pushed
        observed = _rows(faces)
        oldest = max(now - self.max_gap - 1, self._shot_start)
        alive = [t for t in self._tracks if t.times and t.times[-1] >= oldest]
        owner: dict[int, _Track] = {}
        last = torch.stack([t.rows[-1] for t in alive]) if alive else observed[:0]
        for move, i, j in sorted(_moves(last, observed)):
            if move < max_move and j not in owner and alive[i] not in owner.values():
                owner[j] = alive[i]
        for j in range(len(faces)):
            if j not in owner:
                owner[j] = _Track(self._next_number)
                self._next_number += 1
                self._tracks.append(owner[j])
            owner[j].add(now, observed[j])
        return [owner[j].number for j in range(len(faces))]

    def _at(self, track: _Track, time: int) -> Tensor | None:
        """The smoothed or filled-in row of a track at a time; None where it is not to be seen."""
        if time in track.times:
            return self._smoothed(track, time)
        before = max((t for t in track.times if t < time), default=None)
        after = min((t for t in track.times if t > time), default=None)
        if before is None or after is None or after - before - 1 > self.max_gap:
            return None
        start, end = self._smoothed(track, before), self._smoothed(track, after)
        row = torch.lerp(start, end, (time - before) / (after - before))
        if not start[_FIT] * end[_FIT] > 0:
            row[_FIT], row[_POINTS] = 0, 0
        return self._fitted(track, time, row, fewest=_PARABOLA)

    def _smoothed(self, track: _Track, time: int) -> Tensor:
        row = track.rows[track.times.index(time)]
        fitted = self._fitted(track, time, row, fewest=3)
        return fitted + _kept_motion(row, fitted) * (row - fitted) if row[_FIT] > 0 else fitted

    def _fitted(self, track: _Track, time: int, row: Tensor, *, fewest: int) -> Tensor:
        """The curve through the rows near ``time``; ``row`` itself where they are too few."""
        known = zip(track.times, track.rows, strict=True)
        near = [(t - time, r) for t, r in known if abs(t - time) <= self.half_window]
        if len(near) < fewest:
            return row
        fitted = torch.cat([_curve(near)[:_SCORE], row[_SCORE:]])
        if row[_FIT] == 0:
            fitted[_POINTS] = 0
            return fitted
        measured = [(t, r) for t, r in near if r[_FIT] > 0]
        if len(measured) < len(near):
            fitted[_POINTS] = _curve(measured)[_POINTS] if len(measured) >= fewest else row[_POINTS]
        return fitted

    def _forget(self, time: int) -> None:
        """Drop what no later frame can need."""
        for track in self._tracks:
            track.forget_before(time - self.half_window - self.max_gap - 1)
        self._tracks = [t for t in self._tracks if t.times]


def parabola_at_zero(times: Tensor, values: Tensor) -> Tensor:
    """Least-squares parabola (a line for three or four points) through values, evaluated at time 0.

    Args:
        times: float32 [T], T >= 3, distinct.
        values: float32 [T, V].

    Returns:
        float32 [V].
    """
    order = 2 if len(times) >= _PARABOLA else 1
    powers = times.double()[:, None] ** torch.arange(order + 1)
    weights = torch.linalg.pinv(powers)[0]
    fitted: Tensor = weights @ values.double()
    return fitted.float()


def _curve(near: list[tuple[int, Tensor]]) -> Tensor:
    """The parabola's row at time 0."""
    return parabola_at_zero(torch.tensor([float(t) for t, _ in near]), torch.stack([r for _, r in near]))


def _kept_motion(row: Tensor, fitted: Tensor) -> Tensor:
    """Share of its distance from the parabola that a face keeps: 0 for noise, 1 for motion."""
    away = (row[_LANDMARKS] - fitted[_LANDMARKS]).view(5, 2).mean(0).square().sum()
    right, left = row[_LANDMARKS].view(5, 2)[:2]
    noise = (HELD**2 * (left - right).square().sum()).clamp(min=1e-12)
    share: Tensor = away / (away + noise)
    return share


def moves(before: Faces, after: Faces) -> list[tuple[float, int, int]]:
    """(move, row of before, row of after) of every pair that may be the same face; 1 is the size of the face."""
    return list(_moves(_rows(before), _rows(after)))


def _moves(last: Tensor, observed: Tensor) -> Iterator[tuple[float, int, int]]:
    if not len(last) or not len(observed):
        return
    apart = last[:, None, _LANDMARKS] - observed[None, :, _LANDMARKS]
    distance = apart.view(len(last), len(observed), 5, 2).square().sum(-1).sqrt().mean(-1)
    size = torch.minimum(_size(last)[:, None], _size(observed)[None])
    moves = distance / size.clamp(min=1e-3)
    for i, j in (moves < MAX_MOVE).nonzero().tolist():
        yield float(moves[i, j]), i, j


def _rows(faces: Faces) -> Tensor:
    """Observations, float32 [N, 1450]."""
    smooth = faces.box, faces.landmarks.flatten(1), faces.points.flatten(1)
    return torch.cat([*smooth, faces.score[:, None], faces.fit[:, None]], 1)


def _size(rows: Tensor) -> Tensor:
    """Geometric mean of the sides of the boxes, pixels."""
    box = rows[:, _BOX]
    return ((box[:, 2] - box[:, 0]).clamp(min=0) * (box[:, 3] - box[:, 1]).clamp(min=0)).sqrt()


def _faces(rows: list[tuple[int, Tensor]]) -> Faces:
    if not rows:
        return Faces.none()
    table = torch.stack([row for _, row in rows])
    return Faces(
        frame_index=torch.zeros(len(rows), dtype=torch.int64),
        box=table[:, _BOX],
        landmarks=table[:, _LANDMARKS].reshape(-1, 5, 2),
        score=table[:, _SCORE],
        track=torch.tensor([number for number, _ in rows]),
        points=table[:, _POINTS].reshape(-1, POINTS, 3),
        fit=table[:, _FIT],
    )
