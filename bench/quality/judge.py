"""The judge: an identity network that no training of a pack has used.

    python -m bench.quality.judge DATA FOLDER [--seed 77]        # trains it, on export.avatar.data's renders

Another architecture, size and seed than the pack's identity network. It reads off a picture what the renderer was told
of a head. Its weights are ``bench/quality/judge.onnx``.
"""

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from export.avatar import narrow, training
from export.avatar.crops import cut, identify_transforms
from export.avatar.identify import learn
from trtswap.export.contract import IMAGENET, Identify
from trtswap.export.networks.arcface import ArcFace

WEIGHTS = Path(__file__).with_name("judge.onnx")
LATENT, SIZE = narrow.LATENT - 1, 96  # parameters alone, without the constant


def network() -> ArcFace:
    return ArcFace(LATENT, layers=(1, 2, 2, 1), width=0.2, size=SIZE)


class Judge:
    """Latents of faces by the trained judge."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(WEIGHTS), options, providers=["CPUExecutionProvider"])

    def __call__(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """Unit latents [N, LATENT] of pictures float32 [N, 3, H, W], 0..1, by true landmarks [N, 5, 2]."""
        faces = cut(images, identify_transforms(landmarks, SIZE), SIZE, oversample=2).clamp(0, 1)
        found: np.ndarray = self.session.run(None, {"faces": faces.numpy()})[0]
        return torch.from_numpy(found)


def main() -> None:
    options = training.parser(__doc__ or "", steps=3000).parse_args()
    generator = training.start(options)
    judge = network()
    learn(judge, "judge", options, generator, size=SIZE, tone=0.06)
    graph = Identify(judge, takes=IMAGENET).eval()
    faces = {"faces": torch.rand(2, 3, SIZE, SIZE)}
    torch.onnx.export(
        graph, (faces["faces"],), str(WEIGHTS), input_names=["faces"], output_names=["latents"], opset_version=19,
        dynamic_shapes=({0: torch.export.Dim("N")},), external_data=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
