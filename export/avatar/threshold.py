"""How alike two pictures of one avatar are to the pack's identity graph, and two of different avatars.

    python -m export.avatar.threshold [--pack avatar] [--people 60] [--scenes 3] [--keep FILE]

People and scenes are ones that no training has seen. Faces are found and aligned by the pack itself, as those of a
user's pictures are. The threshold is where a stated share of different people would be taken for each other: swapping a
stranger is worse than missing a face, which is left as it was.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from export.avatar.renderer.color import as_bytes
from export.avatar.renderer.noise import Noise
from export.avatar.renderer.render import Renderer
from export.avatar.renderer.scene import Scene, sample_scene
from trtswap import Swapper
from trtswap.errors import SourceError
from trtswap.faces.identity import similarity

# Below the seeds of training (data.py) and apart from those of bench/quality/heldout.py.
FIRST_PERSON, FIRST_SCENE = 30_000, 40_000
SIZE = 224  # side of the pictures, pixels
FALSE_ACCEPTS = 0.01
"""Share of pairs of different people that may count as one person."""


@dataclass(frozen=True)
class Cosines:
    """Of all pairs of pictures: float32 [P] of one person's, float32 [Q] of different people's."""

    same: Tensor
    different: Tensor

    @staticmethod
    def of(latents: Tensor, people: Tensor) -> "Cosines":
        """From latents [M, D] and the number of each one's person, int64 [M]."""
        one, other = torch.triu_indices(len(people), len(people), 1)
        cosines, alike = similarity(latents, latents)[one, other], people[one] == people[other]
        return Cosines(cosines[alike], cosines[~alike])

    def false_accepts(self, threshold: float) -> float:
        """Share of different people, 0..1, that reach the threshold."""
        return float((self.different >= threshold).double().mean())

    def false_rejects(self, threshold: float) -> float:
        """Share of pairs of one person, 0..1, that do not reach the threshold."""
        return float((self.same < threshold).double().mean())

    def at_false_accepts(self, share: float) -> float:
        """The lowest threshold, in hundredths, that no more than this share of different people reach."""
        return next(t / 100 for t in range(101) if self.false_accepts(t / 100) <= share)

    def at_equal_errors(self) -> float:
        """The threshold, in hundredths, at which both errors come nearest to each other."""
        errors = [abs(self.false_accepts(t / 100) - self.false_rejects(t / 100)) for t in range(101)]
        return errors.index(min(errors)) / 100

    def figures(self, threshold: float) -> dict[str, float]:
        """What pack.toml says of a threshold."""
        found = {"false_accepts": self.false_accepts(threshold), "false_rejects": self.false_rejects(threshold)}
        return {name: float(f"{value:.3g}") for name, value in found.items()}


def scenes(people: int, each: int) -> tuple[Scene, Tensor]:
    """Scenes, and the number of the person in each: all people in their first scene, then all in their second ..."""
    numbers = torch.arange(people).repeat(each)
    seeds = [FIRST_SCENE + i for i in range(len(numbers))]
    return sample_scene(seeds, identity_seeds=[FIRST_PERSON + int(n) for n in numbers], max_yaw_degrees=35.0), numbers


def measured(pack: str, people: int, each: int) -> tuple[Tensor, Tensor]:
    """Latents [M, D] and people [M] of the pictures in which the pack found a face."""
    scene, numbers = scenes(people, each)
    renderer = Renderer(Noise(), height=SIZE, width=SIZE, samples=1)
    latents, found = [], []
    with Swapper(pack, backend="onnxruntime", device="cpu", threads=1) as swapper:
        for i, person in enumerate(numbers.tolist()):
            picture = as_bytes(renderer.render(scene[i : i + 1]).images)[0].movedim(0, -1).contiguous()
            try:
                latents.append(swapper.identity(picture, pick="largest").latent)
            except SourceError:
                continue
            found.append(person)
    return torch.stack(latents), torch.tensor(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", default="avatar")
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--scenes", type=int, default=3, help="pictures of each")
    parser.add_argument("--keep", type=Path, help="keep latents and people in this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    latents, people = measured(options.pack, options.people, options.scenes)
    if options.keep is not None:
        torch.save({"latents": latents, "people": people}, options.keep)
    cosines = Cosines.of(latents, people)
    found = {"pictures": len(people), "pairs": [len(cosines.same), len(cosines.different)]}
    for name, threshold in (
        ("at_false_accepts", cosines.at_false_accepts(FALSE_ACCEPTS)),
        ("at_equal_errors", cosines.at_equal_errors()),
    ):
        found[name] = {"threshold": threshold} | cosines.figures(threshold)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
