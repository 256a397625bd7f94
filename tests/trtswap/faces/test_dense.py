"""Faces measured at many points: landmarks from them, what does not fit, steadiness, and what the points say."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from trtswap import RuntimeOptions, Swapper
from trtswap.faces import Faces
from trtswap.faces.dense import PARTS, DenseLandmarks, five_of, in_frame
from trtswap.faces.pose import pose_of
from trtswap.faces.track import Tracker
from trtswap.model.pack import Pack, shared_stages
from trtswap.packs import find_pack, sample_sources
from trtswap.pictures.arrays import read_image
from trtswap.pixels.geometry import align, transform_points


def canonical() -> torch.Tensor:
    """Points of a flat head that looks into the camera, [478, 3]: the parts where they belong, the rest at 0."""
    points = torch.zeros(478, 3)
    for part, place in zip(PARTS, ((-30, -20), (30, -20), (0, 5), (-20, 35), (20, 35)), strict=True):
        points[list(part), :2] = torch.tensor(place, dtype=torch.float32)
    points[10], points[152] = torch.tensor([0.0, -80, 0]), torch.tensor([0.0, 70, 0])
    points[33, :2], points[133, :2] = torch.tensor([-45.0, -20]), torch.tensor([-15.0, -20])
    points[263, :2], points[362, :2] = torch.tensor([45.0, -20]), torch.tensor([15.0, -20])
    for upper, lower, x in ((159, 145, -30.0), (386, 374, 30.0)):
        points[upper, :2], points[lower, :2] = torch.tensor([x, -24]), torch.tensor([x, -15])
    points[468, :2], points[473, :2] = torch.tensor([-27.0, -20]), torch.tensor([33.0, -20])
    points[13, :2], points[14, :2] = torch.tensor([0.0, 30]), torch.tensor([0.0, 39])
    return points


def turned(points: torch.Tensor, yaw: float = 0, pitch: float = 0, roll: float = 0) -> torch.Tensor:
    """Turned by degrees: to the right of the picture, up, clockwise."""
    y, p, r = (math.radians(v) for v in (-yaw, pitch, roll))
    about_y = torch.tensor([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    about_x = torch.tensor([[1, 0, 0], [0, math.cos(p), math.sin(p)], [0, -math.sin(p), math.cos(p)]])
    about_z = torch.tensor([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    return points @ (about_z @ about_y @ about_x).float().T


@pytest.mark.parametrize(
    "angles", [(0, 0, 0), (30, 0, 0), (-50, 0, 0), (0, 20, 0), (0, -35, 0), (0, 0, 40), (0, 0, -90)]
)
def test_pose_of_a_turned_head(angles: tuple[int, int, int]) -> None:
    pose = pose_of(turned(canonical(), *angles)[None])
    assert [float(v) for v in (pose.yaw, pose.pitch, pose.roll)] == pytest.approx(angles, abs=0.01)


def test_mouth_eyes_and_gaze_do_not_depend_on_size_or_tilt() -> None:
    pose = pose_of(torch.stack([canonical(), 3 * turned(canonical(), roll=35) + 100]))
    for values in (pose.mouth, pose.eyes, pose.gaze):
        assert torch.allclose(values[0], values[1], atol=1e-5)
    assert float(pose.mouth[0]) == pytest.approx(9 / 90)
    assert pose.eyes[0].tolist() == pytest.approx([9 / 30, 9 / 30])
    assert pose.gaze[0].tolist() == [pytest.approx([0.1, 0.0], abs=1e-6)] * 2


def test_landmarks_follow_the_face_as_it_is_turned_and_grows() -> None:
    points = canonical()[None]
    five = five_of(points)
    moved = 2.5 * turned(points, roll=30) + torch.tensor([40.0, -7, 0])
    wanted = 2.5 * turned(torch.cat([five, torch.zeros(1, 5, 1)], -1), roll=30)[..., :2] + torch.tensor([40.0, -7])
    assert torch.allclose(five_of(moved), wanted, atol=1e-3)
    assert float((five[0] - torch.tensor([[-30.0, -20], [30, -20], [0, 5], [-20, 35], [20, 35]])).abs().max()) < 2.5


def test_depth_grows_with_the_face() -> None:
    landmarks = torch.tensor([[[100.0, 100], [180, 100], [140, 150], [110, 190], [170, 190]]])
    to_crop = align(landmarks, ("mesh_192",), 192)
    points = torch.rand(1, 478, 3) * 192
    found = in_frame(points, to_crop)
    assert torch.allclose(transform_points(to_crop, found[..., :2]), points[..., :2], atol=1e-3)
    sides = found[0, 1:] - found[0, :1]
    assert torch.allclose(sides[:, :2].norm(dim=1) / (points[0, 1:, :2] - points[0, :1, :2]).norm(dim=1),
                          (sides[:, 2] / (points[0, 1:, 2] - points[0, 0, 2])), rtol=1e-3)  # fmt: skip


def faces(count: int = 2) -> Faces:
    landmarks = torch.tensor([[30.0, 40], [70, 40], [50, 60], [35, 80], [65, 80]]).expand(count, 5, 2)
    box = torch.tensor([10.0, 10, 90, 100]).expand(count, 4)
    index = torch.zeros(count, dtype=torch.int64)
    return Faces(index, box, landmarks, torch.ones(count), index - 1)


def test_faces_that_do_not_fit_keep_their_five_points() -> None:
    points = torch.full((3, 478, 3), 90.0)
    points[2, 5] = math.nan
    spec = shared_stages()["landmarks"]
    rows = iter([{"points": points[:2], "scores": torch.tensor([0.4, 1.0])},
                 {"points": points[2:], "scores": torch.tensor([1.0])}])  # fmt: skip
    stage: Any = SimpleNamespace(spec=spec, face_batch=2, rows=lambda faces: next(rows))
    frames: Any = SimpleNamespace(sample=lambda index, transforms, size: torch.zeros(len(index), 3, size, size))
    given = faces(3)
    found = DenseLandmarks(stage)(frames, given)
    assert found.fit.tolist() == [0, 1, 0]
    assert torch.equal(found.landmarks[[0, 2]], given.landmarks[[0, 2]])
    assert not torch.equal(found.landmarks[1], given.landmarks[1])
    assert torch.equal(found.points[[0, 2]], torch.zeros(2, 478, 3))


def test_faces_without_points_say_so() -> None:
    assert faces().points.shape == (2, 478, 3)
    assert faces().fit.tolist() == [0, 0]
    both = Faces.cat([Faces.none(), faces(), faces(1)])
    assert len(both) == len(both.points) == len(both.fit) == 3
    assert both[torch.tensor([2])].points.shape == (1, 478, 3)


def track(offsets: torch.Tensor, *, fit: float | list[float] = 1.0, half_window: int = 4) -> Faces:
    """A face that is moved by offsets [T, 2], tracked."""
    tracker = Tracker(half_window=half_window, max_gap=2)
    fits = fit if isinstance(fit, list) else [fit] * len(offsets)
    out = []
    for offset, one in zip(offsets, fits, strict=True):
        face = faces(1)
        points = torch.full((1, 478, 3), 50.0) + torch.cat([offset, torch.zeros(1)])
        tracker.push(
            Faces(face.frame_index, face.box + offset.repeat(2), face.landmarks + offset, face.score, face.track,
                  points if one else torch.zeros(1, 478, 3), torch.tensor([one]))
        )  # fmt: skip
        out += tracker.ready()
    return Faces.cat([*out, *tracker.ready(ended=True)])


def test_noise_goes_and_sudden_motion_stays() -> None:
    """A head that jerks as no parabola does: a detector's five points lag, measured ones do not."""
    generator = torch.Generator().manual_seed(0)
    still = 0.02 * torch.randn(60, 2, generator=generator)
    jerk = still.clone()
    jerk[30:] += torch.tensor([6.0, 0])
    base = faces(1).landmarks[0, 0]
    dense, five = (track(still, fit=fit).landmarks[:, 0] - base for fit in (1.0, 0.0))
    assert float(dense.std()) < 0.6 * float(still.std())
    assert float(five.std()) < 0.6 * float(still.std())
    late = {
        fit: float((track(jerk, fit=fit).landmarks[29:31, 0] - base - jerk[29:31]).abs().max()) for fit in (1.0, 0.0)
    }
    assert late[1.0] < 0.05
    assert late[0.0] > 1


def test_points_are_smoothed_among_measured_frames_alone() -> None:
    """Where a face turns to a profile, its points are zeros: they must not be mixed into those of its neighbours."""
    offsets = torch.stack([torch.arange(20.0), torch.zeros(20)], 1) * 0.5
    fit = [1.0] * 8 + [0.0] * 4 + [1.0] * 8
    found = track(offsets, fit=fit)
    assert found.fit.tolist() == fit
    measured = found.fit > 0
    assert torch.allclose(found.points[measured, 0, :2], 50 + offsets[measured], atol=1e-3)
    assert not found.points[~measured].any()


def test_a_frame_that_was_missed_gets_points_from_its_neighbours() -> None:
    tracker = Tracker(half_window=4, max_gap=2)
    for time in range(12):
        face = faces(1)
        measured = Faces(face.frame_index, face.box, face.landmarks, face.score, face.track,
                         torch.full((1, 478, 3), float(time)), torch.ones(1))  # fmt: skip
        tracker.push(Faces.none() if time == 6 else measured)
    found = list(tracker.ready(ended=True))
    assert float(found[6].fit) == 1
    assert torch.allclose(found[6].points, torch.full((1, 478, 3), 6.0), atol=1e-3)


def test_a_pack_can_keep_its_detectors_landmarks(data: Path, identity_pack: Path) -> None:
    picture = read_image(data / "astronaut.png")[None]
    found = {}
    for dense in (True, False):
        options = RuntimeOptions(dense=dense, restore=False)
        with Swapper(identity_pack, backend="onnxruntime", device="cpu", runtime=options) as swapper:
            assert ("landmarks" in swapper.engines) == dense
            found[dense] = swapper.detect(picture)
    assert torch.equal(found[True].box, found[False].box)
    assert float(found[True].fit) > 0.99
    assert float(found[False].fit) == 0
    eyes = float((found[True].landmarks[0, 1] - found[True].landmarks[0, 0]).norm())
    apart = (found[True].landmarks - found[False].landmarks).norm(dim=-1).mean() / eyes
    assert 0.005 < float(apart) < 0.1
    pose = pose_of(found[True].points)
    assert abs(float(pose.yaw)) < 10
    assert float(pose.mouth) > 0.05  # she smiles
    assert pose.eyes.min() > 0.25


def test_what_is_measured_does_not_depend_on_the_batch() -> None:
    pictures = torch.stack([read_image(path) for path in sample_sources("avatar")])
    with Swapper("avatar", backend="onnxruntime", device="cpu") as swapper:
        together = swapper.detect(pictures)
        for i in range(len(pictures)):
            alone = swapper.detect(pictures[i : i + 1])
            assert torch.equal(alone.points, together.of_frame(i).points)


def test_the_graph_is_every_packs_unless_it_says_five(tmp_path: Path) -> None:
    pack = Pack.load(find_pack("avatar"))
    assert "landmarks" not in pack.stages
    assert list(pack.graphs) == ["detect", "landmarks", "identify", "swap", "parse", "occlude", "restore"]
    assert pack.graphs["landmarks"] == shared_stages()["landmarks"]


def test_golden_pictures_are_whole() -> None:
    assert all(Image.open(path).size == (512, 512) for path in sample_sources("avatar"))
