"""Sizes of batches and pieces: few, bounded by the free memory, and covering every face once."""

import os
from types import SimpleNamespace

import pytest
import torch

from trtswap.backends import Choice, sizing
from trtswap.backends.batching import batch_size, batch_sizes, face_batches
from trtswap.backends.device import device_of
from trtswap.errors import InputError

CPU = torch.device("cpu")


def has_free(patch: pytest.MonkeyPatch, free: int) -> None:
    """Every device has so much memory."""
    patch.setattr("trtswap.backends.device.device_of", lambda device: SimpleNamespace(free_bytes=lambda: free))


@pytest.mark.parametrize(
    ("free", "frames", "faces"), [(64 << 30, 2, 4), (2 << 30, 2, 4), (400 << 20, 2, 2), (100 << 20, 1, 1), (0, 1, 1)]
)
def test_sizes_fit_into_a_share_of_the_free_memory(
    free: int, frames: int, faces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_free(monkeypatch, free)
    assert sizing.frames_at_once(1920 * 1080 * 3 // 2, CPU) == frames
    assert sizing.faces_at_once(128, CPU) == faces


def test_a_cpu_takes_fewer_frames_where_they_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    has_free(monkeypatch, 64 << 30)
    sides = ((640, 360), (1280, 720), (1920, 1080), (3840, 2160))
    assert [sizing.frames_at_once(w * h * 3 // 2, CPU) for w, h in sides] == [4, 4, 2, 1]


def test_a_cpu_takes_no_more_faces_than_gain_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    has_free(monkeypatch, 64 << 30)
    assert [sizing.faces_at_once(canvas, CPU) for canvas in (128, 256, 512, 1024)] == [4, 2, 1, 1]


def test_a_gpu_takes_more_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    has_free(monkeypatch, 90 << 30)
    assert sizing.faces_at_once(512, torch.device("cuda")) == 32


def test_workers_share_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    has_free(monkeypatch, 700 << 20)
    assert [sizing.faces_at_once(128, CPU, workers=workers) for workers in (1, 2, 4)] == [4, 2, 1]


@pytest.mark.parametrize(
    ("backend", "device", "threads", "workers"),
    [
        ("onnxruntime", "cpu", None, 2),
        ("openvino", "cpu", 7, 2),
        ("openvino", "cpu", 1, 1),
        ("torch", "cpu", None, 1),
        ("torch", "cuda", None, 1),
        ("tensorrt", "cuda", None, 1),
        ("onnxruntime", "cuda", None, 1),
    ],
)
def test_two_workers_where_cores_can_be_shared(
    backend: str, device: str, threads: int | None, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "cores", lambda: 5)
    choice = Choice(backend, torch.device(device), "")
    assert sizing.workers_for(choice, threads) == workers
    assert sizing.threads_of_each(1, choice, threads) == threads
    if sizing.shares_cores(choice):
        assert [sizing.threads_of_each(n, choice, threads) for n in (2, 3, 99)] == [
            max(1, (threads or 5) // n) for n in (2, 3, 99)
        ]
    else:
        with pytest.raises(InputError, match=f"workers is 2, but {backend} on {device} .*expected 1"):
            sizing.threads_of_each(2, choice, threads)


def test_one_core_has_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "cores", lambda: 1)
    assert sizing.workers_for(Choice("openvino", CPU, ""), None) == 1


def test_cores_are_those_that_the_process_may_use() -> None:
    assert 1 <= sizing.cores() <= (os.cpu_count() or 1)


def test_free_memory_is_known_here() -> None:
    assert device_of(CPU).free_bytes() > 1 << 20


@pytest.mark.parametrize("largest", [1, 3, 4, 8])
@pytest.mark.parametrize("count", [*range(20)])
def test_pieces_cover_every_row_once_and_have_few_sizes(count: int, largest: int) -> None:
    plain, padded = list(face_batches(count, largest)), list(face_batches(count, largest, pad=True))
    allowed = {largest, *(2**k for k in range(5) if 2**k < largest)}
    for parts in (plain, padded):
        assert torch.cat([rows[:valid] for rows, valid in parts] or [torch.zeros(0)]).tolist() == list(range(count))
        assert {len(rows) for rows, _ in parts} <= allowed
    assert all(valid == len(rows) for rows, valid in plain)
    assert allowed == set(batch_sizes(largest)) == {batch_size(n, largest) for n in range(1, largest + 1)}
    assert len(padded) == -(-count // largest)  # one run more at most is what padding saves
