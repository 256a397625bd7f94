"""Codes for trying a swap graph that takes points."""

import torch
from torch import Tensor

from trtswap.export.standin import drawn_points
from trtswap.model.pack import StageSpec

from .graphs import Encode, code_length


def example_codes(stage: StageSpec, faces: Tensor) -> Tensor | None:
    """What the pack mesh's encode graph makes of crops [N, 3, S, S]; None for a swap graph that takes others."""
    if not stage.points or stage.latent != code_length(stage.size):
        return None
    with torch.no_grad():
        codes: Tensor = Encode(stage.size)(faces, drawn_points(len(faces), stage.size, stage.templates[0]))
    return codes
