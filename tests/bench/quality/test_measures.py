"""Each measure against a case that can be worked out by hand."""

import pytest
import torch

from bench.quality import measures, video


def test_psnr() -> None:
    a, area = torch.zeros(3, 4, 4), torch.ones(4, 4, dtype=torch.bool)
    assert measures.psnr(a, a + 0.1, area) == pytest.approx(20.0, abs=1e-4)
    assert measures.psnr(a, a, area) == 100.0
    area[:, 2:] = False
    b = a.clone()
    b[:, :, 2:] = 1
    assert measures.psnr(a, b, area) == 100.0


def test_half_the_contrast_is_half_as_sharp() -> None:
    truth = (torch.arange(8) % 2).float().expand(3, 8, 8)
    area = torch.ones(8, 8, dtype=torch.bool)
    assert measures.sharpness(0.5 * truth + 0.2, truth, area) == pytest.approx(0.5)
    assert measures.sharpness(truth, truth, area) == 1.0


def test_landmark_error() -> None:
    wanted = torch.tensor([[0.0, 0.0], [10.0, 0.0], [5.0, 5.0], [2.0, 8.0], [8.0, 8.0]])
    assert measures.landmark_error(wanted + torch.tensor([0.3, 0.4]), wanted) == pytest.approx(0.05)


def test_mean_overlap() -> None:
    truth = torch.tensor([[[0, 0, 1, 1]]], dtype=torch.uint8)
    found = torch.tensor([[[0, 1, 1, 1]]], dtype=torch.uint8)
    mean, per_class = measures.mean_overlap(found, truth, 19)
    assert per_class == pytest.approx({0: 0.5, 1: 2 / 3})
    assert mean == pytest.approx(7 / 12)


def test_average_precision() -> None:
    scores = torch.tensor([0.9, 0.8, 0.7])
    assert measures.average_precision(scores, torch.tensor([True, True, True]), 3) == pytest.approx(1.0)
    assert measures.average_precision(scores, torch.tensor([True, False, True]), 2) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert measures.average_precision(scores, torch.tensor([False, False, False]), 3) == 0.0


def test_a_seam_is_seen() -> None:
    labels = torch.zeros(32, 32, dtype=torch.uint8)
    labels[8:24, 8:24] = 1
    truth = torch.full((3, 32, 32), 0.5)
    seam = truth.clone()
    seam[:, 8:24, 8:24] = 0.6
    assert measures.edge_visibility(truth, truth, labels) == 0
    assert measures.edge_visibility(seam, truth, labels) > 1


def test_flicker_is_what_the_truth_does_not_do() -> None:
    area = torch.ones(4, 4, dtype=torch.bool)
    truth = torch.stack([torch.zeros(3, 4, 4), torch.full((3, 4, 4), 0.2)])
    assert measures.flicker(truth + 0.1, truth, area) == pytest.approx(0, abs=1e-4)
    assert measures.flicker(torch.zeros(2, 3, 4, 4), truth, area) == pytest.approx(51, abs=1e-3)


@pytest.mark.parametrize("frames", [-1.5, 0.0, 0.4, 2.0])
def test_lag(frames: float) -> None:
    t = torch.arange(60, dtype=torch.float32)
    true, late = (torch.sin((t - shift) / 4)[:, None, None].expand(-1, 5, 2) * 20 for shift in (0.0, frames))
    assert video.lag(late, true) == pytest.approx(frames, abs=0.06)


def test_jitter() -> None:
    still = 100 + 0.5 * torch.randn(4000, 5, 2, generator=torch.Generator().manual_seed(0))
    assert video.jitter(still) == pytest.approx(0.5, rel=0.03)
