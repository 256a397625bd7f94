"""Trains the restorer on what the trained swap leaves on the canvas.

    python -m export.avatar.restore DATA WEIGHTS [--seed 0] [--go-on]

Needs ``swap.pt`` and ``identify.pt``, and renders with as many pixels as the canvas has, or there is nothing to restore
(``export.avatar.data --size 384``). The swapped crop is small; on the canvas it is soft, and has the swap's own
mistakes. The truth is the rendered canvas, with the target's mouth, which the pipeline keeps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.canvas.parse import MOUTH
from trtswap.canvas.swap import border_ramp
from trtswap.pixels.geometry import compose, invert

from . import data, narrow, training
from .crops import canvas_transforms, cut, noisy, pictures
from .identify import normalised
from .pairs import PairSampler
from .swap import face_weight, pixel_losses, source_faces

BATCH = 8
PLAIN = 0.15  # share of canvases without a swap: what is good already must stay as it is
SOFT = 0.4  # share of canvases of the truth itself, only soft: of a swap nobody can know where every line should be


def mouth_mask(labels: Tensor) -> Tensor:
    """Soft mask of the mouth: float32 [N, 1, H, W] of labels [N, H, W]."""
    mouth = torch.isin(labels, torch.tensor(MOUTH, dtype=labels.dtype)).float()[:, None]
    return (F.avg_pool2d(mouth, 9, 1, 4) * 2).clamp(0, 1)


def softened(crops: Tensor, strength: Tensor) -> Tensor:
    """Crops [N, 3, S, S], each a mixture of itself and its blur over five pixels by its strength [N, 1, 1, 1]."""
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    weight = torch.outer(kernel, kernel).expand(3, 1, 5, 5)
    return crops.lerp(F.conv2d(F.pad(crops, (2, 2, 2, 2), mode="replicate"), weight, groups=3), strength)


class Canvases:
    """Blended canvases as the pipeline makes them, and what they should be."""

    def __init__(self, pairs: PairSampler, swapper: torch.nn.Module, identifier: torch.nn.Module) -> None:
        self.pairs, self.swapper, self.identifier = pairs, swapper, identifier

    @torch.no_grad()
    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Blended and true canvases [N, 3, C, C], and the weights of their pixels [N, 1, C, C]."""
        batch = self.pairs.draw(count)
        landmarks = noisy(batch.landmarks, generator)
        to_swap = canvas_transforms(landmarks, narrow.SWAP)
        to_canvas = canvas_transforms(landmarks, narrow.CANVAS)
        target = pictures(batch.target)
        latents = F.normalize(self.identifier(normalised(source_faces(batch, generator))))
        swapped = self.swapper(cut(target, to_swap, narrow.SWAP, oversample=2), latents).clamp(0, 1)
        true = cut(pictures(batch.truth), to_swap, narrow.SWAP, oversample=2)
        drawn = torch.rand(2, count, 1, 1, 1, generator=generator)
        swapped = torch.where(drawn[0] < SOFT, softened(true, drawn[1]), swapped)
        layers = torch.cat([swapped, border_ramp(narrow.SWAP).expand(count, -1, -1, -1)], 1)
        layers = cut(layers, compose(to_canvas, invert(to_swap)), narrow.CANVAS)
        stack = torch.cat(
            [target, pictures(batch.truth), face_weight(batch.labels, batch.truth_labels), mouth_mask(batch.labels)], 1
        )
        original, truth, weight, mouth = cut(stack, to_canvas, narrow.CANVAS).split([3, 3, 1, 1], 1)
        blended = torch.lerp(original, layers[:, :3], layers[:, 3:] * (1 - mouth))
        plain = (torch.rand(count, generator=generator) < PLAIN).float()[:, None, None, None]
        truth = torch.lerp(truth, original, torch.maximum(mouth, plain))
        return torch.lerp(blended, original, plain), truth, weight


def main() -> None:
    options = training.parser(__doc__ or "", steps=1200).parse_args()
    generator = training.start(options)
    canvases = Canvases(
        PairSampler(data.load(options.data), generator),
        narrow.trained(narrow.swapper(), options.weights, "swap"),
        narrow.trained(narrow.identifier(), options.weights, "identify"),
    )
    network = narrow.restorer()
    for layer in (network.stylegan_decoder.to_rgb1, *network.stylegan_decoder.to_rgbs):
        torch.nn.init.zeros_(layer.modulated_conv.weight)  # the first result is the canvas itself
    training.begin(network, options, "restore")
    noise_weights = [m.weight for m in (network.stylegan_decoder.style_conv1, *network.stylegan_decoder.style_convs)]
    for weight in noise_weights:
        weight.requires_grad_(False)

    def step(number: int) -> dict[str, Tensor]:
        blended, truth, weight = canvases.draw(BATCH, generator)
        made = (network((blended * 2 - 1).contiguous(memory_format=torch.channels_last)) + 1) / 2
        return pixel_losses(made, truth, weight)

    training.descend(step, {"restore": network}, folder=options.weights, steps=options.steps, rate=2e-3)


if __name__ == "__main__":
    main()
