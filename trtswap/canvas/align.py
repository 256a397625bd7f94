"""Stage 4: the crops of a face, cut out of the planes."""

from trtswap.canvas.batch import FaceBatch
from trtswap.faces.dense import in_crop
from trtswap.pixels.geometry import align
from trtswap.pixels.transfer import on_device


class Aligner:
    """Cuts the swap network's crop and the canvas of each face.

    Args:
        templates: that swap crops are aligned with.
        size: side of the swap crop, pixels.
        canvas_size: side of the canvas, pixels.
        points: the swap network takes the faces' points.
    """

    def __init__(self, templates: tuple[str, ...], size: int, canvas_size: int, *, points: bool) -> None:
        self._templates = templates
        self._size = size
        self._canvas_size = canvas_size
        self._points = points

    def __call__(self, batch: FaceBatch) -> None:
        faces, size = batch.faces, self._size
        batch.to_swap = align(faces.landmarks, self._templates, size)
        if self._points:
            batch.points = on_device(in_crop(faces.points, batch.to_swap), batch.latents.device)
        batch.crops = batch.frames.sample(faces.frame_index, batch.to_swap, size)
        batch.canvas = batch.frames.sample(faces.frame_index, batch.to_canvas, self._canvas_size)
