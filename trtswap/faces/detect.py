"""Stage 1: where the faces are."""

import torch
from torch import Tensor

from trtswap.backends.runtime import Stage
from trtswap.faces.cuts import thumbnails
from trtswap.faces.dense import DenseLandmarks
from trtswap.faces.faces import Faces
from trtswap.faces.turned import SIDE, set_upright
from trtswap.pixels.frames import Frames, searched_size
from trtswap.pixels.geometry import invert, transform_points
from trtswap.pixels.transfer import to_host


class Detector:
    """Finds faces in a batch of frames with a pack's detect graph; those that may be turned are looked at twice.

    Args:
        stage: the detect graph; its entry in the pack has the longer side of the picture it works on, and defaults.
        threshold: lowest score that counts as a face, 0..1.
        max_faces: at most this many faces a frame, the best ones.
        size: longer side of the picture that is searched; the pack's where None.
        dense: measures what was found; nothing does where None.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        threshold: float | None = None,
        max_faces: int | None = None,
        size: int | None = None,
        dense: DenseLandmarks | None = None,
    ) -> None:
        spec = stage.spec
        self._dense = dense
        self.stage = stage
        self.size = size or spec.size
        self.threshold = spec.threshold if threshold is None else threshold
        self.max_faces = spec.max_faces if max_faces is None else min(max_faces, spec.max_faces)

    def prepare(self, display_size: tuple[int, int], batch: int) -> None:
        """Make the graph ready for frames of this displayed size, so many at once."""
        most = self.stage.engine.max_rows or batch
        self.stage.prepare(images=(min(batch, most), 3, *searched_size(display_size, self.size)[1]))

    def __call__(self, frames: Frames, *, size: int | None = None) -> Faces:
        """Detect once in every frame.

        Args:
            size: longer side of the picture that is searched, instead of the pack's: half of it finds faces
                twice as large.

        Returns:
            Faces on the host, ordered by frame, then by falling score; not tracked. All can be aligned: see
            :func:`alignable`.
        """
        images, transform = frames.resized(size or self.size)
        scores, boxes, landmarks = to_host(*self._searched(images))
        return self._found(scores, boxes, landmarks, transform, frames)

    def with_thumbnails(self, frames: Frames) -> tuple[Faces, Tensor]:
        """As a call, with thumbnails of the searched pictures on the host: :func:`~trtswap.faces.cuts.thumbnails`."""
        images, transform = frames.resized(self.size)
        width, height = (
            round(s * length) for s, length in zip(transform.diagonal().tolist(), frames.display_size, strict=True)
        )
        scores, boxes, landmarks, small = to_host(*self._searched(images), thumbnails(images, width, height))
        return self._found(scores, boxes, landmarks, transform, frames), small

    def _searched(self, images: Tensor) -> tuple[Tensor, ...]:
        """Scores, boxes and landmarks on the device, of as many pictures at once as the engine takes."""
        most = self.stage.engine.max_rows or max(1, len(images))
        parts = [self.stage(images=part) for part in torch.split(images, most)]
        return tuple(torch.cat([part[name] for part in parts]) for name in ("scores", "boxes", "landmarks"))

    def _found(self, scores: Tensor, boxes: Tensor, landmarks: Tensor, transform: Tensor, frames: Frames) -> Faces:
        """What the graph gave, on the host, as faces in frame pixels."""
        keep = scores[:, : self.max_faces] >= max(self.threshold, torch.finfo(torch.float32).tiny)
        frame_index, row = keep.nonzero(as_tuple=True)
        to_frame = invert(transform)
        faces = Faces(
            frame_index=frame_index,
            box=transform_points(to_frame, boxes[frame_index, row].view(-1, 2, 2)).flatten(1),
            landmarks=transform_points(to_frame, landmarks[frame_index, row]),
            score=scores[frame_index, row],
            track=torch.full_like(frame_index, -1),
        )
        faces = _alignable_of(faces, frames.display_size)
        upright = set_upright(frames, faces, self._searched, min(SIDE, self.stage.spec.size // 32 * 32))
        if upright is not faces:
            faces = _alignable_of(upright, frames.display_size)
        return faces if self._dense is None else _alignable_of(self._dense(frames, faces), frames.display_size)


def _alignable_of(faces: Faces, display_size: tuple[int, int]) -> Faces:
    sound = alignable(faces, display_size)
    return faces if bool(sound.all()) else faces[sound]


def alignable(faces: Faces, display_size: tuple[int, int]) -> Tensor:
    """Which faces can be aligned to a template at all; a damaged or foreign graph may give others.

    All coordinates are numbers and lie at most four sides of the frame away, the box has an area, and the landmarks
    do not fall together: their root mean square distance from their mean is at least half a pixel.

    Returns:
        bool [N].
    """
    return fits_a_template(faces.box.view(-1, 2, 2), faces.landmarks, max(display_size)) & faces.score.isfinite()


def fits_a_template(boxes: Tensor, landmarks: Tensor, longest: Tensor | int) -> Tensor:
    """The same of boxes [..., 2, 2] and landmarks [..., 5, 2] in frames of that longer side: bool [...]."""
    points = torch.cat([boxes, landmarks], -2)
    near = points.abs().amax((-2, -1)) <= 5 * longest  # false for NaN as well
    area = (boxes[..., 1, :] - boxes[..., 0, :]).amin(-1) > 0
    return near & area & spread_out(landmarks)


def spread_out(landmarks: Tensor) -> Tensor:
    """Whether landmarks [..., 5, 2] do not fall together: bool [...]."""
    away = landmarks - landmarks.mean(-2, keepdim=True)
    return away.square().sum(-1).mean(-1) >= 0.25
