"""BiSeNet face parsing with a ResNet-18 context path (Yu et al., 2018, arXiv:1808.00897).

Module names follow the checkpoint ``parsing_bisenet.pth`` (also known as ``79999_iter.pth``), so that it loads
strictly.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BiSeNet(nn.Module):
    """Labels every pixel of an aligned face with one of 19 CelebAMask-HQ classes.

    Input: float [N, 3, P, P], RGB in 0..1, less the ImageNet mean (0.485, 0.456, 0.406), over the ImageNet
    deviation (0.229, 0.224, 0.225); P is a multiple of 32, and 512 for the official checkpoint.
    Output: float [N, classes, P, P], unnormalised scores; the label of a pixel is the argmax over the classes.

    The two auxiliary heads ``conv_out16`` and ``conv_out32`` serve training alone: :meth:`heads` runs them,
    :meth:`forward` does not.

    Args:
        classes: number of labels.
        width: multiplies every channel count; 1 fits the official checkpoint (13,300,416 parameters).
    """

    def __init__(self, classes: int = 19, *, width: float = 1.0) -> None:
        super().__init__()
        base = round(64 * width)
        self.cp = ContextPath(base)
        self.ffm = FeatureFusion(4 * base)
        self.conv_out = Head(4 * base, 4 * base, classes)
        self.conv_out16 = Head(2 * base, base, classes)
        self.conv_out32 = Head(2 * base, base, classes)

    def forward(self, faces: Tensor) -> Tensor:
        """Scores [N, classes, P, P] of the main head."""
        spatial, context8, _ = self.cp(faces)
        return enlarge(self.conv_out(self.ffm(spatial, context8)), 8)

    def heads(self, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores [N, classes, P, P] of the main head and of the auxiliary heads at strides 8 and 16."""
        spatial, context8, context16 = self.cp(faces)
        main = self.conv_out(self.ffm(spatial, context8))
        return enlarge(main, 8), enlarge(self.conv_out16(context8), 8), enlarge(self.conv_out32(context16), 16)


def enlarge(scores: Tensor, factor: int) -> Tensor:
    """Bilinear enlargement with the corner pixels in place, by a constant factor rather than to a run-time size."""
    return F.interpolate(scores, scale_factor=float(factor), mode="bilinear", align_corners=True)


class ConvBnRelu(nn.Module):
    """Convolution without bias, batch normalisation, ReLU; the size stays (``kernel`` is odd)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class BasicBlock(nn.Module):
    """Residual block of ResNet-18 (He et al., 2015)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        residual = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.downsample(x) + self.bn2(self.conv2(residual)))


class ResNet18(nn.Module):
    """Feature maps at strides 8, 16 and 32 with 2, 4 and 8 times ``base`` channels."""

    def __init__(self, base: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, base, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.layer1 = nn.Sequential(BasicBlock(base, base, 1), BasicBlock(base, base, 1))
        self.layer2 = nn.Sequential(BasicBlock(base, 2 * base, 2), BasicBlock(2 * base, 2 * base, 1))
        self.layer3 = nn.Sequential(BasicBlock(2 * base, 4 * base, 2), BasicBlock(4 * base, 4 * base, 1))
        self.layer4 = nn.Sequential(BasicBlock(4 * base, 8 * base, 2), BasicBlock(8 * base, 8 * base, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        stride8 = self.layer2(self.layer1(x))
        stride16 = self.layer3(stride8)
        return stride8, stride16, self.layer4(stride16)


class AttentionRefinement(nn.Module):
    """A convolution whose channels are weighted by what they hold on average."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ConvBnRelu(inputs, outputs)
        self.conv_atten = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv(x)
        attention = self.bn_atten(self.conv_atten(features.mean((2, 3), keepdim=True)))
        refined: Tensor = features * attention.sigmoid()
        return refined


class ContextPath(nn.Module):
    """Stride-8 features of the ResNet, and the refined context at strides 8 and 16."""

    def __init__(self, base: int) -> None:
        super().__init__()
        self.resnet = ResNet18(base)
        self.arm16 = AttentionRefinement(4 * base, 2 * base)
        self.arm32 = AttentionRefinement(8 * base, 2 * base)
        self.conv_head32 = ConvBnRelu(2 * base, 2 * base)
        self.conv_head16 = ConvBnRelu(2 * base, 2 * base)
        self.conv_avg = ConvBnRelu(8 * base, 2 * base, kernel=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stride8, stride16, stride32 = self.resnet(x)
        whole_image = self.conv_avg(stride32.mean((2, 3), keepdim=True))
        context32 = self.arm32(stride32) + whole_image
        context16 = self.conv_head32(F.interpolate(context32, scale_factor=2.0, mode="nearest"))
        context8 = self.conv_head16(F.interpolate(self.arm16(stride16) + context16, scale_factor=2.0, mode="nearest"))
        return stride8, context8, context16


class FeatureFusion(nn.Module):
    """Joins spatial and context features, then adds them once more, weighted by channel attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convblk = ConvBnRelu(channels, channels, kernel=1)
        self.conv1 = nn.Conv2d(channels, channels // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(channels // 4, channels, 1, bias=False)

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        features = self.convblk(torch.cat([spatial, context], dim=1))
        attention = self.conv2(F.relu(self.conv1(features.mean((2, 3), keepdim=True))))
        fused: Tensor = features + features * attention.sigmoid()
        return fused


class Head(nn.Module):
    """Class scores from features, at the size of the features."""

    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.conv = ConvBnRelu(inputs, hidden)
        self.conv_out = nn.Conv2d(hidden, classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.conv_out(self.conv(x))
        return scores
