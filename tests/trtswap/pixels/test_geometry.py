"""Geometry against OpenCV, closed forms and a general solver."""

import cv2
import numpy as np
import pytest
import torch

from trtswap.pixels.geometry import (
    TEMPLATES,
    align,
    compose,
    identity_transform,
    invert,
    scale_of,
    similarity,
    transform_points,
)


def random_landmarks(n: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    base = TEMPLATES["ffhq_512"].scaled(512)
    angle = torch.rand(n, generator=g) * 6.28
    scale = 0.1 + torch.rand(n, generator=g) * 2
    rotation = (
        torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).view(n, 2, 2) * scale[:, None, None]
    )
    points = base @ rotation.mT + torch.rand(n, 1, 2, generator=g) * 1000
    return points + torch.randn(n, 5, 2, generator=g) * 3


def umeyama(src: np.ndarray, dst: np.ndarray) -> np.ndarray:
    """Umeyama (1991) as published, with an SVD, in float64."""
    sm, dm = src.mean(0), dst.mean(0)
    s, d = src - sm, dst - dm
    u, sigma, vt = np.linalg.svd(d.T @ s / len(src))
    flip = np.diag([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ flip @ vt
    factor = (sigma * np.diag(flip)).sum() / s.var(0).sum()
    return np.concatenate([factor * rotation, (dm - factor * rotation @ sm)[:, None]], 1)


def test_similarity_is_umeyamas() -> None:
    src = random_landmarks(50)
    dst = TEMPLATES["arcface_112_v1"].scaled(224)
    ours = similarity(src, dst)
    for points, transform in zip(src, ours, strict=True):
        np.testing.assert_allclose(
            transform, umeyama(points.double().numpy(), dst.double().numpy()), atol=2e-4, rtol=1e-4
        )


def test_similarity_is_the_least_squares_fit() -> None:
    src, dst = random_landmarks(8), TEMPLATES["ffhq_512"].scaled(512)
    fit = similarity(src, dst)
    error = (transform_points(fit, src) - dst).square().sum((1, 2))
    for delta in torch.eye(4) * 1e-2:
        a, b, x, y = delta
        moved = fit + torch.tensor([[a / 100, -b / 100, x], [b / 100, a / 100, y]])
        assert ((transform_points(moved, src) - dst).square().sum((1, 2)) > error).all()


def test_similarity_recovers_a_known_transform_and_has_a_gradient() -> None:
    dst = TEMPLATES["arcface_112_v2"].scaled(112)
    true = torch.tensor([[[0.5, -0.2, 7.0], [0.2, 0.5, -3.0]]])
    src = transform_points(invert(true), dst[None]).requires_grad_()
    fit = similarity(src, dst)
    torch.testing.assert_close(fit, true, atol=1e-4, rtol=1e-4)
    fit.sum().backward()
    assert src.grad is not None
    assert src.grad.isfinite().all()


def test_align_of_no_faces_is_empty() -> None:
    assert align(torch.zeros(0, 5, 2), ("ffhq_512",), 512).shape == (0, 2, 3)


def test_five_templates_take_the_best_pose() -> None:
    names = tuple(n for n in TEMPLATES if n.startswith("arcface_112_v1"))
    assert len(names) == 5
    for name in names:
        landmarks = TEMPLATES[name].scaled(300)[None] + 40
        got = align(landmarks, names, 224)
        torch.testing.assert_close(got, similarity(landmarks, TEMPLATES[name].scaled(224)))


def test_the_best_pose_has_the_smallest_sum_of_distances() -> None:
    """Not of their squares, which choose another pose for some of these faces."""
    names = tuple(n for n in TEMPLATES if n.startswith("arcface_112_v1"))
    points = np.stack([TEMPLATES[name].scaled(224).double().numpy() for name in names])
    noise = torch.Generator().manual_seed(0)
    landmarks = torch.stack([TEMPLATES[names[i % 5]].scaled(300) for i in range(400)]).double()
    landmarks = landmarks + 12 * torch.randn(landmarks.shape, generator=noise, dtype=torch.float64)
    fits = np.stack([similarity(landmarks, torch.from_numpy(p)).numpy() for p in points])
    moved = np.einsum("tnij,npj->tnpi", fits[..., :2], landmarks.numpy()) + fits[..., None, :, 2]
    apart = moved - points[:, None]
    best = np.sqrt((apart**2).sum(-1)).sum(-1).argmin(0)
    assert (best != (apart**2).sum((-1, -2)).argmin(0)).any()
    got = align(landmarks, names, 224).numpy()
    np.testing.assert_allclose(got, fits[best, np.arange(400)])


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_templates_have_the_persons_right_eye_on_the_left(name: str) -> None:
    points = TEMPLATES[name].scaled(1)
    right_eye, left_eye, nose, right_mouth, left_mouth = points
    assert right_eye[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert right_eye[1] < nose[1] < right_mouth[1]
    assert (points > 0).all()
    assert (points < 1).all()


def test_compose_and_invert_agree_with_matrices() -> None:
    a, b = (
        similarity(random_landmarks(4, 1), random_landmarks(4, 2)),
        similarity(random_landmarks(4, 3), random_landmarks(4, 4)),
    )
    row = torch.tensor([0.0, 0.0, 1.0]).expand(4, 1, 3)
    product = torch.cat([a, row], 1) @ torch.cat([b, row], 1)
    torch.testing.assert_close(compose(a, b), product[:, :2], atol=1e-2, rtol=1e-4)
    torch.testing.assert_close(compose(a, invert(a)), identity_transform().expand(4, 2, 3), atol=2e-3, rtol=1e-4)
    torch.testing.assert_close(scale_of(a), torch.linalg.det(a[:, :, :2].double()).sqrt().float(), atol=1e-5, rtol=1e-5)


def test_convention_transform_points_is_opencvs() -> None:
    transform = torch.tensor([[[0.8, -0.3, 11.0], [0.3, 0.8, -4.0]]])
    points = random_landmarks(1)
    expected = cv2.transform(points.numpy(), transform[0].numpy())
    np.testing.assert_allclose(transform_points(transform, points), expected, atol=1e-3)
