"""Masks that are made of a face's points, against filled polygons."""

import cv2
import numpy as np
import torch

from trtswap.canvas.outline import masks_of
from trtswap.export.standin import drawn_points
from trtswap.faces.outlines import INNER_LIPS, OVAL

SIZE = 256


def filled(points: torch.Tensor, outline: tuple[int, ...]) -> np.ndarray:
    picture = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(picture, [points[0, list(outline), :2].round().int().numpy()], 1)
    return picture.astype(bool)


def test_the_face_ends_at_its_outline_and_the_mouth_begins() -> None:
    points = drawn_points(1, SIZE, "ffhq_512")
    masks = masks_of(points, SIZE, 0.02)
    face, mouth = masks.face[0, 0].numpy(), masks.mouth[0, 0].numpy()
    oval = filled(points, OVAL)
    wide = cv2.dilate(oval.astype(np.uint8), np.ones((7, 7))).astype(bool)
    assert face[~wide].max() < 1e-3
    assert face[cv2.erode(oval.astype(np.uint8), np.ones((41, 41))).astype(bool)].min() > 0.95
    lips = filled(points, INNER_LIPS)
    assert mouth[cv2.erode(lips.astype(np.uint8), np.ones((3, 3))).astype(bool)].min(initial=1) > 0.8
    assert mouth[~cv2.dilate(lips.astype(np.uint8), np.ones((25, 25))).astype(bool)].max() < 1e-3


def test_without_points_there_is_no_face() -> None:
    assert float(masks_of(torch.zeros(2, 478, 3), SIZE, 0.02).face.max()) == 0


def test_rows_do_not_mix_and_sharp_edges_are_allowed() -> None:
    points = drawn_points(1, SIZE, "ffhq_512")
    both = masks_of(torch.cat([points + 9, points]), SIZE, 0)
    alone = masks_of(points, SIZE, 0)
    assert torch.equal(both.face[1:], alone.face)
    assert torch.equal(both.mouth[1:], alone.mouth)
