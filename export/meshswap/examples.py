"""Codes for trying a swap graph that takes points."""

import torch
from torch import Tensor

from trtswap.export.standin import drawn_points
from trtswap.model.pack import StageSpec

from .graphs import Encode, code_length


def takes_codes(stage: StageSpec) -> bool:
    """Whether a swap graph takes what :class:`Encode` gives."""
    return stage.points and stage.latent == code_length(stage.size)


def example_codes(stage: StageSpec, faces: Tensor) -> Tensor:
    """What :class:`Encode` makes of crops [N, 3, S, S], for a stage that takes it."""
    with torch.no_grad():
        codes: Tensor = Encode(stage.size)(faces, drawn_points(len(faces), stage.size, stage.templates[0]))
    return codes
