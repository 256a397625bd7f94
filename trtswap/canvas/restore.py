"""Stage 8: a sharper face on the canvas."""

import torch
from torch import Tensor

from trtswap.backends.runtime import Stage
from trtswap.canvas.batch import FaceBatch


class Restorer:
    """Runs a pack's restore graph on canvases and mixes the result in.

    Args:
        stage: the restore graph.
        weight: share of the restored picture, 0..1; the pack's where None.
        fidelity: how near the network keeps to what it is given, 0..1; the pack's where None.

    Raises:
        InputError: a fidelity is given, but the pack's restorer does not take one.
    """

    def __init__(self, stage: Stage, *, weight: float | None = None, fidelity: float | None = None) -> None:
        self.stage = stage
        self.weight = stage.spec.weight if weight is None else weight
        self._further = stage.share("fidelity", fidelity, of="the restorer")

    def __call__(self, batch: FaceBatch) -> None:
        batch.canvas = batch.checked(self.restored(batch.canvas), batch.canvas)

    def restored(self, canvas: Tensor) -> Tensor:
        """Restored canvases: float32 [N, 3, C, C] from the same."""
        restored = self.stage.rows(faces=canvas.clamp(0, 1), **self._further)["restored"]
        return restored if self.weight == 1 else torch.lerp(canvas, restored, self.weight)
