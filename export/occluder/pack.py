"""The trained occluder to the graph that ships: python -m export.occluder.pack WEIGHTS trtswap/packs/shared"""

import argparse
from pathlib import Path

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from export.avatar import narrow
from export.avatar.pack import rounded
from trtswap.export.shared import write_shared
from trtswap.model.pack import StageSpec

from .network import SIZE, OccluderNetwork, Visible
from .scenes import TEMPLATE
from .train import NAME


def write_occluder(weights: Path, folder: Path) -> None:
    """Write ``occlude.onnx``, and its entry in ``stages.toml``; weights are float16, all arithmetic float32."""
    spec = StageSpec("occlude", folder / "occlude.onnx", "", "fp16", size=SIZE, templates=TEMPLATE, points=True)
    network = Visible(rounded(fused(narrow.trained(OccluderNetwork(), weights, NAME)))).eval()
    write_shared(spec, network, folder, weights={})


def fused(network: nn.Module) -> nn.Module:
    """The network without batch normalisation, which is in its convolutions then, so that these can be rounded."""
    for part in network.modules():
        if not isinstance(part, nn.Sequential):
            continue
        first, second = part[0], part[1]
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            part[0], part[1] = fuse_conv_bn_eval(first, second), nn.Identity()
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    write_occluder(options.weights, options.folder)


if __name__ == "__main__":
    main()
