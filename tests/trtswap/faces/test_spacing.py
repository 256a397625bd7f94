"""Searching some of the frames: which are searched, and how well the others are tracked."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from trtswap import Faces, Frames, SwapOptions, Swapper
from trtswap.faces.cuts import Cut
from trtswap.faces.spacing import SpacedDetector
from trtswap.pixels.color import RGB24
from trtswap.pixels.geometry import identity_transform


def face(x: float) -> Faces:
    """One face of 100 px whose left side is at x."""
    points = torch.tensor([[30.0, 40], [70, 40], [50, 60], [35, 80], [65, 80]]) + torch.tensor([x, 0.0])
    box = torch.tensor([[x, 0, x + 100, 100]])
    return Faces(torch.zeros(1, dtype=torch.int64), box, points[None], torch.ones(1), torch.full((1,), -1))


class Scene:
    """Frames that hold nothing but their number, and a detector that looks up the faces of a number.

    Thumbnails show one thing, and another one from the frames in ``cuts`` on.
    """

    def __init__(self, faces: dict[int, Faces], cuts: tuple[int, ...] = ()):
        self.faces = faces
        self.cuts = cuts
        self.searched: list[int] = []

    def batches(self, sizes: list[int]) -> Iterator[Frames]:
        start = 0
        for size in sizes:
            plane = torch.arange(start, start + size, dtype=torch.uint8)[:, None, None].expand(size, 4, 4)
            numbers = tuple(range(start, start + size))
            yield Frames((plane, plane, plane), RGB24, identity_transform(), (4, 4), numbers, (1,) * size)
            start += size

    def detect(self, frames: Frames) -> tuple[Faces, torch.Tensor]:
        numbers = frames.planes[0][:, 0, 0].tolist()
        assert list(frames.pts) == numbers
        self.searched += numbers
        shots = [sum(n >= cut for cut in self.cuts) for n in numbers]
        blocks = [torch.rand(6, 10, generator=torch.Generator().manual_seed(shot)) for shot in shots]
        faces = Faces.cat([self.faces.get(n, Faces.none()).at(place) for place, n in enumerate(numbers)])
        return faces, torch.stack(blocks).repeat_interleave(4, 1).repeat_interleave(4, 2)

    def decided(self, sizes: list[int], every: int) -> tuple[list[Faces | None], list[Cut]]:
        """What was found in each frame, and the cuts."""
        detector, found, cuts, seen = SpacedDetector(self.detect, every), [], [], []
        for batch in (
            b for frames in [*self.batches(sizes), None] for b in (detector.push(frames) if frames else detector.end())
        ):
            found += batch.found
            cuts += batch.cuts
            seen += batch.frames.pts
        assert seen == list(range(sum(sizes)))
        return found, cuts

    def run(self, sizes: list[int], every: int) -> list[Faces | None]:
        return self.decided(sizes, every)[0]


@pytest.mark.parametrize("sizes", [[20], [1] * 20, [7, 7, 6], [3, 17], [4, 4, 4, 4, 4]])
def test_quiet_frames_between_are_not_searched_however_they_are_batched(sizes: list[int]) -> None:
    scene = Scene({n: face(n) for n in range(20)})
    found = scene.run(sizes, every=4)
    assert sorted(scene.searched) == [0, 4, 8, 12, 16, 17, 18, 19]
    assert [n for n, faces in enumerate(found) if faces is not None] == sorted(scene.searched)
    assert all(float(faces.box[0, 0]) == n for n, faces in enumerate(found) if faces is not None)


@pytest.mark.parametrize("sizes", [[24], [1] * 24, [3, 5, 16]])
def test_frames_around_a_change_are_searched(sizes: list[int]) -> None:
    """A face is there in frames 6 to 9; one comes before 16 and has jumped by half of its size in 20."""
    scene = Scene({n: face(0) for n in (6, 7, 8, 9)} | {16: face(10), 20: face(60)})
    found = scene.run(sizes, every=4)
    assert sorted(scene.searched) == [0, *range(4, 24)]
    assert [n for n, faces in enumerate(found) if faces is not None and len(faces)] == sorted(scene.faces)


@pytest.mark.parametrize("sizes", [[24], [1] * 24, [3, 5, 16]])
@pytest.mark.parametrize("every", [1, 4])
def test_a_cut_between_two_searched_frames_is_located(every: int, sizes: list[int]) -> None:
    """Nobody moves, but the picture changes in 10; the frames between 8 and 12 are searched for it."""
    scene = Scene({n: face(0) for n in range(24)}, cuts=(10,))
    _, cuts = scene.decided(sizes, every)
    assert cuts == [Cut.CERTAIN if n == 10 else Cut.NO for n in range(24)]
    searched = {0, 4, 8, 9, 10, 11, 12, 16, 20, 21, 22, 23}
    assert sorted(scene.searched) == (sorted(searched) if every == 4 else list(range(24)))


@pytest.mark.parametrize("every", [1, 4])
def test_a_finder_without_thumbnails_sees_no_cuts(every: int) -> None:
    scene = Scene({n: face(0) for n in range(24)}, cuts=(10,))
    detector = SpacedDetector(lambda frames: (scene.detect(frames)[0], None), every)
    (frames,) = scene.batches([24])
    decided = [*detector.push(frames), *detector.end()]
    assert [cut for batch in decided for cut in batch.cuts] == [Cut.NO] * 24


def test_every_frame_is_searched_at_once_by_default() -> None:
    scene = Scene({n: face(n) for n in range(5)})
    detector = SpacedDetector(scene.detect, 1)
    for frames in scene.batches([2, 3]):
        (batch,) = detector.push(frames)
        assert batch.frames is frames
        assert all(faces is not None for faces in batch.found)
    assert list(detector.end()) == []


@pytest.mark.parametrize(("every", "limit"), [(2, 0.01), (4, 0.02)])
def test_tracked_landmarks_are_near_the_searched_ones(
    every: int, limit: float, identity_pack: Path, data: Path, record_property: Callable[[str, object], None]
) -> None:
    """Over the presenter's first 2 s, against a search of every frame; distances are shares of the face's side."""

    def landmarks(every: int) -> tuple[list[Faces], int]:
        options = SwapOptions(detect_every=every)
        with Swapper(identity_pack, backend="onnxruntime", device="cpu", options=options) as swapper:
            engine = swapper.engines["detect"]
            rows: list[int] = []
            call = type(engine).__call__
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    type(engine),
                    "__call__",
                    lambda self, **t: (rows.append(len(t.get("images", ()))), call(self, **t))[1],
                )
                batches = list(swapper.detect_video(data / "presenter.mp4", end=2))
        return [faces.of_frame(b) for frames, faces in batches for b in range(len(frames))], sum(rows)

    (truth, all_searched), (tracked, searched) = landmarks(1), landmarks(every)
    assert [len(f) for f in tracked] == [len(f) for f in truth] == [1] * 50
    distances = [
        float((a.landmarks - b.landmarks).norm(dim=-1).mean() / (b.box[0, 2:] - b.box[0, :2]).prod().sqrt())
        for a, b in zip(tracked, truth, strict=True)
    ]
    mean = sum(distances) / len(distances)
    record_property(
        f"detect_every {every}", f"mean {mean:.4f}, worst {max(distances):.4f} of the face, {searched} searched"
    )
    assert all_searched == 50
    assert searched < 50 * 0.8
    assert mean < limit
