"""Stage 8b: what lies in front of a face, and is not to be painted over."""

from trtswap.backends.runtime import Stage
from trtswap.canvas.batch import FaceBatch
from trtswap.pixels.geometry import align, compose, invert
from trtswap.pixels.warp import warp_all


class Occluder:
    """Looks for hands, hair and microphones with a pack's occlude graph.

    Args:
        stage: the occlude graph; it is given the originals, aligned in its own way.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __call__(self, batch: FaceBatch) -> None:
        spec, size = self.stage.spec, batch.canvas.shape[-1]
        to_crop = align(batch.faces.landmarks, spec.templates, spec.size)
        crops = batch.frames.sample(batch.faces.frame_index, to_crop, spec.size).clamp_(0, 1)
        visible = batch.checked(self.stage.rows(faces=crops)["visible"], crops[:, :1]).clamp(0, 1)
        # Beyond the crop nobody has looked: its border goes on.
        to_crop = compose(to_crop, invert(batch.to_canvas))
        batch.visible = warp_all(visible, to_crop, size, size, padding="border")
