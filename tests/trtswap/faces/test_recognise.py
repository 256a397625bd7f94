"""Whom a track shows: looks that agree, differ, and change."""

import pytest
import torch

from trtswap.faces.recognise import LOOK_EVERY, RUN, Look, Recognised, Rule, rivals

HORIZON = LOOK_EVERY + RUN
ANNA, BERT, NOBODY = (0.9, 0.1), (0.1, 0.8), (0.05, 0.02)
CHANGES = ("first", "then", "who")
RULE = Rule(0.35, 0.1, ~torch.eye(2, dtype=torch.bool))


def recognised(cosines: list[tuple[float, float]], clearness: list[float] | None = None, batch: int = 1) -> list[int]:
    """What is decided for each frame of a track, as soon as it can be; looked at as ByReference does."""
    clear = clearness or [1.0] * len(cosines)
    looks = [Look(t, torch.tensor(c), clear[t]) for t, c in enumerate(cosines)]
    track, decided = Recognised(RULE, 0, HORIZON), []
    for start in range(0, len(looks), batch):
        for look in looks[start : start + batch]:
            if track.is_due(look.time):
                between = looks[max(0, look.time - LOOK_EVERY + 1) : look.time]
                track.add(look, between if track.is_in_doubt(look) else ())
        decided += [track.reference_of(t) for t in range(len(decided), min(start + batch, len(looks)) - HORIZON + 1)]
    return decided + [track.reference_of(t) for t in range(len(decided), len(cosines))]


@pytest.mark.parametrize("batch", [1, 5, 100])
@pytest.mark.parametrize("change", [9, 16, 17, 22, 23, 24, 30])
@pytest.mark.parametrize(CHANGES, [(ANNA, NOBODY, (0, -1)), (NOBODY, BERT, (-1, 1)), (ANNA, BERT, (0, 1))])
def test_a_track_that_goes_over_to_somebody_else_is_decided_anew_from_that_frame(
    first: tuple[float, float], then: tuple[float, float], who: tuple[int, int], change: int, batch: int
) -> None:
    decided = recognised([first] * change + [then] * (50 - change), batch=batch)
    assert decided == [who[0]] * change + [who[1]] * (50 - change)


@pytest.mark.parametrize("looks", [1, 2])
def test_a_moment_that_contradicts_changes_nothing(looks: int) -> None:
    for start in (3, 8, 15, 16, 23):
        frames = [ANNA] * start + [NOBODY] * looks + [ANNA] * (50 - start - looks)
        assert recognised(frames) == [0] * 50


def test_a_head_that_turns_away_keeps_its_identity() -> None:
    assert recognised([ANNA] * 20 + [(0.32, 0.2)] * 20) == [0] * 40


def test_clear_frames_count_more_than_dark_ones() -> None:
    """As after a fade-in: dark frames look like the other one, or like both."""
    dark = [(0.47, 0.58), (0.5, 0.57), (0.53, 0.55), (0.6, 0.57), (0.64, 0.57)]
    clear = [0.15, 0.22, 0.29, 0.37, 0.43, 0.51, 0.58, 0.66] + [0.8] * 30
    assert recognised(dark + [(0.85, 0.53)] * 33, clear) == [0] * 38


def test_an_unclear_look_does_not_overturn_clear_ones() -> None:
    assert recognised([ANNA] * 10 + [NOBODY] * 30, [1.0] * 10 + [0.2] * 30) == [0] * 40


def test_who_looks_like_two_references_is_nobody_unless_both_stand_for_the_same_source() -> None:
    alike = torch.tensor([0.6, 0.55])
    assert RULE.best(alike) == -1
    assert RULE.best(torch.tensor([0.6, 0.45])) == 0
    source = torch.tensor([1.0, 0.0])
    assert Rule(0.35, 0.1, rivals(torch.stack([source, source]))).best(alike) == 0
    assert Rule(0.35, 0.1, rivals(torch.stack([source, source.flip(0)]))).best(alike) == -1
    assert Rule(0.7, 0.1, RULE.rivals).best(torch.tensor([0.6, 0.1])) == -1
