"""Small packs and networks that export in seconds."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import nn

from trtswap.export.contract import IMAGENET, PLAIN, SYMMETRIC, Identify, Parse, Restore, Swap
from trtswap.export.detect import DetectGraph
from trtswap.export.networks.arcface import ArcFace
from trtswap.export.networks.bisenet import BiSeNet
from trtswap.export.networks.gfpgan import GFPGAN
from trtswap.export.networks.simswap import SimSwap
from trtswap.export.networks.yunet import YuNet
from trtswap.export.recipes import FFHQ, FRONTAL, Recipe, StageRecipe, spec


def small_recipe(restorer: Callable[[], nn.Module] | None = None) -> Recipe:
    """Every real architecture, narrow and small."""
    restorer = restorer or partial(GFPGAN, 64, narrow=0.05, style=16, mapping_layers=1)
    return Recipe(
        "small",
        "Narrow networks.",
        (
            StageRecipe(
                replace(spec("detect", size=640), max_faces=4, threshold=0.5),
                partial(YuNet, "s", width=0.25),
                partial(DetectGraph, candidates=8, max_faces=4),
                "yunet_s",
            ),
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
                restorer,
                partial(Restore, takes=SYMMETRIC, gives=SYMMETRIC),
                "gfpgan_1_4",
            ),
        ),
    )
