"""Clips with cuts, through search, tracking and casting: inputs that once failed, each with what is right."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from trtswap import Identity, Swapper
from trtswap.faces import Faces
from trtswap.faces.cast import ByReference, Casting, OneForAll
from trtswap.faces.detect import Detector
from trtswap.faces.follow import Follower
from trtswap.faces.identity import Identifier
from trtswap.packs import sample_sources
from trtswap.session.stopwatch import Stopwatch
from trtswap.video.reader import VideoReader


@pytest.fixture(scope="module")
def swapper() -> Iterator[Swapper]:
    with Swapper("avatar", backend="onnxruntime", device="cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def people(swapper: Swapper) -> list[Identity]:
    return [swapper.identity(path) for path in sample_sources("avatar")]


def followed(
    swapper: Swapper, clip: Path, casting: Casting, *, batch: int = 8, smooth: int = 4, every: int = 1
) -> list[tuple[Faces, Faces, torch.Tensor]]:
    """Of each frame: its faces, those that get an identity, and their latents."""
    detect = Detector(swapper.runtime.stage("detect"))
    follower = Follower(
        detect,
        casting,
        smooth=smooth,
        fill=5,
        detect_every=every,
        stopwatch=Stopwatch(),
    )
    frames = []
    with VideoReader(clip, batch_size=batch) as reader:
        batches = itertools.chain((follower.push(frames) for frames in reader), (follower.flush() for _ in range(1)))
        for done in itertools.chain.from_iterable(batches):
            assert done.first_frame == len(frames)
            cast, latents = casting.assign(done.faces, done.first_frame)
            for b in range(len(done.frames)):
                frames.append((done.faces.of_frame(b), cast.of_frame(b), latents[cast.frame_index == b]))
    return frames


def mapped(swapper: Swapper, *pairs: tuple[Identity, Identity]) -> ByReference:
    return ByReference(
        Identifier(swapper.runtime.stage("identify")), pairs, swapper.pack.stages["identify"].threshold or 0
    )


def everybody(people: list[Identity]) -> OneForAll:
    return OneForAll(people[0])


@pytest.mark.parametrize(("batch", "every"), [(1, 1), (16, 1), (8, 4)])
def test_nobody_else_is_swapped_after_a_cut_in_the_same_place(
    swapper: Swapper, people: list[Identity], cases: Path, batch: int, every: int
) -> None:
    casting = mapped(swapper, (people[1], people[0]))
    frames = followed(swapper, cases / "cut_same.mp4", casting, batch=batch, every=every)
    assert [len(cast) for _, cast, _ in frames] == [1] * 14 + [0] * 14


@pytest.mark.parametrize("every", [1, 3])
def test_landmarks_at_a_cut_to_a_larger_picture_are_those_of_their_own_shot(
    swapper: Swapper, people: list[Identity], cases: Path, every: int
) -> None:
    """The pictures of a shot are all equal, so that smoothing within a shot changes nothing."""
    clip, casting = cases / "cut_zoom.mp4", everybody(people)
    smooth = followed(swapper, clip, casting, every=every)
    plain = followed(swapper, clip, casting, smooth=0)
    assert [int(faces.track[0]) for faces, _, _ in smooth] == [0] * 14 + [1] * 14
    eyes = float((plain[0][0].landmarks[0, 0] - plain[0][0].landmarks[0, 1]).norm())
    off = [
        float((a.landmarks - b.landmarks).norm(dim=-1).max())
        for (a, _, _), (b, _, _) in zip(smooth, plain, strict=True)
    ]
    assert max(off) < 0.01 * eyes


@pytest.mark.parametrize("every", [1, 2])
def test_nobody_is_put_on_a_card_between_two_shots(
    swapper: Swapper, people: list[Identity], cases: Path, every: int
) -> None:
    frames = followed(swapper, cases / "insert_card.mp4", everybody(people), every=every)
    assert [len(faces) for faces, _, _ in frames] == [1] * 12 + [0] * 3 + [1] * 12


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("order", [(0, 2), (2, 0)])
def test_who_fades_in_is_decided_on_clear_frames(
    swapper: Swapper, people: list[Identity], cases: Path, order: tuple[int, int], batch: int
) -> None:
    """Person 1 fades in; references to 1 and 3, who resemble each other in the dark."""
    targets = {0: people[1], 2: people[0]}
    frames = followed(
        swapper, cases / "fade1.mp4", mapped(swapper, *((people[i], targets[i]) for i in order)), batch=batch
    )
    assert [len(cast) for _, cast, _ in frames] == [0] * 2 + [1] * 38
    for _, _, latents in frames[2:]:
        assert torch.equal(latents[0], people[1].latent)


def test_tracks_and_identities_do_not_depend_on_batches(swapper: Swapper, people: list[Identity]) -> None:
    clip = sample_sources("avatar")[0].parent / "clip.mp4"
    runs = [
        followed(swapper, clip, mapped(swapper, (people[1], people[0]), (people[2], people[1])), batch=batch)
        for batch in (1, 7)
    ]
    for one, other in zip(*runs, strict=True):
        for ours, theirs in zip(one[:2], other[:2], strict=True):
            assert torch.equal(ours.track, theirs.track)
            torch.testing.assert_close(ours.landmarks, theirs.landmarks, atol=1e-3, rtol=0)
        assert torch.equal(one[2], other[2])


def test_a_casting_forgets_tracks_that_have_ended(swapper: Swapper, people: list[Identity], cases: Path) -> None:
    casting = mapped(swapper, (people[1], people[0]))
    followed(swapper, cases / "cut_zoom.mp4", casting)
    assert set(casting._tracks) == {1}
