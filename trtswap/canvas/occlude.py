"""Stage 8b: what lies in front of a face, and is not to be painted over."""

from torch import Tensor

from trtswap.backends.runtime import Stage
from trtswap.canvas.batch import FaceBatch
from trtswap.faces.dense import in_crop
from trtswap.pixels.geometry import align, compose, invert
from trtswap.pixels.transfer import on_device
from trtswap.pixels.warp import warp_all


class Occluder:
    """Looks for hands, hair and microphones with an occlude graph: the pack's, or the one that comes with trtswap.

    Args:
        stage: the occlude graph; it is given the originals, aligned in its own way.
        for_swap: the swap network wants to know, too.
    """

    def __init__(self, stage: Stage, *, for_swap: bool = False) -> None:
        self.stage = stage
        self._for_swap = for_swap

    def __call__(self, batch: FaceBatch) -> None:
        spec, device = self.stage.spec, batch.canvas.device
        to_crop = align(batch.faces.landmarks, spec.templates, spec.size)
        crops = batch.frames.sample(batch.faces.frame_index, to_crop, spec.size).clamp_(0, 1)
        points = {"points": on_device(in_crop(batch.faces.points, to_crop), device)} if spec.points else {}
        visible = batch.checked(self.stage.rows(faces=crops, **points)["visible"], crops[:, :1]).clamp(0, 1)
        if spec.points:  # without them the graph can say nothing
            unmeasured = on_device(batch.faces.fit <= 0, device)
            visible = visible.masked_fill(unmeasured[:, None, None, None], 1.0)

        def seen_in(to_other: Tensor, side: int) -> Tensor:
            """Beyond the crop nobody has looked: its border goes on."""
            return warp_all(visible, compose(to_crop, invert(to_other)), side, side, padding="border")

        batch.visible = seen_in(batch.to_canvas, batch.canvas.shape[-1])
        if self._for_swap:
            batch.seen = seen_in(batch.to_swap, batch.crops.shape[-1])
