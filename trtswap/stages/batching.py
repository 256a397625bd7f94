"""Run an engine over many faces in pieces of bounded size."""

import torch
from torch import Tensor

from trtswap.backends.engine import Engine


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
