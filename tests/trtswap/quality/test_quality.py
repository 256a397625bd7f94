"""What is measured of real faces: each figure on canvases of which the answer is known."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from trtswap.faces.pose import Pose
from trtswap.packs import find_pack
from trtswap.quality import cases as rows
from trtswap.quality import measures
from trtswap.quality.clip import both, follow

T, S = 6, 160


@pytest.fixture(scope="module")
def before() -> Any:
    """A still face-like texture, float32 [T, S, S, 3]."""
    noise = np.random.default_rng(0).uniform(60, 200, (S, S, 3)).astype(np.float32)
    return np.repeat(cv2.GaussianBlur(noise, (0, 0), 2)[None], T, 0)


def swapped(before: Any, change: float = 20.0) -> Any:
    after = before.copy()
    after[:, 40:120, 40:120] += change
    return after


def test_the_mask_is_what_changed(before: Any) -> None:
    mask = measures.mask_of(before, swapped(before))
    assert mask[:, 40:120, 40:120].all()
    assert mask.sum() == T * 80 * 80
    speck = before.copy()
    speck[:, 5, 5] += 50
    assert not measures.mask_of(before, speck).any()


def test_flicker_is_what_comes_and_goes(before: Any) -> None:
    mask = measures.mask_of(before, swapped(before))
    assert measures.flicker(swapped(before), mask) == 0
    blinking = swapped(before)
    blinking[::2] += 6
    assert measures.flicker(blinking, mask) == pytest.approx(6, abs=1e-3)
    drifting = swapped(before) + np.arange(T, dtype=np.float32)[:, None, None, None]
    assert measures.flicker(drifting, mask) == pytest.approx(0, abs=1e-3)


def test_sharpness_falls_with_blur(before: Any) -> None:
    mask = np.ones((T, S, S), bool)
    soft = np.stack([cv2.GaussianBlur(one, (0, 0), 3) for one in before])
    ramp = np.repeat(np.tile(np.arange(S, dtype=np.float32), (S, 1))[None, ..., None], 3, 3)
    assert measures.sharpness(soft, mask) < 0.7 * measures.sharpness(before, mask)
    inner = np.zeros((1, S, S), bool)
    inner[:, 10:-10, 10:-10] = True
    assert measures.sharpness(ramp, inner) == pytest.approx(1, abs=1e-4)


def test_a_seam_and_a_jump_of_tone_are_seen_where_they_are(before: Any) -> None:
    hard, after = swapped(before), before.copy()
    weight = cv2.GaussianBlur(np.pad(np.ones((60, 60), np.float32), 50), (0, 0), 12)[..., None]
    after += 20 * weight
    mask = measures.mask_of(before, hard)
    assert measures.seam(before, before, mask) == 0
    assert measures.seam(before, hard, mask) > 3 * measures.seam(before, after, mask)
    assert measures.tone_jump(before, hard, mask) == pytest.approx(20 * 3**0.5, rel=0.2)
    assert measures.tone_jump(before, before, mask) == 0


def test_correlation_of_courses() -> None:
    course = [0.1, 0.4, 0.2, 0.9]
    assert measures.correlation(course, [2 * v + 1 for v in course]) == pytest.approx(1)
    assert measures.correlation(course, [-v for v in course]) == pytest.approx(-1)
    assert measures.correlation(course, [0.5] * 4) == 0


def test_shake_is_the_change_of_motion() -> None:
    """A texture with details that is pushed about by known pixels."""
    big = cv2.GaussianBlur(np.random.default_rng(1).uniform(0, 255, (700, 700)).astype(np.float32), (0, 0), 1)
    places = [0, 1, 2, 3, 3, 3, 5]
    canvases = np.stack([big[50 : 50 + 512, 50 + x : 50 + x + 512] for x in places])
    np.testing.assert_allclose(measures.shake(canvases), [0, 0, 1, 0, 2], atol=0.1)


def test_a_clip_against_itself_differs_in_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The whole way, with the pack's own clip; who it shows needs packages that are not here."""
    from trtswap import RuntimeOptions
    from trtswap.backends.runtime import Runtime

    samples = find_pack("avatar") / "samples"
    with Runtime("avatar", backend="onnxruntime", device="cpu", options=RuntimeOptions(restore=False)) as runtime:
        clip, truth = (follow(samples / name, runtime) for name in ("clip.mp4", "truth.mp4"))
    a, b = both(clip, truth)
    assert a.times == b.times
    assert len(a.times) > 150
    same = {row["name"]: row["median"] for row in rows.expression_cases(a, a)}
    assert same["yaw apart"] == same["gaze apart"] == 0
    assert same["mouth opens alike"] == pytest.approx(1)
    assert rows.picture_cases(a, a) == []
    found = {row["name"]: row["median"] for row in (*rows.expression_cases(a, b), *rows.picture_cases(a, b))}
    assert found["yaw apart"] < 6
    assert 0.5 < found["flicker"] < 2
    assert 0.5 < found["sharpness"] < 2
    page = rows.sheet(a, b, samples / "source_1.png")
    assert page.size == (7 * 256, 512)


def test_pose_of_the_result_is_the_same_type() -> None:
    assert {"yaw", "pitch", "roll", "mouth", "eyes", "gaze"} == set(Pose.__dataclass_fields__)
