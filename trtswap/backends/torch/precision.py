"""Arithmetic of float32 on a GPU as the graph says it, whatever the process has allowed PyTorch."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class _WithoutTf32:
    """Counts who is inside, for PyTorch's settings are those of the whole process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: list[str] = []

    def enter(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = [kind.fp32_precision for kind in _kinds()]
                for kind in _kinds():
                    kind.fp32_precision = "ieee"
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                for kind, before in zip(_kinds(), self._before, strict=True):
                    kind.fp32_precision = before


def _kinds() -> tuple[Any, Any]:
    """Where PyTorch keeps the precision of matrix products and of convolutions."""
    return torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]


_STATE = _WithoutTf32()


@contextmanager
def without_tf32() -> Iterator[None]:
    """Convolutions and matrix products of float32 keep all of its mantissa; TF32 would round it to 10 bits.

    PyTorch lets convolutions round by default. Its settings are as before when the last of the calls that are inside
    has left; several threads may be.
    """
    _STATE.enter()
    try:
        yield
    finally:
        _STATE.leave()
