"""Trained networks to the pack ``avatar``: python -m export.avatar.pack WEIGHTS trtswap/packs/avatar"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from trtswap.export.build import Weights, export_pack
from trtswap.export.contract import IMAGENET, PLAIN, SYMMETRIC, Identify, Parse, Restore, Swap
from trtswap.export.detect import DetectGraph
from trtswap.export.recipes import FFHQ, FRONTAL, Recipe, StageRecipe, spec
from trtswap.model.pack import StageSpec

from . import narrow

Make = Callable[[], nn.Module]
DETECT_THRESHOLD = 0.7
# Where the renderer has its landmarks, from where MediaPipe's face mesh has them: the median of 500 portraits of people
# whom no training has seen, made symmetric; the spread is 0.01 at the eyes and 0.03 elsewhere.
OFFSETS = ((0.004, -0.015), (-0.004, -0.015), (0.0, -0.097), (-0.024, -0.007), (0.024, -0.007))
# A cosine that less than one percent of pairs of different avatars reach, and what it costs: export.avatar.threshold on
# 400 pictures of 100 people whom no training has seen.
SIMILARITY = 0.70
SIMILARITY_FIGURES = {"false_accepts": 0.00824, "false_rejects": 0.0333}
MAX_FACES = 32
MADE_FOR = "rendered heads"
DESCRIPTION = (
    "Small networks trained from scratch on rendered avatars, which have no likeness to anybody. "
    "For trying, testing and measuring trtswap; it does not know real faces."
)


def rounded(network: nn.Module) -> nn.Module:
    """The network with weights that float16 can hold: they compress to 60 %, and FP16 graphs have the same ones."""
    for parameter in network.parameters():
        parameter.data = parameter.data.half().float()
    return network


def recipe(weights: Path) -> Recipe:
    """The stages with the weights in a folder; a restorer only where one has been trained."""

    def stage(
        found: StageSpec, make: Callable[[], nn.Module], graph: Callable[..., nn.Module], name: str
    ) -> StageRecipe:
        return StageRecipe(
            replace(found, made_for=MADE_FOR), lambda: rounded(narrow.trained(make(), weights, name)), graph
        )

    return Recipe(
        "avatar",
        DESCRIPTION,
        (
            stage(
                replace(
                    spec("detect", size=narrow.DETECT), threshold=DETECT_THRESHOLD, max_faces=MAX_FACES, offsets=OFFSETS
                ),
                narrow.detector, partial(DetectGraph, max_faces=MAX_FACES, candidates=128), "detect",
            ),
            stage(
                replace(
                    spec("identify", size=narrow.IDENTIFY, templates=FRONTAL, latent=narrow.LATENT),
                    threshold=SIMILARITY,
                    figures=SIMILARITY_FIGURES,
                ),
                narrow.identifier, partial(Identify, takes=IMAGENET), "identify",
            ),
            stage(
                spec("swap", size=narrow.SWAP, templates=FFHQ, latent=narrow.LATENT),
                narrow.swapper, partial(Swap, takes=PLAIN, gives=PLAIN), "swap",
            ),
            stage(
                spec("parse", size=narrow.CANVAS, templates=FFHQ),
                narrow.parser, partial(Parse, takes=IMAGENET), "parse",
            ),
            *([
                stage(
                    spec("restore", size=narrow.CANVAS, templates=FFHQ),
                    narrow.restorer, partial(Restore, takes=SYMMETRIC, gives=SYMMETRIC), "restore",
                )
            ] if (weights / "restore.pt").exists() else []),
        ),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    export_pack(recipe(options.weights), options.target, Weights(None), overwrite=True, report=print)


if __name__ == "__main__":
    main()
