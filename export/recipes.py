"""What goes into each pack that trtswap can export: networks, checkpoints, conventions, sizes. Plain data.

Where a checkpoint's conventions come from: the project's notes on the published inference code of each network.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from torch import nn

from trtswap.errors import CheckpointError, ExportError
from trtswap.export.checkpoints import Checkpoint, own_checkpoint, resolve
from trtswap.export.contract import IMAGENET, PLAIN, SYMMETRIC, Identify, Normalisation, Parse, Restore, Swap
from trtswap.export.detect import DetectGraph
from trtswap.export.meshswap.graphs import Encode, MeshSwap, code_length
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
BLOCK = 16  # pixels; SimSwap's generators take crops of a multiple of this
DETECTORS: Mapping[str, Literal["n", "s"]] = MappingProxyType({"yunet_n": "n", "yunet_s": "s"})
CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "detect": tuple(DETECTORS),
        "identify": ("simswap_arcface", "simswap_arcface_pickle"),
        "restore": ("gfpgan_1_4", "gfpgan_1_3", "gfpgan_1_2"),
    }
)
"""Published checkpoints that the network of a stage takes, the recipes' own first. Every GFPGAN since 1.2 is one
network; both files of SimSwap's identity network hold the same numbers."""
FACE = 0.7
"""Lowest score of YuNet's that counts as a face.

Measured on 95 pictures without faces (19 of scikit-image's and scikit-learn's, among them gravel, grass, coins, text,
at 5 sizes), both networks alike: 22 false faces at 0.6, 9 at 0.7, 2 at 0.8 (yunet_s: 0). Upright faces of three people,
10 to 256 pixels wide, have 0.84 to 0.95 (yunet_s: from 0.75); turned by 45 to 315 degrees 0.3 to 0.9, of which a tenth
lies between 0.6 and 0.7.
"""
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
        checkpoint: its weights: a name in the manifest, or a file of the user's; None for a network that has nothing
            to learn.
        file: of the checkpoint, where it is not to be looked for.
    """

    spec: StageSpec
    network: Callable[[], nn.Module]
    graph: Callable[..., nn.Module] = lambda network: network
    checkpoint: str | Checkpoint | None = None
    file: Path | None = None


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

    def using(self, stage: str, checkpoint: str | Path, *, allow_unknown_hash: bool = False) -> "Recipe":
        """The same pack with other weights in one of its networks.

        Args:
            stage: whose network.
            checkpoint: one of ``CHOICES``, or a file: of a published checkpoint or of one's own.
            allow_unknown_hash: take a file that is none of the published.

        Raises:
            ExportError: the stage has nothing to learn, or no such choice.
            CheckpointError: there is no such file, or it is none of the published.
        """
        old = self._learned(stage)
        choices = CHOICES.get(stage, (resolve(old.checkpoint or "").name,))
        if str(checkpoint) in choices:
            chosen: str | Checkpoint = str(checkpoint)
            file = None
        else:
            file = Path(checkpoint)
            chosen = self._of_file(stage, file, choices, allow_unknown_hash=allow_unknown_hash)
        network = partial(YuNet, DETECTORS[chosen]) if isinstance(chosen, str) and chosen in DETECTORS else old.network
        return self._with(replace(old, network=network, checkpoint=chosen, file=file))

    def with_swap_size(self, size: int) -> "Recipe":
        """The same pack, whose swap network takes another size of crop, as one that was trained with another.

        Args:
            size: side of the crop, pixels.

        Raises:
            ExportError: the swap network is no generator of SimSwap's, or does not take that size.
        """
        if size % BLOCK or not 4 * BLOCK <= size <= 64 * BLOCK:
            raise ExportError(
                f"size is {size}, expected a multiple of {BLOCK} from {4 * BLOCK} to {64 * BLOCK} pixels."
            )
        if all(s.spec.name != "swap" or s.checkpoint is None for s in self.stages):
            raise ExportError(f"size is {size}, but pack {self.name} has no swap network with weights. Leave it out.")
        swap = self._learned("swap")
        return self._with(replace(swap, spec=replace(swap.spec, size=size)))

    def _learned(self, stage: str) -> StageRecipe:
        learned = {s.spec.name: s for s in self.stages if s.checkpoint is not None}
        if stage not in learned:
            raise ExportError(
                f"pack {self.name} has no stage {stage!r} with weights; expected one of {', '.join(learned)}."
            )
        return learned[stage]

    def _with(self, stage: StageRecipe) -> "Recipe":
        return replace(self, stages=tuple(stage if s.spec.name == stage.spec.name else s for s in self.stages))

    def _of_file(self, stage: str, file: Path, choices: Sequence[str], *, allow_unknown_hash: bool) -> str | Checkpoint:
        """What a file is: a published checkpoint, or one's own in the format of the stage's usual one."""
        if not file.is_file():
            raise CheckpointError(
                f"stage {stage}: there is no checkpoint and no file {str(file)!r}; expected a file, or one of "
                f"{', '.join(choices)}."
            )
        if known := next((name for name in choices if resolve(name).mismatch(file) is None), None):
            return known
        if file.suffix.lower() == ".onnx":
            raise CheckpointError(
                f"stage {stage}: {file} is an ONNX graph, expected a checkpoint; trtswap pack wrap takes such files."
            )
        own = own_checkpoint(file, like=resolve(choices[0]))
        if not allow_unknown_hash:
            raise CheckpointError(
                f"stage {stage}: {file} is none of the published checkpoints ({', '.join(choices)}): its sha256 is "
                f"{own.sha256}. If you trust it, as one that you trained, say so: --allow-unknown-hash."
            )
        return own


_ALIGNED = ("identify", "swap")  # SimSwap aligns the source as it aligns the target


def _posed(stage: StageRecipe) -> StageRecipe:
    return replace(stage, spec=replace(stage.spec, templates=POSES))


def spec(name: str, *, size: int, templates: tuple[str, ...] = (), latent: int = 0, weight: float = 1.0) -> StageSpec:
    """A stage that has no file yet."""
    return StageSpec(name, Path(f"{name}.onnx"), "", size=size, templates=templates, latent=latent, weight=weight)


def detect(checkpoint: str, *, size: int = 640, threshold: float = FACE, max_faces: int = 64) -> StageRecipe:
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


def mesh(*, size: int = 320) -> Recipe:
    """A swap of real faces that learns nothing but where their points are."""
    measured = replace(spec("encode", size=size, templates=FFHQ, latent=code_length(size)), points=True)
    swapped = replace(spec("swap", size=size, templates=FFHQ, latent=code_length(size)), points=True)
    return Recipe(
        "mesh",
        "Real faces without a learned swap network: the source's picture is warped onto the points of each face, in "
        "its light. A plausible face, not a sure likeness.",
        (
            detect("yunet_n"),
            thumbnail(8),
            StageRecipe(replace(measured, average="nearest"), partial(Encode, size)),
            StageRecipe(replace(swapped, mask=True, visible=True, likeness=0.25), partial(MeshSwap, size)),
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
            mesh(),
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
