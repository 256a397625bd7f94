"""Cuts, and what is none: made from a scene of soft shapes, as thumbnails of a shot are."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from trtswap.faces.cuts import SIDE, Cut, CutDetector, change, detail, thumbnails

WIDTH, HEIGHT = 80, 45


def scene(seed: int, width: int = WIDTH) -> torch.Tensor:
    """Shapes of some five pixels, [45, width], 0.1 to 0.7."""
    coarse = torch.rand(1, 1, 9, width // 5, generator=torch.Generator().manual_seed(seed))
    return 0.1 + 0.6 * F.interpolate(coarse, (HEIGHT, width), mode="bicubic").clamp(0, 1)[0, 0]


def shot(seed: int, frames: int, noise: float = 0.01) -> torch.Tensor:
    """A still shot with a little noise: [T, 45, 80]."""
    grain = torch.randn(frames, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed + 100))
    return (scene(seed) + noise * grain).clamp(0, 1)


def cuts(frames: torch.Tensor) -> list[Cut]:
    detector = CutDetector()
    return [detector.push(detail(frame)) for frame in frames]


def certain(frames: torch.Tensor) -> list[int]:
    return [time for time, cut in enumerate(cuts(frames)) if cut == Cut.CERTAIN]


def flash(frames: torch.Tensor) -> torch.Tensor:
    return torch.cat([frames[:10], (frames[10:12] * 1.3 + 0.1).clamp(max=1), frames[12:]])


def fade_in(frames: torch.Tensor) -> torch.Tensor:
    return frames * torch.linspace(0, 1, len(frames))[:, None, None]


def pan(frames: torch.Tensor) -> torch.Tensor:
    wide = scene(7, 200)
    return torch.stack([wide[:, time : time + WIDTH] for time in range(len(frames))])


def hand(frames: torch.Tensor) -> torch.Tensor:
    """Something of a fifth of the picture's width passes, three pixels a frame."""
    frames = frames.clone()
    for time, frame in enumerate(frames):
        frame[10:40, max(0, 3 * time - 16) : 3 * time] = 0.6
    return frames


def lights_off(frames: torch.Tensor) -> torch.Tensor:
    return torch.cat([frames[:10], frames[10:] * 0.4])


def dissolve(frames: torch.Tensor) -> torch.Tensor:
    mix = torch.linspace(0, 1, len(frames))[:, None, None]
    return torch.lerp(frames, shot(2, len(frames)), mix)


@pytest.mark.parametrize("kind", [flash, fade_in, pan, hand, lights_off, dissolve])
def test_what_is_no_cut(kind: Callable[[torch.Tensor], torch.Tensor]) -> None:
    assert certain(kind(shot(1, 25))) == []


def test_nothing_happens_in_a_still_shot() -> None:
    assert set(cuts(shot(1, 25))) == {Cut.NO}
    assert set(cuts(torch.zeros(5, HEIGHT, WIDTH))) == {Cut.NO}


@pytest.mark.parametrize("between", [shot(2, 3), torch.full((3, HEIGHT, WIDTH), 0.8), shot(1, 3).flip(2)])
def test_cuts_are_found_in_their_frames(between: torch.Tensor) -> None:
    """Another scene, a plain card, and the scene mirrored."""
    assert certain(torch.cat([shot(1, 10), between, shot(1, 10)])) == [10, 13]


def test_cuts_in_the_dark_are_found() -> None:
    assert certain(torch.cat([shot(1, 10), shot(2, 10)]) * 0.25) == [10]


def test_a_change_of_part_of_the_picture_may_be_a_cut() -> None:
    """Another person in the same place: a quarter of the picture is another one from one frame to the next."""
    frames = shot(1, 20)
    frames[10:, 10:35, 20:56] = shot(2, 10)[:, 10:35, 20:56]
    assert cuts(frames) == [Cut.POSSIBLE if time == 10 else Cut.NO for time in range(20)]


def test_a_whip_pan_is_at_most_its_beginning() -> None:
    """Six pixels a frame, twice what is looked for: every frame is unlike the one before, and none is a cut."""
    wide = scene(7, 200)
    frames = torch.stack([*[wide[:, :WIDTH]] * 5, *[wide[:, 6 * t : 6 * t + WIDTH] for t in range(1, 20)]])
    assert [time for time in certain(frames) if time > 6] == []


def test_a_frame_after_missing_ones_is_no_cut() -> None:
    detector = CutDetector()
    shown = [detail(frame) for frame in torch.cat([shot(1, 5), shot(2, 5)])]
    judged = [detector.push(frame, adjoins=time != 5) for time, frame in enumerate(shown)]
    assert judged == [Cut.NO] * 10


def test_change_is_symmetric_and_between_nothing_and_all() -> None:
    one, other = detail(scene(1)), detail(scene(2))
    assert change(one, one) == 0
    assert change(one, other) == change(other, one)
    assert 0.5 < change(one, other) < 1.5
    assert change(one, detail(scene(1)[:40])) == 1


@pytest.mark.parametrize(("width", "height"), [(640, 360), (416, 234), (100, 7), (9, 400), (3, 2)])
def test_thumbnails_are_means_of_squares_and_know_no_padding(width: int, height: int) -> None:
    images = torch.full((2, 3, -(-height // 32) * 32, -(-width // 32) * 32), 9.0)
    images[:, :, :height, :width] = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    small = thumbnails(images, width, height)
    k = max(1, round(max(width, height) / SIDE))
    assert small.shape == (2, max(1, height // k), max(1, width // k))
    torch.testing.assert_close(small[1, 0, 0], images[1, 1, : min(k, height), : min(k, width)].mean())
    assert float(small.max()) <= 1
    assert torch.equal(small[1:], thumbnails(images[1:], width, height))


@pytest.mark.parametrize(("width", "height"), [(4000, 1), (1, 4000), (65535, 1), (7, 7)])
def test_thumbnails_of_pictures_that_are_one_line(width: int, height: int) -> None:
    small = thumbnails(torch.full((1, 3, height, width), 0.5), width, height)
    assert small.shape[1:].numel() > 0
    assert (small == 0.5).all()
