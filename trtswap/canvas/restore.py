"""Stage 8: a sharper face on the canvas."""

import torch
from torch import Tensor

from trtswap.backends.batching import run_in_pieces
from trtswap.backends.engine import Engine
from trtswap.model.pack import StageSpec


class Restorer:
    """Runs a pack's restore graph on canvases and mixes the result in.

    Args:
        engine: the restore graph, opened.
        spec: its entry in the pack: canvas size and default weight.
        piece: faces that run through the network at once.
        weight: share of the restored picture, 0..1; the pack's where None.
    """

    def __init__(self, engine: Engine, spec: StageSpec, *, piece: int, weight: float | None = None):
        self.engine = engine
        self.piece = piece
        self.weight = spec.weight if weight is None else weight

    def __call__(self, canvas: Tensor) -> Tensor:
        """Restored canvases: float32 [N, 3, C, C] from the same."""
        restored = run_in_pieces(self.engine, "restored", self.piece, faces=canvas.clamp(0, 1))
        return restored if self.weight == 1 else torch.lerp(canvas, restored, self.weight)
