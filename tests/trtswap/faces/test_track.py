"""Tracks over synthetic motion whose truth is known."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from trtswap.faces import Faces
from trtswap.faces.cuts import Cut
from trtswap.faces.track import Tracker, parabola_at_zero
from trtswap.pixels.geometry import TEMPLATES

SHAPE = TEMPLATES["ffhq_512"].scaled(100)


def faces_at(*centres: tuple[float, float], noise: float = 0.0, generator: torch.Generator | None = None) -> Faces:
    n = len(centres)
    if not n:
        return Faces.none()
    points = SHAPE[None] + torch.tensor(centres)[:, None] - 50
    points = points + torch.randn(n, 5, 2, generator=generator) * noise
    box = torch.tensor([[x - 40, y - 50, x + 40, y + 50] for x, y in centres])
    return Faces(torch.zeros(n, dtype=torch.int64), box, points, torch.full((n,), 0.9), torch.full((n,), -1))


def run(tracker: Tracker, frames: list[Faces], batch: int = 1) -> list[Faces]:
    out: list[Faces] = []
    for start in range(0, len(frames), batch):
        for faces in frames[start : start + batch]:
            tracker.push(faces)
        out += tracker.ready()
    return out + list(tracker.ready(ended=True))


def centres(frames: list[Faces]) -> np.ndarray:
    return np.array([f.landmarks.mean(1)[0].tolist() for f in frames])


def test_jitter_on_a_still_head_falls_by_more_than_40_percent() -> None:
    g = torch.Generator().manual_seed(1)
    noisy = [faces_at((200, 150), noise=1.0, generator=g) for _ in range(400)]
    smooth = run(Tracker(), noisy)

    def jitter(frames: list[Faces]) -> float:
        return float(torch.stack([f.landmarks[0] for f in frames]).std(0).mean())

    assert jitter(smooth) < 0.6 * jitter(noisy)


@pytest.mark.parametrize("motion", [lambda t: (200 + 9 * t, 150 - 4 * t), lambda t: (200 + 0.4 * t * t, 150 + 2 * t)])
def test_a_moving_head_is_followed_without_lag(motion) -> None:  # type: ignore[no-untyped-def]
    frames = [faces_at(motion(t)) for t in range(40)]
    error = np.abs(centres(run(Tracker(), frames)) - centres(frames)).max()
    assert error < 0.05


def test_a_nodding_head_is_followed() -> None:
    frames = [faces_at((200, 150 + 12 * math.sin(2 * math.pi * t * 1.5 / 25))) for t in range(100)]
    assert np.abs(centres(run(Tracker(), frames)) - centres(frames)).max() < 0.8


def test_short_misses_are_filled_and_long_ones_are_not() -> None:
    present = [faces_at((200 + 3 * t, 150)) for t in range(60)]
    frames = [Faces.none() if 20 <= t < 25 or 40 <= t < 46 else f for t, f in enumerate(present)]
    out = run(Tracker(max_gap=5), frames)
    assert [len(f) for f in out] == [1] * 40 + [0] * 6 + [1] * 14
    assert np.abs(centres(out[20:25]) - centres(present[20:25])).max() < 0.1
    assert len({int(f.track[0]) for f in out[:40]}) == 1


def test_filling_off_and_smoothing_off_give_back_what_came_in() -> None:
    g = torch.Generator().manual_seed(2)
    frames = [Faces.none() if t % 7 == 3 else faces_at((200, 150), noise=1, generator=g) for t in range(30)]
    for ours, given in zip(run(Tracker(half_window=0, max_gap=0), frames), frames, strict=True):
        assert torch.equal(ours.landmarks, given.landmarks)


def test_two_people_who_cross_keep_their_numbers() -> None:
    frames = [faces_at((100 + 8 * t, 150), (500 - 8 * t, 215)) for t in range(50)]
    out = run(Tracker(), frames)
    assert all(len(f) == 2 for f in out)
    first = [f.landmarks[f.track == 0].mean() for f in out]
    second = [f.landmarks[f.track == 1].mean() for f in out]
    assert all(b > a for a, b in pairwise(first))
    assert all(b < a for a, b in pairwise(second))


def test_a_cut_starts_a_new_track_and_is_not_smoothed_over() -> None:
    frames = [faces_at((200, 150)) for _ in range(20)] + [faces_at((600, 300)) for _ in range(20)]
    out = run(Tracker(), frames)
    assert [int(f.track[0]) for f in out] == [0] * 20 + [1] * 20
    assert np.abs(centres(out) - centres(frames)).max() < 0.01


@pytest.mark.parametrize("apart", [0, 10])
def test_a_cut_ends_tracks_in_the_same_place(apart: int) -> None:
    """Three frames are lost at the cut; neither smoothing nor filling crosses it."""
    frames = [faces_at((200, 150))] * 20 + [faces_at((200 + apart, 150))] * 20
    tracker, gap = Tracker(), 3
    for time, faces in enumerate(frames):
        missed = 20 <= time < 20 + gap
        tracker.push(Faces.none() if missed else faces, Cut.CERTAIN if time == 20 else Cut.NO)
    out = list(tracker.ready(ended=True))
    assert [faces.track.tolist() for faces in out] == [[0]] * 20 + [[]] * gap + [[1]] * (20 - gap)
    assert np.abs(centres(out[:20]) - centres(frames[:20])).max() < 0.01
    assert np.abs(centres(out[20 + gap :]) - centres(frames[20 + gap :])).max() < 0.01


@pytest.mark.parametrize(("apart", "tracks"), [(5, [0, 0]), (20, [0, 1])])
def test_where_there_may_be_a_cut_a_track_goes_on_only_if_the_face_stays(apart: int, tracks: list[int]) -> None:
    tracker = Tracker()
    for time in range(10):
        tracker.push(faces_at((200 + apart * (time >= 5), 150)), Cut.POSSIBLE if time == 5 else Cut.NO)
    out = list(tracker.ready(ended=True))
    assert [int(faces.track[0]) for faces in out] == [tracks[0]] * 5 + [tracks[1]] * 5


@pytest.mark.parametrize("batch", [2, 7, 16, 64])
def test_the_result_does_not_depend_on_batches(batch: int) -> None:
    g = torch.Generator().manual_seed(3)
    frames = [Faces.none() if t % 11 == 5 else faces_at((200 + t, 150), noise=1, generator=g) for t in range(90)]
    for one, other in zip(run(Tracker(), frames), run(Tracker(), frames, batch), strict=True):
        assert torch.equal(one.landmarks, other.landmarks)
        assert torch.equal(one.track, other.track)


def test_no_faces_and_no_frames() -> None:
    assert run(Tracker(), []) == []
    assert [len(f) for f in run(Tracker(), [Faces.none()] * 3)] == [0, 0, 0]


def test_memory_is_bounded_by_the_window() -> None:
    tracker = Tracker()
    for t in range(500):
        tracker.push(faces_at((200 + (t % 50), 150)))
        list(tracker.ready())
    assert sum(len(track.times) for track in tracker._tracks) < 60


def test_parabola_is_numpys_polyfit() -> None:
    times = torch.tensor([-4.0, -3, -1, 0, 2, 4])
    values = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    expected = np.polyfit(times.numpy(), values.numpy(), 2)[-1]
    np.testing.assert_allclose(parabola_at_zero(times, values), expected, atol=1e-5)
