"""Figures against closed forms, and what misses a tolerance."""

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from trtswap.errors import PrecisionError
from trtswap.export.closeness import EXACT_DB, TOLERANCES, Figures, Tolerance, cosine, figures_of, psnr
from trtswap.model.pack import StageSpec

from ..engines.packs import write_pack

RNG = np.random.default_rng(0)


def stage(name: str) -> StageSpec:
    return StageSpec(name, Path(), "", threshold=0.5)


def test_psnr_is_opencvs() -> None:
    a, b = (RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8) for _ in range(2))
    assert psnr(a, b, peak=255) == pytest.approx(cv2.PSNR(a, b), abs=1e-9)
    assert psnr(a, a, peak=255) == EXACT_DB
    assert psnr(a, a * np.float32(np.nan), peak=255) == -math.inf


def test_cosine() -> None:
    a, b = (v / np.linalg.norm(v) for v in RNG.normal(size=(2, 64)))
    assert cosine(a, b) == pytest.approx(a @ b)
    assert (cosine(a, a), cosine(a * 0, a * 0)) == (1, 1)
    assert cosine(a, 1.1 * a) == pytest.approx(0.995)  # too long
    assert cosine(a, a * np.nan) == -1


def test_the_worst_row_counts() -> None:
    a = RNG.random((1, 3, 8, 8)).astype(np.float32)
    pairs = [({"swapped": a}, {"swapped": a + np.float32(d)}) for d in (0.01, 0.1, 0.001)]
    values = figures_of(stage("swap"), pairs).values
    assert values["picture_db"] == pytest.approx(20, abs=1e-3)
    assert values["max_error"] == pytest.approx(0.1, rel=1e-4)
    assert values["mean_error"] == pytest.approx(0.1, rel=1e-4)
    batch = [np.concatenate(side) for side in zip(*((w["swapped"], f["swapped"]) for w, f in pairs), strict=True)]
    assert figures_of(stage("swap"), [({"swapped": batch[0]}, {"swapped": batch[1]})]).limited() == {
        "picture_db": values["picture_db"]
    }
    labels = np.zeros((1, 10, 10), np.uint8)
    other = labels.copy()
    other[0, 0, :3] = 1
    assert figures_of(stage("parse"), [({"labels": labels}, {"labels": other})]).values == {"label_agreement": 0.97}


def faces(*positions: tuple[float, float], scores: tuple[float, ...]) -> dict[str, np.ndarray]:
    shape = np.array([[-10, -10], [10, -10], [0, 0], [-8, 10], [8, 10]], np.float32)
    return {"landmarks": np.stack([shape + p for p in positions])[None], "scores": np.float32([scores])}


@pytest.mark.parametrize(
    ("found", "lost", "distance"),
    [
        (faces((50, 50.3), (90, 20), scores=(0.9, 0.7)), 0, 0.3),
        (faces((90, 20), (50, 50), scores=(0.7, 0.9)), 0, 0),  # another order
        (faces((50, 50), (90, 20), scores=(0.9, 0.3)), 1, 0),
        (faces((50, 50), (90, 20), (20, 90), scores=(0.9, 0.7, 0.8)), 1, 0),
        (faces((50, 50), (90, 20), (20, 90), scores=(0.9, 0.7, 0.505)), 0, 0),  # so near the threshold that it may go
    ],
)
def test_faces_are_matched(found: dict[str, np.ndarray], lost: int, distance: float) -> None:
    figures = figures_of(stage("detect"), [(faces((50, 50), (90, 20), scores=(0.9, 0.7)), found)])
    assert figures.lost == lost
    assert figures.values["landmark_pixels"] == pytest.approx(distance, abs=1e-5)
    assert bool(list(figures.failures(TOLERANCES["fp16"]))) == bool(lost)


def test_a_score_may_change_a_little() -> None:
    figures = figures_of(stage("detect"), [(faces((50, 50), scores=(0.9,)), faces((50, 50), scores=(0.85,)))])
    assert list(figures.failures(TOLERANCES["int8"])) == []
    assert list(figures.failures(TOLERANCES["fp16"])) == ["score is 0.05, expected at most 0.03"]


def test_failures_say_what_and_how_much() -> None:
    figures = Figures({"picture_db": 44.0, "landmark_pixels": 0.7, "max_error": 9.0, "frame_db": float("nan")})
    assert list(figures.failures(TOLERANCES["fp16"])) == [
        "picture_db is 44, expected at least 45",
        "landmark_pixels is 0.7, expected at most 0.5",
        "frame_db is nan, expected at least 45",
    ]


def test_a_pack_may_ask_for_more_or_less(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "hand")
    assert Tolerance.of(pack, "fp16") == TOLERANCES["fp16"]
    stricter = replace(pack, tolerance={"fp16": {"frame_db": 60.0}})
    assert Tolerance.of(stricter, "fp16") == replace(TOLERANCES["fp16"], frame_db=60.0)
    with pytest.raises(PrecisionError, match="has frames; known: picture_db"):
        Tolerance.of(replace(pack, tolerance={"fp16": {"frames": 1.0}}), "fp16")
