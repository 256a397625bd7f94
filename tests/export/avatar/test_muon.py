"""Steps of Muon."""

import pytest
import torch
from torch import nn

from export.avatar.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 27), (64, 16), (12, 12)])
def test_directions_count_alike(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    stretched = torch.randn(shape, generator=generator) * torch.logspace(0, 1, shape[1])
    values = torch.linalg.svdvals(orthogonal(stretched))
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.parametrize("shape", [(32, 16, 3, 3), (1, 32, 16, 3, 3)], ids=["plain", "modulated"])
def test_a_step_is_as_long_as_adamws(shape: tuple[int, ...]) -> None:
    weight = nn.Parameter(torch.zeros(shape))
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    Muon([weight], lr=1e-2).step()
    assert float(weight.detach().square().mean().sqrt()) == pytest.approx(0.2 * 1e-2, rel=0.3)


def test_a_kernel_is_found_again() -> None:
    torch.manual_seed(0)
    wanted, found = nn.Conv2d(4, 8, 3), nn.Conv2d(4, 8, 3)
    found.bias = wanted.bias
    muon = Muon([found.weight], lr=0.02)
    for number in range(200):
        x = torch.randn(8, 4, 6, 6)
        muon.zero_grad()
        error = (found(x) - wanted(x)).square().mean()
        error.backward()
        muon.param_groups[0]["lr"] = 0.02 * (1 - number / 200)
        muon.step()
    assert error < 1e-3


def test_layers_that_are_not_used_stay() -> None:
    used, unused = (nn.Parameter(torch.ones(4, 4, 1, 1)) for _ in range(2))
    used.grad = torch.ones_like(used)
    Muon([used, unused], lr=0.1).step()
    assert torch.equal(unused, torch.ones(4, 4, 1, 1))
    assert not torch.equal(used, unused)
