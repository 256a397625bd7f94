"""The graph find: where the faces of frames are."""

import torch
from torch import Tensor, nn

from trtswap.backends.engine import TensorSpec
from trtswap.faces.dense import OFFSETS, five_of, in_frame
from trtswap.faces.detect import fits_a_template
from trtswap.faces.faces import POINTS
from trtswap.model.pack import Pack
from trtswap.options import SwapOptions
from trtswap.pixels.geometry import align, invert

from .frames import Opener, sides_of
from .layout import STEP, Layout
from .letterbox import Letterbox
from .stages import Stages
from .warp import spread
from .window import EVEN


class Find(nn.Module):
    """Frames -> `boxes` [B, F, 4], `landmarks` [B, F, 5, 2], `scores` [B, F], best first; 0 where there is no face.

    `sides` [B, F]: of the window that each needs to be swapped, pixels, a multiple of 8. Where a landmarks graph
    measures faces: `points` [B, F, 478, 3] too, and `fits` [B, F], 0 where nothing was measured.
    """

    def __init__(self, layout: Layout, pack: Pack, stages: Stages, options: SwapOptions) -> None:
        super().__init__()
        self.layout, self.pack, self.stages = layout, pack, stages
        self.opener = Opener(layout)
        self.spec = stages["detect"]
        asked = options.detect_threshold
        self.threshold = self.spec.threshold if asked is None else asked
        self.letterbox = Letterbox(self.opener, layout.size, self.spec.size)
        self.faces = min(layout.faces, self.spec.max_faces)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.layout.tensors()

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        shapes: dict[str, tuple[int, ...]] = {"boxes": (4,), "landmarks": (5, 2), "scores": (), "sides": ()}
        if "landmarks" in self.stages:
            shapes |= {"points": (POINTS, 3), "fits": ()}
        return tuple(TensorSpec(name, ("B", self.faces, *shape), torch.float32) for name, shape in shapes.items())

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        grids = self.opener.opened(*tensors)
        images, scale = self.letterbox(grids)
        found = self.stages.run("detect", images=images)
        boxes, landmarks, scores = (part[:, : self.faces] for part in found)
        # Pixel centres are whole numbers: the first pixel's corner, at -0.5, stays where it is.
        boxes = (torch.unflatten(boxes, 2, (2, 2)) + 0.5) / scale - 0.5
        landmarks = (landmarks + 0.5) / scale - 0.5
        longest = sides_of(grids[0]).amax(0)
        there = (scores >= max(self.threshold, torch.finfo(torch.float32).tiny)) & fits_a_template(
            boxes, landmarks, longest
        )
        measured = list[Tensor]()
        if "landmarks" in self.stages:
            landmarks, *measured = self._measured(grids, landmarks, there)
            there = there & fits_a_template(boxes, landmarks, longest)
        sides = self._sides(landmarks, there, grids[0])
        return _of(there, boxes.flatten(2), landmarks, scores, sides, *measured)

    def _sides(self, landmarks: Tensor, there: Tensor, grid: Tensor) -> Tensor:
        """Sides of upright squares that hold the canvases, no larger than the frame."""
        size = self.pack.canvas_size
        to_canvas = align(safe(landmarks.flatten(0, 1), there.flatten()), (self.pack.canvas_template,), size)
        a, b = to_canvas[:, 0, 0], to_canvas[:, 1, 0]
        sides = size * (a.abs() + b.abs()) / (a * a + b * b) + 2 * EVEN
        most = torch.floor(sides_of(grid).amin(0) / STEP) * STEP
        return torch.unflatten(torch.minimum(torch.ceil(sides / STEP) * STEP, most), 0, (-1, self.faces))

    def _measured(self, grids: tuple[Tensor, ...], landmarks: Tensor, there: Tensor) -> tuple[Tensor, ...]:
        """Landmarks made of points where these fit, the points, and how well they fit."""
        spec, known = self.stages["landmarks"], landmarks.flatten(0, 1)
        to_crop = align(safe(known, there.flatten()), spec.templates, spec.size)
        crops = cropped(self.opener, grids, to_crop, self.faces, spec.size).clamp(0, 1)
        points, fits = self.stages.run("landmarks", faces=crops)
        points = in_frame(points, to_crop)
        # What is no number is no measure.
        fit = (fits >= spec.threshold) & (points.abs().amax((1, 2)) < torch.finfo(torch.float32).max)
        fits = torch.where(fit, fits, torch.zeros_like(fits))
        points = torch.where(fit[:, None, None], points, torch.zeros_like(points))
        made = torch.where(fit[:, None, None], five_of(points, self.spec.offsets or OFFSETS), known)
        return tuple(torch.unflatten(part, 0, (-1, self.faces)) for part in (made, points, fits))


def cropped(opener: Opener, grids: tuple[Tensor, ...], to_crop: Tensor, faces: int, size: int) -> Tensor:
    """Aligned crops of whole frames: float32 [B * faces, 3, size, size], RGB.

    Args:
        grids: as :meth:`Opener.opened` gives them.
        to_crop: float32 [B * faces, 2, 3], frame pixel -> crop pixel.
    """
    to_frame = invert(to_crop)
    return opener.rgb(
        *(
            spread(grid.permute(0, 3, 1, 2), of.to_plane(to_frame), faces, size)
            for of, grid in zip(opener.grids, grids, strict=True)
        )
    )


def safe(landmarks: Tensor, there: Tensor) -> Tensor:
    """Landmarks [N, 5, 2] that can be aligned: where there is no face, some that nobody looks at."""
    somewhere = torch.tensor([[38.0, 52.0], [74.0, 52.0], [56.0, 72.0], [42.0, 92.0], [71.0, 92.0]])
    return torch.where(there[:, None, None], landmarks, somewhere)


def _of(there: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
    """The parts of faces that are there, 0 elsewhere."""
    return tuple(torch.where(there.view(*there.shape, *[1] * (p.dim() - 2)), p, torch.zeros_like(p)) for p in parts)
