"""Many faces in pieces of a few sizes, so that memory is bounded and engines, graphs and allocations are used again."""

from collections.abc import Iterator

import torch
from torch import Tensor

from trtswap.backends.engine import Engine


def pieces(count: int, largest: int, *, pad: bool = False) -> Iterator[tuple[Tensor, int]]:
    """Split ``count`` rows, in order, into pieces whose sizes are ``largest`` or powers of two below it.

    Args:
        pad: make the last piece whole by repeating the last row, rather than follow it by smaller ones: on a GPU a
            row more costs less than a run more.

    Yields:
        ``(rows, valid)``: int64 row numbers, of which all but the first ``valid`` are repetitions.
    """
    start = 0
    while start < count:
        left = min(largest, count - start)
        size = left if left == largest else 1 << (left - 1).bit_length() if pad else 1 << left.bit_length() - 1
        size = min(size, largest)
        yield torch.arange(start, start + size).clamp_(max=count - 1), min(size, left)
        start += size


def run_in_pieces(engine: Engine, output: str, piece: int, **tensors: Tensor) -> Tensor:
    """Run along the first dimension, at most ``piece`` rows at a time, so that memory does not grow with faces.

    Args:
        engine: returns the tensor named ``output``, one row per input row.
        tensors: inputs by name, all with N rows.

    Returns:
        The outputs of all rows; the caller owns it.
    """
    rows = max(len(t) for t in tensors.values())
    outputs = [
        engine(**{name: t[start : start + piece].contiguous() for name, t in tensors.items()})[output].clone()
        for start in range(0, max(rows, 1), piece)
    ]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)
