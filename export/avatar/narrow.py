"""The pack's networks: the classes of ``trtswap.export.networks``, narrow and small."""

from pathlib import Path

import torch
from torch import nn

from trtswap.export.networks.arcface import ArcFace
from trtswap.export.networks.bisenet import BiSeNet
from trtswap.export.networks.gfpgan import GFPGAN
from trtswap.export.networks.simswap import SimSwap
from trtswap.export.networks.yunet import YuNet

LATENT = 64
IDENTIFY, SWAP, CANVAS, DETECT = 112, 128, 256, 416  # sides, pixels


def detector() -> YuNet:
    return YuNet("s")


def identifier() -> ArcFace:
    return ArcFace(LATENT, layers=(2, 2, 3, 2), width=0.2, size=IDENTIFY)


def swapper(variant: str = "skips") -> SimSwap:
    return SimSwap(variant, latent=LATENT, width=0.25, blocks=4)


def parser() -> BiSeNet:
    return BiSeNet(width=0.1875)


def restorer() -> GFPGAN:
    """Without noise: a picture of the same face must not change from frame to frame."""
    network = GFPGAN(CANVAS, style=16, mapping_layers=0, channel_multiplier=1, narrow=0.125, residual=True)
    for noise in network.stylegan_decoder.noises.buffers():
        noise.zero_()
    return network


def trained(network: nn.Module, folder: Path, name: str) -> nn.Module:
    """The network with the weights that training left in ``folder/NAME.pt``."""
    network.load_state_dict(torch.load(folder / f"{name}.pt", weights_only=True))
    return network.eval()
