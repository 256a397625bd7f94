"""Which frames of a clip are taken."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from trtswap.backends.runtime import Runtime
from trtswap.calibration.clip import choose_stills, clip_hash, farthest_first
from trtswap.errors import CalibrationError
from trtswap.faces.detect import Detector
from trtswap.model.pack import sha256_of
from trtswap.options import RuntimeOptions, SwapOptions
from trtswap.session.session import detector

from ..trtswap.cli.conftest import small_copy


@pytest.fixture(scope="module")
def find(identity_pack: Path) -> Iterator[Detector]:
    settled = RuntimeOptions(threads=1)
    with Runtime(identity_pack, backend="onnxruntime", device="cpu", options=settled) as opened:
        yield detector(opened, SwapOptions())


def test_each_next_point_is_the_farthest_from_all_before() -> None:
    points = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    chosen = farthest_first(points, 10)
    assert chosen[0] == 0
    assert len(set(chosen)) == 10
    for i in range(1, 10):
        distances = torch.cdist(points, points[chosen[:i]]).amin(1)
        assert distances[chosen[i]] == distances.max()
    assert sorted(farthest_first(points[:3], 10)) == [0, 1, 2]
    assert farthest_first(torch.zeros(4, 2), 4) == [0, 1, 2, 3]


def test_frames_of_a_video_are_spread_and_others_than_those_left_out(find: Detector, data: Path) -> None:
    seen: list[tuple[int, int]] = []
    clip = data / "presenter.mp4"
    stills = choose_stills(clip, find, 2, looked=lambda done, total: seen.append((done, total)))
    times = [still.time for still in stills]
    assert seen == [(i, 6) for i in range(1, 7)]
    assert times[0] == 0
    assert 0.5 < times[1] <= 5.52
    assert all(len(still.faces) == 1 for still in stills)
    others = choose_stills(clip, find, 2, without=times)
    assert not {still.time for still in others} & set(times)
    assert clip_hash(clip) == sha256_of(clip)


def test_a_short_video_gives_the_frames_that_it_has(find: Detector, data: Path, tmp_path: Path) -> None:
    clip = small_copy(data / "presenter.mp4", tmp_path / "short.mp4", 3, (640, 360))
    stills = choose_stills(clip, find, 8)
    assert sorted(still.time for still in stills) == [0, 0.04, 0.08]


def test_frames_as_arrays(find: Detector, data: Path) -> None:
    with av.open(str(data / "presenter.mp4")) as container:
        frame = next(container.decode(video=0)).reformat(640, 360).to_ndarray(format="rgb24")
    frames = np.stack([np.zeros_like(frame), frame, frame[:, ::-1]])
    stills = choose_stills(frames, find, 2)
    assert [still.time for still in stills] == [1, 2]
    fresh = stills[0].fresh()
    fresh.planes[0].zero_()
    assert np.array_equal(stills[0].frames.rgb(0).numpy(), frame)
    assert clip_hash(frames) == clip_hash(torch.from_numpy(frames)) != clip_hash(frames[:2])
    with pytest.raises(CalibrationError, match="no face was found in 3 frames of the frames given"):
        choose_stills(frames[:1], find, 1)
