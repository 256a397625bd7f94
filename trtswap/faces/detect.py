"""Stage 1: where the faces are."""

import torch
from torch import Tensor

from trtswap.backends.runtime import Stage
from trtswap.faces import Faces
from trtswap.pixels.frames import Frames
from trtswap.pixels.geometry import invert, transform_points


class Detector:
    """Finds faces in a batch of frames with a pack's detect graph.

    Args:
        stage: the detect graph; its entry in the pack has the longer side of the picture it works on, and defaults.
        threshold: lowest score that counts as a face, 0..1.
        max_faces: at most this many faces a frame, the best ones.
    """

    def __init__(self, stage: Stage, *, threshold: float | None = None, max_faces: int | None = None) -> None:
        spec = stage.spec
        self.stage = stage
        self.size = spec.size
        self.threshold = spec.threshold if threshold is None else threshold
        self.max_faces = spec.max_faces if max_faces is None else min(max_faces, spec.max_faces)

    def __call__(self, frames: Frames, *, size: int | None = None) -> Faces:
        """Detect once in every frame.

        Args:
            size: longer side of the picture that is searched, instead of the pack's: half of it finds faces
                twice as large.

        Returns:
            Faces on the host, ordered by frame, then by falling score; not tracked.
        """
        images, transform = frames.resized(size or self.size)
        scores, boxes, landmarks = self._found(images)
        keep = scores[:, : self.max_faces] >= max(self.threshold, torch.finfo(torch.float32).tiny)
        frame_index, row = keep.nonzero(as_tuple=True)
        to_frame = invert(transform)
        return Faces(
            frame_index=frame_index,
            box=transform_points(to_frame, boxes[frame_index, row].view(-1, 2, 2)).flatten(1),
            landmarks=transform_points(to_frame, landmarks[frame_index, row]),
            score=scores[frame_index, row],
            track=torch.full_like(frame_index, -1),
        )

    def _found(self, images: Tensor) -> tuple[Tensor, ...]:
        """Scores, boxes and landmarks on the host, as many frames at once as the engine takes."""
        most = self.stage.engine.max_rows or max(1, len(images))
        parts = [self.stage(images=part) for part in torch.split(images, most)]
        return tuple(torch.cat([part[name].cpu() for part in parts]) for name in ("scores", "boxes", "landmarks"))
