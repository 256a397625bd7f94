"""The graph identify: who the faces of frames are."""

import torch
from torch import Tensor, nn

from trtswap.backends.engine import TensorSpec
from trtswap.faces.dense import in_crop
from trtswap.faces.detect import spread_out
from trtswap.faces.faces import POINTS
from trtswap.pixels.geometry import align

from .find import cropped, safe
from .frames import Opener
from .layout import Layout, Size
from .stages import Stages


class Identify(nn.Module):
    """Frames, `landmarks` [B, F, 5, 2] -> `latents` [B, F, D] of unit length, which tell people apart.

    Packs whose swap graph takes something else of a source give it as well: `codes` [B, F, D'].
    """

    def __init__(self, layout: Layout, stages: Stages) -> None:
        super().__init__()
        self.layout, self.stages = layout, stages
        self.opener = Opener(layout)
        self.names = tuple(name for name in ("identify", "encode") if name in stages)
        self.points = any(stages[name].points for name in self.names)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return (*self.layout.tensors(), *measures(self.layout.slots, points=self.points))

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(
                self.stages[name].outputs[0].name, ("B", self.layout.slots, self.stages[name].latent), torch.float32
            )
            for name in self.names
        )

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        count = len(self.layout.tensors())
        grids, (landmarks, *points) = self.opener.opened(*tensors[:count]), tensors[count:]
        return tuple(self._latents(name, grids, landmarks, points) for name in self.names)

    def _latents(self, name: str, grids: tuple[Tensor, ...], landmarks: Tensor, points: list[Tensor]) -> Tensor:
        spec, faces = self.stages[name], landmarks.shape[1]
        known = landmarks.flatten(0, 1)
        to_crop = align(safe(known, spread_out(known)), spec.templates, spec.size)
        crops = cropped(self.opener, grids, to_crop, faces, spec.size).clamp(0, 1)
        measured = {"points": in_crop(points[0].flatten(0, 1), to_crop)} if spec.points else {}
        (latents,) = self.stages.run(name, faces=crops, **measured)
        return torch.unflatten(latents, 0, (-1, faces))


def measures(faces: Size, *, points: bool) -> tuple[TensorSpec, ...]:
    """What is said of faces: `landmarks` [B, F, 5, 2], and `points` [B, F, 478, 3], 0 where nobody measured them."""
    landmarks = TensorSpec("landmarks", ("B", faces, 5, 2), torch.float32)
    return (landmarks, TensorSpec("points", ("B", faces, POINTS, 3), torch.float32)) if points else (landmarks,)
