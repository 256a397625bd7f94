"""Many faces in batches of a few sizes: memory is bounded, and engines, graphs and allocations are used again."""

from collections.abc import Iterator

import torch
from torch import Tensor


def batch_size(rows: int, largest: int) -> int:
    """The size of the batch that runs for so many rows, the rest of it padding: a power of two, or ``largest``."""
    return min(1 << (rows - 1).bit_length(), largest)


def batch_sizes(largest: int) -> tuple[int, ...]:
    """Every size that :func:`batch_size` gives, rising."""
    return (*(1 << n for n in range(largest.bit_length()) if 1 << n < largest), largest)


def face_batches(count: int, largest: int, *, pad: bool = False) -> Iterator[tuple[Tensor, int]]:
    """Split ``count`` rows, in order, into batches whose sizes are ``largest`` or powers of two below it.

    Args:
        pad: make the last batch whole by repeating the last row, rather than follow it by smaller ones: on a GPU a
            row more costs less than a run more.

    Yields:
        ``(rows, valid)``: int64 row numbers, of which all but the first ``valid`` are repetitions.
    """
    start = 0
    while start < count:
        left = min(largest, count - start)
        size = left if left == largest else batch_size(left, largest) if pad else 1 << left.bit_length() - 1
        yield torch.arange(start, start + size).clamp_(max=count - 1), min(size, left)
        start += size
