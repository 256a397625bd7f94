"""The identity network of SimSwap: an improved residual network with squeeze-and-excitation, trained with ArcFace.

Architecture: Deng et al., 2018, arXiv:1801.07698 (IR units), and Hu et al., 2017, arXiv:1709.01507 (SE). Module names
follow ``simswap_arcface.pth``, so that it loads strictly.
"""

from collections.abc import Sequence

from torch import Tensor, nn

SE_REDUCTION = 16


class ArcFace(nn.Module):
    """Turns an aligned face into an identity latent.

    Input: float [N, 3, S, S], RGB in 0..1, less the ImageNet mean (0.485, 0.456, 0.406), over the ImageNet
    deviation (0.229, 0.224, 0.225), S = ``size``.
    Output: float [N, latent], *not* normalised; SimSwap divides it by its L2 norm.

    The defaults fit the official checkpoint: an IR-SE ResNet-101 of 52,193,215 parameters.

    Args:
        latent: length of a latent.
        layers: residual units at each of the four strides.
        width: multiplies every channel count.
        size: side of the input in pixels.
    """

    def __init__(
        self, latent: int = 512, *, layers: Sequence[int] = (3, 4, 23, 3), width: float = 1.0, size: int = 112
    ) -> None:
        super().__init__()
        base = round(64 * width)
        self.conv1 = nn.Conv2d(3, base, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.prelu = nn.PReLU()
        self.maxpool = nn.MaxPool2d(2)
        self.layer1 = units(base, base, layers[0], stride=1)
        self.layer2 = units(base, 2 * base, layers[1], stride=2)
        self.layer3 = units(2 * base, 4 * base, layers[2], stride=2)
        self.layer4 = units(4 * base, 8 * base, layers[3], stride=2)
        self.bn2 = nn.BatchNorm2d(8 * base)
        self.dropout = nn.Dropout()
        self.fc = nn.Linear(8 * base * last_side(size) ** 2, latent)
        self.bn3 = nn.BatchNorm1d(latent)

    def forward(self, faces: Tensor) -> Tensor:
        """Latents [N, latent]."""
        x = self.maxpool(self.prelu(self.bn1(self.conv1(faces))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.dropout(self.bn2(x))
        latents: Tensor = self.bn3(self.fc(x.flatten(1)))
        return latents


def last_side(size: int) -> int:
    """Side of the last feature map: the stem drops the border and halves, three strides halve and round up."""
    side = (size - 2) // 2
    for _ in range(3):
        side = (side + 1) // 2
    return side


def units(inputs: int, outputs: int, count: int, stride: int) -> nn.Sequential:
    """``count`` residual units, of which the first changes the channels and the size."""
    return nn.Sequential(Unit(inputs, outputs, stride), *(Unit(outputs, outputs, stride=1) for _ in range(count - 1)))


class Unit(nn.Module):
    """Residual unit of an IR-SE network. One PReLU slope serves both activations, as in the checkpoint."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.se = SqueezeExcitation(outputs)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.prelu(self.bn1(self.conv1(self.bn0(x))))
        residual = self.se(self.bn2(self.conv2(residual)))
        result: Tensor = self.prelu(residual + self.downsample(x))
        return result


class SqueezeExcitation(nn.Module):
    """Weights each channel by a gate in 0..1 that two linear layers compute from the channel means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // SE_REDUCTION)
        self.fc = nn.Sequential(nn.Linear(channels, hidden), nn.PReLU(), nn.Linear(hidden, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        gates: Tensor = self.fc(x.mean((2, 3)))
        return x * gates[:, :, None, None]
