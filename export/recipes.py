"""What goes into each pack that trtswap can export: networks, checkpoints, conventions, sizes. Plain data.

Where a checkpoint's conventions come from: the project's notes on the published inference code of each network.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from torch import nn

from trtswap.errors import ExportError
from trtswap.export.contract import IMAGENET, PLAIN, SYMMETRIC, Identify, Normalisation, Parse, Restore, Swap
from trtswap.export.detect import DetectGraph
from trtswap.export.networks.arcface import ArcFace
from trtswap.export.networks.bisenet import BiSeNet
from trtswap.export.networks.gfpgan import GFPGAN
from trtswap.export.networks.simswap import SimSwap
from trtswap.export.networks.yunet import YuNet
from trtswap.export.standin import FixedLabels, Paste, Thumbnail, Unchanged
from trtswap.model.pack import StageSpec

POSES = (
    "arcface_112_v1",
    "arcface_112_v1_right",
    "arcface_112_v1_far_right",
    "arcface_112_v1_left",
    "arcface_112_v1_far_left",
)
FRONTAL = POSES[:1]
FFHQ = ("ffhq_512",)
DETECTORS: Mapping[str, Literal["n", "s"]] = MappingProxyType({"yunet_n": "n", "yunet_s": "s"})
SIMILARITY: Mapping[str, float] = MappingProxyType({"simswap_arcface": 0.34, "w600k_r50": 0.41})
"""Lowest cosine that counts as the same person, by ArcFace checkpoint, as its own project publishes it.

simswap_arcface has the network of foamliu/InsightFace-v2 (SE-LResNet101E-IR), whose figure theta_dist.png gives for
LFW's pairs of different people angles of 86.2 degrees on average with a deviation of 4.8, for those of one person 56.5
and 10.2; its lfw_eval.py parts them at 70.36 degrees, whose cosine is 0.34. Were both distributions normal, 5 of
10,000 strangers would pass for the reference there, and 9 of 100 pictures of the reference would not.
w600k_r50 (InsightFace's buffalo_l): at 0.408 one of a million pairs of different people passes, and 91 % of those of
one person, on ICCV21-MFR's MR-ALL (server/README.md of deepinsight/insightface, commit 7fadd42). No recipe has it; it
is what many people wrap. Neither figure was measured here: the weights are not.
"""


@dataclass(frozen=True)
class StageRecipe:
    """One graph of a pack.

    Attributes:
        spec: what pack.toml will say of it; path, hash and figures come later.
        network: makes the network with arbitrary weights.
        graph: puts the pack contract around the network.
        checkpoint: name of its weights in the manifest; None for a network that has nothing to learn.
    """

    spec: StageSpec
    network: Callable[[], nn.Module]
    graph: Callable[..., nn.Module] = lambda network: network
    checkpoint: str | None = None


@dataclass(frozen=True)
class Recipe:
    """A pack that trtswap can export."""

    name: str
    description: str
    stages: tuple[StageRecipe, ...]

    def with_pose_templates(self) -> "Recipe":
        """The same pack, in which each face takes the best of SimSwap's five poses.

        Raises:
            ExportError: the pack's swap network has no pose templates.
        """
        swap = next(s for s in self.stages if s.spec.name == "swap")
        if swap.spec.templates != FRONTAL:
            raise ExportError(
                f"pack {self.name} aligns with {', '.join(swap.spec.templates)}; pose templates exist only for packs "
                f"that align with {FRONTAL[0]}. Leave out --pose-templates."
            )
        return replace(self, stages=tuple(_posed(s) if s.spec.name in _ALIGNED else s for s in self.stages))

    def with_detector(self, checkpoint: str) -> "Recipe":
        """The same pack with another of ``DETECTORS``.

        Raises:
            ExportError: there is no such detector.
        """
        if checkpoint not in DETECTORS:
            raise ExportError(f"detector is {checkpoint!r}, expected one of {', '.join(DETECTORS)}.")
        return replace(self, stages=tuple(detect(checkpoint) if s.spec.name == "detect" else s for s in self.stages))


_ALIGNED = ("identify", "swap")  # SimSwap aligns the source as it aligns the target


def _posed(stage: StageRecipe) -> StageRecipe:
    return replace(stage, spec=replace(stage.spec, templates=POSES))


def spec(name: str, *, size: int, templates: tuple[str, ...] = (), latent: int = 0, weight: float = 1.0) -> StageSpec:
    """A stage that has no file yet."""
    return StageSpec(name, Path(f"{name}.onnx"), "", size=size, templates=templates, latent=latent, weight=weight)


def detect(checkpoint: str, *, size: int = 640, threshold: float = 0.6, max_faces: int = 64) -> StageRecipe:
    """YuNet with decoding and suppression."""
    found = replace(spec("detect", size=size), threshold=threshold, max_faces=max_faces)
    graph = partial(DetectGraph, max_faces=max_faces)
    return StageRecipe(found, partial(YuNet, DETECTORS[checkpoint]), graph, checkpoint)


def simswap_stages(
    variant: str, checkpoint: str, *, size: int, templates: tuple[str, ...], takes: Normalisation, gives: Normalisation
) -> tuple[StageRecipe, ...]:
    """Detect, identify and swap with one of SimSwap's generators, parse with BiSeNet, restore with GFPGAN 1.4."""
    return (
        detect("yunet_n"),
        StageRecipe(
            replace(
                spec("identify", size=112, templates=templates, latent=512), threshold=SIMILARITY["simswap_arcface"]
            ),
            ArcFace,
            partial(Identify, takes=IMAGENET),
            "simswap_arcface",
        ),
        StageRecipe(
            spec("swap", size=size, templates=templates, latent=512),
            partial(SimSwap, variant),
            partial(Swap, takes=takes, gives=gives),
            checkpoint,
        ),
        StageRecipe(spec("parse", size=512, templates=FFHQ), BiSeNet, partial(Parse, takes=IMAGENET), "bisenet"),
        StageRecipe(
            spec("restore", size=512, templates=FFHQ),
            GFPGAN,
            partial(Restore, takes=SYMMETRIC, gives=SYMMETRIC),
            "gfpgan_1_4",
        ),
    )


def thumbnail(side: int) -> StageRecipe:
    """An identity that is the source's picture itself, ``side`` pixels wide; it tells nobody from anybody else."""
    return StageRecipe(spec("identify", size=112, templates=FRONTAL, latent=3 * side**2), partial(Thumbnail, side))


def fixed_labels(canvas: int) -> StageRecipe:
    """The same labels for every face on a canvas of that size."""
    return StageRecipe(spec("parse", size=canvas, templates=FFHQ), partial(FixedLabels, canvas, FFHQ[0]))


def paste(*, size: int = 224, canvas: int = 512) -> Recipe:
    """The stand-in for a trained swap network; only the detector has weights."""
    side = 112
    return Recipe(
        "paste",
        "Pastes the source's own face, aligned and colour-matched; nothing is learned but the face detector.",
        (
            detect("yunet_n"),
            thumbnail(side),
            StageRecipe(
                spec("swap", size=size, templates=FRONTAL, latent=3 * side**2), partial(Paste, side, size, FRONTAL[0])
            ),
            fixed_labels(canvas),
        ),
    )


def identity(*, size: int = 512, canvas: int = 512) -> Recipe:
    """Swap and restore change nothing: what differs in the output is the runtime's doing."""
    side = 8
    return Recipe(
        "identity",
        "Changes nothing: the swap and restore graphs are a single Identity node. For tests and measurements.",
        (
            detect("yunet_n"),
            thumbnail(side),
            StageRecipe(spec("swap", size=size, templates=FFHQ, latent=3 * side**2), Unchanged),
            fixed_labels(canvas),
            StageRecipe(spec("restore", size=canvas, templates=FFHQ), Unchanged),
        ),
    )


# The generators "224" and "512-beta" take 0..1 as it is and map their own tanh to 0..1; the "fix" generators take and
# give ImageNet-normalised colours.
RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            Recipe(
                "simswap-224",
                "SimSwap's official 224 generator, BiSeNet, GFPGAN 1.4.",
                simswap_stages("224", "simswap_224", size=224, templates=FRONTAL, takes=PLAIN, gives=PLAIN),
            ),
            Recipe(
                "simswap-256",
                "SimSwap's community 256 generator, BiSeNet, GFPGAN 1.4.",
                simswap_stages("fix", "simswap_256", size=256, templates=FRONTAL, takes=IMAGENET, gives=IMAGENET),
            ),
            Recipe(
                "simswap-512-unofficial",
                "SimSwap's community 512 generator, BiSeNet, GFPGAN 1.4.",
                simswap_stages(
                    "fix-deep", "simswap_512_unofficial", size=512, templates=FRONTAL, takes=IMAGENET, gives=IMAGENET
                ),
            ),
            Recipe(
                "simswap-512-beta",
                "SimSwap's official 512 beta generator, BiSeNet, GFPGAN 1.4.",
                simswap_stages("512-beta", "simswap_512_beta", size=512, templates=FFHQ, takes=PLAIN, gives=PLAIN),
            ),
            paste(),
            identity(),
        )
    }
)


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ExportError: there is none; the message lists all.
    """
    if name not in RECIPES:
        raise ExportError(f"there is no recipe {name!r}; expected one of {', '.join(RECIPES)}.")
    return RECIPES[name]
