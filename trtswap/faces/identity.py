"""Stage 3: who a face is."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.backends.runtime import Stage
from trtswap.errors import InputError, SourceError
from trtswap.faces import Faces
from trtswap.files import write_whole
from trtswap.model.pack import Pack
from trtswap.pixels.frames import Frames
from trtswap.pixels.geometry import align, scale_of

# Of a face that is lit as usual; beyond it more contrast says nothing.
_FULL_CONTRAST = 0.1

FORMAT = "trtswap identity 1"
"""What a saved identity says of itself."""


class Identifier:
    """Turns faces into identity latents with a pack's identify graph.

    Args:
        stage: the identify graph.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __call__(self, frames: Frames, faces: Faces) -> Tensor:
        """Latents of N faces: float32 [N, D] on the engine's device, L2-normalised."""
        return self.with_clearness(frames, faces)[0]

    def with_clearness(self, frames: Frames, faces: Faces) -> tuple[Tensor, Tensor]:
        """Latents as a call gives them, and how clearly each face is seen: float32 [N], 0..1, on the same device.

        1 is a face whose crop has a contrast (standard deviation of its brightness) of at least 0.1 and is not
        enlarged; a crop of a face in the dark or far away has less.
        """
        spec = self.stage.spec
        transforms = align(faces.landmarks, spec.templates, spec.size)
        crops = frames.sample(faces.frame_index, transforms, spec.size).clamp_(0, 1)
        contrast = crops.mean(1).flatten(1).std(1)
        enlarged = scale_of(transforms).clamp(min=1).to(contrast.device)
        clearness = (contrast / _FULL_CONTRAST).clamp(max=1) / enlarged
        return self.stage.rows(faces=crops)["latents"], clearness


def average(latents: Tensor) -> Tensor:
    """One identity from several pictures: the mean of [I, D] unit vectors, made a unit vector [D] again."""
    return F.normalize(latents.mean(0), dim=0)


def similarity(latents: Tensor, references: Tensor) -> Tensor:
    """Cosine of every latent [N, D] to every reference [R, D]: float32 [N, R], -1..1."""
    return torch.clamp(F.normalize(latents, dim=1) @ F.normalize(references, dim=1).T, -1, 1)


@dataclass(frozen=True)
class Identity:
    """Who to show, or whom to look for.

    Attributes:
        latent: float32 [D], L2-normalised.
        names: the pictures it was made from, for messages and reports.
        pack: name of the pack whose identify graph made it, for messages.
        graph: SHA-256 of that graph. Empty for a latent of one's own making, of which only the length can be checked.
    """

    latent: Tensor
    names: tuple[str, ...] = ()
    pack: str = ""
    graph: str = ""

    def check(self, pack: Pack) -> None:
        """Refuse an identity that a pack's swap graph would take for somebody else.

        Raises:
            InputError: another identify graph made it, or its latent has another length; names both packs.
        """
        stage = pack.stages["identify"]
        who = f"the identity of {', '.join(self.names)}" if self.names else "an identity"
        if self.graph and self.graph != stage.sha256:
            raise InputError(
                f"{who} was made by the identify graph of pack {self.pack} ({self.graph[:12]}…), pack {pack.name} has "
                f"another ({stage.sha256[:12]}…), to which it is somebody else. Make it again from the pictures with "
                f"pack {pack.name}."
            )
        if self.latent.numel() != stage.latent:
            raise InputError(
                f"{who} has a latent of {self.latent.numel()} numbers; pack {pack.name} works with {stage.latent}. "
                "Make it with identity() of a Swapper of this pack."
            )

    def to(self, device: torch.device) -> "Identity":
        """The same identity on another device."""
        return replace(self, latent=self.latent.to(device))

    def save(self, path: Path | str) -> None:
        """Write it as a safetensors file, which replaces one that is there only once it is whole.

        The tensor ``latent`` and, as text, the names, the pack's name and the graph's hash: nothing of the pictures.

        Raises:
            BusyError: somebody else writes this file.
            WriteError: the file cannot be written.
        """
        from safetensors.torch import save  # noqa: PLC0415 - needed here alone

        metadata = {"format": FORMAT, "names": json.dumps(self.names), "pack": self.pack, "graph": self.graph}
        write_whole(path, save({"latent": self.latent.float().cpu().contiguous()}, metadata), overwrite=True)

    @staticmethod
    def load(path: Path | str) -> "Identity":
        """Read what :meth:`save` wrote, onto the CPU; nothing in the file is executed.

        Raises:
            SourceError: there is no such file, or it is none of these.
        """
        from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - needed here alone

        try:
            with safe_open(path, "pt") as file:
                found = file.metadata() or {}
                latent = file.get_tensor("latent")
            names = json.loads(found.get("names", "[]"))
        except (OSError, SafetensorError, json.JSONDecodeError) as e:
            raise SourceError(f"{path} cannot be read as an identity: {e}. Expected a file of Identity.save.") from e
        if found.get("format") != FORMAT or latent.dtype != torch.float32 or latent.ndim != 1:
            raise SourceError(
                f"{path} holds no identity: its format is {found.get('format')!r}, its latent {latent.dtype} "
                f"{list(latent.shape)}; expected {FORMAT!r} and one row of torch.float32."
            )
        if not latent.isfinite().all() or not isinstance(names, list):
            raise SourceError(f"{path} holds a damaged identity: numbers that are not finite, or no names.")
        return Identity(latent, tuple(map(str, names)), found.get("pack", ""), found.get("graph", ""))
