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
    parts = zip(*(t.split(piece) for t in tensors.values()), strict=True)
    rows = ({name: t.contiguous() for name, t in zip(tensors, part, strict=True)} for part in parts)
    outputs = [engine(**row)[output].clone() for row in rows]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)
