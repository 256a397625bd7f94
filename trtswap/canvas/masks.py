"""What of a canvas is face, and what is mouth: soft masks, whoever says where these are."""

from dataclasses import dataclass

from torch import Tensor

# Masks are soft, so a quarter of the canvas holds all that is in them at a sixteenth of the work.
MASK_SCALE = 4


@dataclass(frozen=True)
class Masks:
    """Soft masks of N canvases, float32 [N, 1, C, C], 0..1.

    Attributes:
        face: 1 inside the face, falling to 0 before its border, so that nothing outside the face changes.
        mouth: 1 between the lips, falling to 0 outside, so that teeth and tongue are kept whole.
    """

    face: Tensor
    mouth: Tensor
