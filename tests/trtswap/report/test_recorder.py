"""Which frames are kept, and what the pictures of them show."""

import io
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from trtswap.faces import Faces
from trtswap.pixels.color import RGB24
from trtswap.pixels.frames import Frames
from trtswap.report.pictures import FACE_SIDE, FRAME_SIDE, MARGIN, Square, around, close_up, copy_of, whole
from trtswap.report.recorder import PLACES, SHOWN, Recorder
from trtswap.video.display import display_of

WIDTH, HEIGHT = 96, 64
BATCH = 8


class Info:
    """What a recorder looks at in a video's info."""

    origin = Fraction(0)


def frames_of(numbers: range) -> Frames:
    """Frames whose red is 100 on the left half and 200 on the right, and whose blue is the frame's number."""
    red = torch.full((len(numbers), HEIGHT, WIDTH), 100, dtype=torch.uint8)
    red[:, :, WIDTH // 2 :] = 200
    blue = torch.tensor([n % 256 for n in numbers], dtype=torch.uint8)[:, None, None].expand_as(red).clone()
    display = display_of(WIDTH, HEIGHT, Fraction(1), None)
    return Frames((red, torch.zeros_like(red), blue), RGB24, display.to_tensor(), display.size,
                  tuple(numbers), (1,) * len(numbers), Fraction(1, 25))  # fmt: skip


def faces_at(*boxes: tuple[int, float, float, float, float]) -> Faces:
    """Faces from (frame of the batch, x1, y1, x2, y2)."""
    n = len(boxes)
    return Faces(
        frame_index=torch.tensor([b[0] for b in boxes], dtype=torch.int64),
        box=torch.tensor([b[1:] for b in boxes]).reshape(n, 4),
        landmarks=torch.zeros(n, 5, 2),
        score=torch.ones(n),
        track=torch.arange(n),
    )


def watch(total: int, expected: int | None, with_face: set[int]) -> Recorder:
    """Show a recorder a video in which a swap turns red into green."""
    recorder = Recorder()
    recorder.begin(Info(), expected)  # type: ignore[arg-type] - all that is looked at
    for first in range(0, total, BATCH):
        frames = frames_of(range(first, min(first + BATCH, total)))
        faces = faces_at(*((b, 20.0, 20.0, 30.0, 30.0) for b in range(len(frames)) if first + b in with_face))
        recorder.before(first, frames, faces)
        frames.planes[1].copy_(frames.planes[0])
        frames.planes[0].zero_()
        recorder.after(first, frames, faces)
    return recorder


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data))).astype(int)


@pytest.mark.parametrize("expected", [1000, None, 10, 100_000])
def test_samples_are_spread_over_the_video(expected: int | None) -> None:
    """Whatever the header promised; where it promised far too much, there is less to choose from."""
    samples = watch(1000, expected, set(range(1000))).samples()
    numbers = [sample.frame for sample in samples]
    assert numbers == sorted(set(numbers))
    if expected == 100_000:
        assert len(samples) == 1
        return
    assert len(samples) == SHOWN
    steps = np.diff(numbers)
    assert steps.max() <= 2.1 * steps.min()
    assert numbers[-1] - numbers[0] > 600


def test_few_pictures_are_kept_of_a_long_video() -> None:
    recorder = watch(6000, None, set(range(6000)))
    assert len(recorder._samples) <= 2 * PLACES
    assert len(recorder._originals) == 0


def test_frames_with_faces_come_first() -> None:
    samples = watch(240, 240, {37, 38, 121, 199}).samples()
    assert [sample.frame for sample in samples] == [37, 121, 199]
    assert all(sample.faces == 1 and sample.face_before is not None for sample in samples)


def test_without_any_face() -> None:
    samples = watch(240, 240, set()).samples()
    assert len(samples) == SHOWN
    assert all(sample.faces == 0 and sample.face_before is None for sample in samples)


def test_a_short_video() -> None:
    assert [sample.frame for sample in watch(3, 3, {0, 1, 2}).samples()] == [0, 1, 2]
    assert watch(0, 0, set()).samples() == []


def test_before_is_before_and_after_is_after() -> None:
    sample = watch(50, 50, set(range(50))).samples()[3]
    before, after = pixels(sample.before.data), pixels(sample.after.data)
    assert before.shape == (HEIGHT, WIDTH, 3)
    for picture, bright in ((before, 0), (after, 1)):
        assert np.abs(picture[5:-5, 5:40, bright] - 100).max() < 8
        assert np.abs(picture[5:-5, 60:-5, bright] - 200).max() < 8
        assert picture[5:-5, 5:-5, 1 - bright].max() < 20  # at the edge, from JPEG's coarser chroma
    assert abs(int(np.median(before[..., 2])) - sample.frame) < 4
    assert sample.seconds == pytest.approx(sample.frame / 25)


def test_times_of_all_frames() -> None:
    assert watch(20, 20, set()).seconds.tolist() == pytest.approx([i / 25 for i in range(20)])


def test_a_square_around_the_largest_face() -> None:
    faces = faces_at((0, 10.0, 10.0, 14.0, 14.0), (0, 40.0, 30.0, 50.0, 40.0))
    square = around(faces, (WIDTH, HEIGHT))
    assert square.side == pytest.approx(10 * MARGIN)
    assert (square.left + square.side / 2, square.top + square.side / 2) == pytest.approx((45.5, 35.5))


@pytest.mark.parametrize("box", [(-20.0, -9.0, 5.0, 9.0), (90.0, 50.0, 120.0, 80.0), (0.0, 0.0, 200.0, 200.0)])
def test_a_square_stays_in_the_frame(box: tuple[float, float, float, float]) -> None:
    square = around(faces_at((0, *box)), (WIDTH, HEIGHT))
    assert square.left >= 0
    assert square.top >= 0
    assert square.left + square.side <= WIDTH
    assert square.top + square.side <= HEIGHT


def test_a_close_up_shows_its_square() -> None:
    """The edge between the halves, at x = 48, is where the square says it is."""
    picture = pixels(close_up(frames_of(range(1)), Square(38, 10, 20)).data)
    assert picture.shape == (FACE_SIDE, FACE_SIDE, 3)
    row = picture[FACE_SIDE // 2, :, 0]
    assert int(np.argmin(np.abs(row - 150))) == pytest.approx(FACE_SIDE / 2, abs=3)


def test_a_large_frame_is_made_smaller() -> None:
    frames = copy_of(frames_of(range(2)), 1)
    planes = tuple(plane.repeat_interleave(20, 1).repeat_interleave(20, 2) for plane in frames.planes)
    display = display_of(20 * WIDTH, 20 * HEIGHT, Fraction(1), None)
    large = Frames(planes, RGB24, display.to_tensor(), display.size)  # type: ignore[arg-type]
    picture = whole(large)
    assert (picture.width, picture.height) == (FRAME_SIDE, FRAME_SIDE * HEIGHT // WIDTH)
    assert pixels(picture.data).shape == (picture.height, picture.width, 3)
    assert pixels(picture.data)[-1].max() > 90  # no letterbox below
