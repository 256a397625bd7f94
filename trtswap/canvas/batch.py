"""Faces on their way through the networks, and what is pasted of them in the end."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from trtswap.canvas.masks import Masks
from trtswap.canvas.swap import Patch
from trtswap.faces import Faces
from trtswap.pixels.frames import Frames, Layer


@dataclass
class FaceBatch:
    """N faces that go through the networks at once; every step adds to them.

    Attributes:
        frames: where they are; not changed.
        faces: N faces of these frames, on the host.
        latents: float32 [N, D], the identity that each gets.
        to_canvas: float32 [N, 2, 3] on the host, displayed pixel -> canvas pixel.
        to_swap: the same to the swap network's crop.
        crops: float32 [N, 3, S, S], RGB, the originals as the swap network takes them.
        points: float32 [N, 478, 3], pixels of these crops; None where the network takes none.
        canvas: float32 [N, 3, C, C], RGB: the originals, from the blend on the faces that are being made.
        swapped: float32 [N, 3, S, S], RGB 0..1.
        seen: float32 [N, 1, S, S], 0..1, what of these crops nothing lies in front of; None where nobody looked.
        coverage: float32 [N, 1, S, S], how much of each pixel of them is to be seen, 0..1.
        masks: what of a canvas is face, and what is mouth.
        visible: float32 [N, 1, C, C], 0..1, of a canvas what nothing lies in front of; None where nobody looked.
        patches: swapped crops as they lie in their canvases.
        layers: what is pasted.
        sound: bool [N], on the device: every network has given numbers for the face. Others are not pasted.
    """

    frames: Frames
    faces: Faces
    latents: Tensor
    to_canvas: Tensor
    to_swap: Tensor = field(init=False)
    crops: Tensor = field(init=False)
    points: Tensor | None = None
    seen: Tensor | None = None
    canvas: Tensor = field(init=False)
    swapped: Tensor = field(init=False)
    coverage: Tensor = field(init=False)
    masks: Masks = field(init=False)
    visible: Tensor | None = None
    patches: list[Patch] = field(init=False)
    layers: list[Layer] = field(init=False)
    sound: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.sound = torch.ones(len(self.latents), dtype=torch.bool, device=self.latents.device)

    def checked(self, made: Tensor, before: Tensor) -> Tensor:
        """Pictures that a network has made; where it gave NaN or infinity those from before, and the face is unsound.

        Args:
            made, before: float32 [N, 3, S, S].
        """
        sound = made.flatten(1).sum(1).isfinite()
        if sound.device.type == "cpu" and bool(sound.all()):  # elsewhere the host would have to wait to know
            return made
        self.sound = self.sound & sound
        return torch.where(sound[:, None, None, None], made, before)


@dataclass(frozen=True)
class SwappedFaces:
    """N swapped faces, ready to be pasted; see :meth:`~trtswap.pixels.frames.Frames.paste` for the attributes.

    ``unsound`` is how many of them stay as they were, for want of numbers: int64, on the device.
    """

    frame_index: Tensor
    to_canvas: Tensor
    layers: list[Layer]
    unsound: Tensor
