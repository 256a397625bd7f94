"""Stage 4: the crops of a face, cut out of the planes."""

from trtswap.canvas.batch import FaceBatch
from trtswap.pixels.geometry import align


class Aligner:
    """Cuts the swap network's crop and the canvas of each face.

    Args:
        templates: that swap crops are aligned with.
        size: side of the swap crop, pixels.
        canvas_size: side of the canvas, pixels.
    """

    def __init__(self, templates: tuple[str, ...], size: int, canvas_size: int) -> None:
        self._templates = templates
        self._size = size
        self._canvas_size = canvas_size

    def __call__(self, batch: FaceBatch) -> None:
        faces, size = batch.faces, self._size
        batch.to_swap = align(faces.landmarks, self._templates, size)
        batch.crops = batch.frames.sample(faces.frame_index, batch.to_swap, size)
        batch.canvas = batch.frames.sample(faces.frame_index, batch.to_canvas, self._canvas_size)
