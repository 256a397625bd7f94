"""Stage 3: who a face is."""

import json
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.arguments import expect
from trtswap.backends.runtime import Stage
from trtswap.errors import InputError, SourceError
from trtswap.faces import Faces
from trtswap.faces.dense import in_crop
from trtswap.files import write_whole
from trtswap.model.pack import Pack
from trtswap.pixels.frames import Frames
from trtswap.pixels.geometry import align, scale_of
from trtswap.pixels.transfer import on_device

# Of a face that is lit as usual; beyond it more contrast says nothing.
_FULL_CONTRAST = 0.1

FORMAT = "trtswap identity 1"
"""What a saved identity says of itself."""


class Identifier:
    """Turns faces into identity latents with a pack's identify graph, or into codes with its encode graph.

    Args:
        stage: one of the two.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __call__(self, frames: Frames, faces: Faces) -> Tensor:
        """Latents of N faces: float32 [N, D] on the engine's device, L2-normalised; codes as the graph gives them."""
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
        measured = {"points": on_device(in_crop(faces.points, transforms), crops.device)} if spec.points else {}
        return self.stage.rows(faces=crops, **measured)[spec.outputs[0].name], clearness


def average(latents: Tensor, how: str = "unit") -> Tensor:
    """One identity from several pictures: the mean of [I, D], which ``unit`` makes a unit vector [D]; with ``nearest``
    all of them, as they are.

    Args:
        latents: of one picture each.
        how: one of :data:`~trtswap.model.pack.AVERAGES`.

    Raises:
        InputError: there are several, of which none is to be made one.
    """
    if how == "none" and len(latents) > 1:
        raise InputError(
            f"{len(latents)} pictures were given, but the swap network of this pack takes the source's picture itself, "
            "which cannot be averaged. Give the best one."
        )
    if how == "nearest" and len(latents) > 1:
        return latents
    return F.normalize(latents.mean(0), dim=0) if how == "unit" else latents.mean(0)


def similarity(latents: Tensor, references: Tensor) -> Tensor:
    """Cosine of every latent [N, D] to every reference [R, D]: float32 [N, R], -1..1."""
    return torch.clamp(F.normalize(latents, dim=1) @ F.normalize(references, dim=1).T, -1, 1)


@dataclass(frozen=True)
class Identity:
    """Who to show, or whom to look for.

    Attributes:
        latent: float32 [D], L2-normalised: by it people are told apart.
        names: the pictures it was made from, for messages and reports.
        pack: name of the pack whose identify graph made it, for messages.
        graph: SHA-256 of that graph. Empty for a latent of one's own making, of which only the length can be checked.
        code: float32 [D'], what the swap graph of a pack with an encode graph takes; None: it takes the latent.
            [I, D'] where the pack keeps that of each of I pictures, and takes the one whose pose is nearest.
        poses: float32 [I, 2], yaw and pitch of these pictures, degrees; None for one.
        coder: SHA-256 of that encode graph; empty where there is none, or for a code of one's own making.
        doubts: what speaks against the pictures, one sentence each with a picture's name; not saved.
    """

    latent: Tensor
    names: tuple[str, ...] = ()
    pack: str = ""
    graph: str = ""
    code: Tensor | None = None
    coder: str = ""
    doubts: tuple[str, ...] = ()
    poses: Tensor | None = None

    @property
    def source(self) -> Tensor:
        """What the swap graph takes: float32 [D]; [I, D] where the pack keeps several pictures."""
        return self.latent if self.code is None else self.code

    def check(self, pack: Pack) -> None:
        """Refuse an identity that a pack's swap graph would take for somebody else.

        Raises:
            InputError: another identify graph made it, or its latent has another length; names both packs.
        """
        expect("pack", pack, Pack, "a loaded Pack")
        stage = pack.stages["identify"]
        for row in (self.latent, *(() if self.code is None else (self.code,))):
            most = 2 if row is self.code and pack.coder.average == "nearest" else 1
            if not isinstance(row, Tensor) or not 1 <= row.ndim <= most or row.is_meta:
                raise InputError(f"an identity has a {type(row).__name__} in it, expected one row of float32 [D].")
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

        self._check_code(who, pack)
        self._check_poses(who)

    def _check_code(self, who: str, pack: Pack) -> None:
        wanted = pack.stages.get("encode")
        has, wants = "no code" if self.code is None else f"a code of {self.code.shape[-1]} numbers", "none"
        if wanted is not None:
            wants = f"one of {wanted.latent} from its encode graph"
        fits = self.code is None if wanted is None else self.code is not None and self.code.shape[-1] == wanted.latent
        if not fits or (wanted is not None and self.coder not in ("", wanted.sha256)):
            raise InputError(
                f"{who} has {has}; the swap graph of pack {pack.name} takes {wants}. Make it again from the pictures "
                f"with pack {pack.name}."
            )

    def _check_poses(self, who: str) -> None:
        """Several pictures are chosen among by their poses."""
        count = 1 if self.code is None or self.code.ndim == 1 else len(self.code)
        if count > 1 and (not isinstance(self.poses, Tensor) or self.poses.shape != (count, 2)):
            raise InputError(f"{who} has the codes of {count} pictures, expected their poses as well, float32 [I, 2].")

    def to(self, device: torch.device | str) -> "Identity":
        """The same identity on another device.

        Raises:
            InputError: there is no such device here.
        """
        expect("device", device, torch.device | str, "one of PyTorch's")
        try:
            device = torch.empty(0, device=device).device
        except (RuntimeError, TypeError, AssertionError) as e:
            raise InputError(f"device is {device!r}, expected one that PyTorch has here: {e}") from e
        return replace(self, latent=self.latent.to(device), code=None if self.code is None else self.code.to(device))

    def save(self, path: Path | str) -> None:
        """Write it as a safetensors file, which replaces one that is there only once it is whole.

        The tensors ``latent`` and, if there are any, ``code`` and ``poses``, and, as text, the names, the pack's name
        and the graphs' hashes: nothing of the pictures, unless the pack's code is the picture.

        Raises:
            InputError: no path.
            BusyError: somebody else writes this file.
            WriteError: the file cannot be written.
        """
        from safetensors.torch import save  # noqa: PLC0415 - needed here alone

        expect("path", path, str | PathLike, "a path")
        metadata = {"format": FORMAT, "names": json.dumps(self.names), "pack": self.pack, "graph": self.graph}
        found = {"latent": self.latent, "code": self.code, "poses": self.poses}
        tensors = {name: tensor for name, tensor in found.items() if tensor is not None}
        whole = {name: tensor.float().cpu().contiguous() for name, tensor in tensors.items()}
        write_whole(path, save(whole, metadata | {"coder": self.coder}), overwrite=True)

    @staticmethod
    def load(path: Path | str) -> "Identity":
        """Read what :meth:`save` wrote, onto the CPU; nothing in the file is executed.

        Raises:
            InputError: no path.
            SourceError: there is no such file, or it is none of these.
        """
        from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - needed here alone

        expect("path", path, str | PathLike, "a path")
        try:
            if not Path(path).is_file():  # a pipe is waited for without end
                raise FileNotFoundError("there is no such file")
            with safe_open(path, "pt") as file:
                found = file.metadata() or {}
                latent = file.get_tensor("latent")
                there = set(file.keys())
                code, poses = (file.get_tensor(name) if name in there else None for name in ("code", "poses"))
            names = json.loads(found.get("names", "[]"))
        except (OSError, SafetensorError, ValueError, RecursionError) as e:
            raise SourceError(f"{path} cannot be read as an identity: {e}. Expected a file of Identity.save.") from e
        rows = [row for row in (latent, code, poses) if row is not None]
        shaped = latent.ndim == 1 and all(row.dtype == torch.float32 and row.ndim <= 2 for row in rows)
        if found.get("format") != FORMAT or not shaped:
            raise SourceError(
                f"{path} holds no identity: its format is {found.get('format')!r}, its latent {latent.dtype} "
                f"{list(latent.shape)}; expected {FORMAT!r} and one row of torch.float32."
            )
        if not all(row.isfinite().all() for row in rows) or not isinstance(names, list):
            raise SourceError(f"{path} holds a damaged identity: numbers that are not finite, or no names.")
        pack, graph, coder = (found.get(key, "") for key in ("pack", "graph", "coder"))
        return Identity(latent, tuple(map(str, names)), pack, graph, code, coder, poses=poses)
