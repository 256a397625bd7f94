"""Trains the face parser on the renderer's own labels.

python -m export.avatar.parse DATA WEIGHTS [--seed 0] [--go-on]
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.canvas.parse import CLASSES
from trtswap.export.networks.bisenet import enlarge

from . import data, narrow, training
from .crops import canvas_transforms, cut, noisy, pictures, recoloured
from .identify import normalised

BATCH = 16


def class_weights(labels: Tensor) -> Tensor:
    """Rare classes count more, by the root of their rarity: float32 [19]."""
    share = torch.bincount(labels.flatten().int(), minlength=len(CLASSES)).float() / labels.numel()
    return (share.clamp(min=1e-5) ** -0.4 / 4).clamp(0.3, 6)


def overlap_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """One minus the soft intersection over union, mean over the classes that the batch shows."""
    shares = scores.softmax(1)
    truth = F.one_hot(labels, len(CLASSES)).movedim(-1, 1).float()
    both = (shares * truth).sum((0, 2, 3))
    either = (shares + truth).sum((0, 2, 3)) - both
    present = truth.sum((0, 2, 3)) > 0
    return 1 - (both[present] / either[present].clamp(min=1)).mean()


def main() -> None:
    options = training.parser(__doc__ or "", steps=1300).parse_args()
    generator = training.start(options)
    renders = data.load(options.data)
    images, landmarks = renders.images.flatten(0, 1), renders.landmarks.flatten(0, 1)
    labels = renders.labels.flatten(0, 1)
    weights = class_weights(labels[::7])
    network = narrow.parser()
    training.begin(network, options, "parse")

    def step(number: int) -> dict[str, Tensor]:
        rows = torch.randint(len(images), (BATCH,), generator=generator)
        transforms = canvas_transforms(noisy(landmarks[rows], generator), narrow.CANVAS)
        faces = recoloured(cut(pictures(images[rows]), transforms, narrow.CANVAS), generator)
        truth = cut(labels[rows, None].float(), transforms, narrow.CANVAS, mode="nearest")[:, 0].round().long()
        spatial, fine, coarse = network.cp(normalised(faces))
        scores = enlarge(network.conv_out(network.ffm(spatial, fine)), 8)
        # The helping heads are compared where they are, at strides 8 and 16, which saves half of a step.
        helping = [
            F.cross_entropy(head(x), truth[:, stride // 2 :: stride, stride // 2 :: stride], weight=weights)
            for head, x, stride in ((network.conv_out16, fine, 8), (network.conv_out32, coarse, 16))
        ]
        return {
            "main": F.cross_entropy(scores, truth, weight=weights),
            "aux": 0.2 * (helping[0] + helping[1]),
            "overlap": overlap_loss(scores[..., ::2, ::2], truth[:, ::2, ::2]),
        }

    training.descend(step, {"parse": network}, folder=options.weights, steps=options.steps, rate=4e-3)


if __name__ == "__main__":
    main()
