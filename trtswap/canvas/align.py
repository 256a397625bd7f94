"""Stage 4: the crops of a face, cut out of the planes."""

from trtswap.canvas.batch import FaceBatch
from trtswap.model.pack import StageSpec
from trtswap.pixels.geometry import align


class Aligner:
    """Cuts the swap network's crop and the canvas of each face.

    Args:
        swap: the swap graph's entry in the pack: crop size and templates.
        canvas_size: side of the canvas, pixels.
    """

    def __init__(self, swap: StageSpec, canvas_size: int) -> None:
        self._swap = swap
        self._canvas_size = canvas_size

    def __call__(self, batch: FaceBatch) -> None:
        faces, size = batch.faces, self._swap.size
        batch.to_swap = align(faces.landmarks, self._swap.templates, size)
        batch.crops = batch.frames.sample(faces.frame_index, batch.to_swap, size)
        batch.canvas = batch.frames.sample(faces.frame_index, batch.to_canvas, self._canvas_size)
