"""Sizes of batches and pieces: few, bounded by the free memory, and covering every face once."""

import pytest
import torch

from trtswap import sizing
from trtswap.stages.batching import pieces

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("free", "frames", "faces"), [(64 << 30, 4, 4), (2 << 30, 4, 1), (200 << 20, 1, 1), (0, 1, 1), (6 << 30, 4, 2)]
)
def test_sizes_fit_into_a_share_of_the_free_memory(
    free: int, frames: int, faces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "free_bytes", lambda device: free)
    assert sizing.frames_at_once(1920 * 1080 * 3 // 2, CPU) == frames
    assert sizing.faces_at_once(512, CPU) == faces


def test_a_gpu_takes_more_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "free_bytes", lambda device: 90 << 30)
    assert sizing.faces_at_once(512, torch.device("cuda")) == 32


def test_free_memory_is_known_here() -> None:
    assert sizing.free_bytes(CPU) > 1 << 20


@pytest.mark.parametrize("largest", [1, 3, 4, 8])
@pytest.mark.parametrize("count", [*range(20)])
def test_pieces_cover_every_row_once_and_have_few_sizes(count: int, largest: int) -> None:
    plain, padded = list(pieces(count, largest)), list(pieces(count, largest, pad=True))
    allowed = {largest, *(2**k for k in range(5) if 2**k < largest)}
    for parts in (plain, padded):
        assert torch.cat([rows[:valid] for rows, valid in parts] or [torch.zeros(0)]).tolist() == list(range(count))
        assert {len(rows) for rows, _ in parts} <= allowed
    assert all(valid == len(rows) for rows, valid in plain)
    assert len(padded) == -(-count // largest)  # one run more at most is what padding saves
