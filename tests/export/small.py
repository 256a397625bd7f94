"""Small packs and networks that export in seconds."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from trtswap.export.contract import IMAGENET, PLAIN, SYMMETRIC, Identify, Parse, Restore, Swap
from trtswap.export.networks.arcface import ArcFace
from trtswap.export.networks.bisenet import BiSeNet
from trtswap.export.networks.gfpgan import GFPGAN
from trtswap.export.networks.simswap import SimSwap
from trtswap.export.recipes import FFHQ, FRONTAL, Recipe, StageRecipe, spec
from trtswap.export.standin import FixedLabels, Thumbnail, Unchanged


class OneFace(nn.Module):
    """A detector that sees the same face in every picture."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch = images.shape[0]
        return torch.ones(batch, 1, 4), torch.ones(batch, 1, 5, 2), images.amax((1, 2, 3))[:, None]


ONE_FACE = StageRecipe(replace(spec("detect", size=640), max_faces=1, threshold=0.5), OneFace)


def tiny_recipe(restorer: Callable[[], nn.Module] = Unchanged) -> Recipe:
    """A valid pack with next to nothing in it; the swap network is one convolution."""
    latent = 3 * 8**2
    return Recipe(
        "tiny",
        "One convolution.",
        (
            ONE_FACE,
            StageRecipe(spec("identify", size=112, templates=FRONTAL, latent=latent), partial(Thumbnail, 8)),
            StageRecipe(
                spec("swap", size=16, templates=FRONTAL, latent=latent),
                partial(nn.Conv2d, 3, 3, 1),
                IgnoringLatents,
                "simswap_224",
            ),
            StageRecipe(spec("parse", size=32, templates=FFHQ), partial(FixedLabels, 32, FFHQ[0])),
            StageRecipe(spec("restore", size=32, templates=FFHQ), restorer),
        ),
    )


class IgnoringLatents(nn.Module):
    """A swap graph that changes every face in the same way."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, faces: Tensor, latents: Tensor) -> Tensor:
        swapped: Tensor = self.network(faces)
        return swapped


def small_recipe() -> Recipe:
    """Every real architecture but the detector's, which takes long to export: narrow and small."""
    return Recipe(
        "small",
        "Narrow networks.",
        (
            ONE_FACE,
            StageRecipe(
                spec("identify", size=112, templates=FRONTAL, latent=16),
                partial(ArcFace, 16, layers=(1, 1, 1, 1), width=0.125),
                partial(Identify, takes=IMAGENET),
                "simswap_arcface",
            ),
            StageRecipe(
                spec("swap", size=64, templates=FRONTAL, latent=16),
                partial(SimSwap, "224", latent=16, width=0.0625, blocks=1),
                partial(Swap, takes=PLAIN, gives=PLAIN),
                "simswap_224",
            ),
            StageRecipe(
                spec("parse", size=64, templates=FFHQ),
                partial(BiSeNet, width=0.125),
                partial(Parse, takes=IMAGENET),
                "bisenet",
            ),
            StageRecipe(
                spec("restore", size=64, templates=FFHQ, weight=0.5),
                partial(GFPGAN, 64, narrow=0.05, style=16, mapping_layers=1),
                partial(Restore, takes=SYMMETRIC, gives=SYMMETRIC),
                "gfpgan_1_4",
            ),
        ),
    )
