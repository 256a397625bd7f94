"""YuNet, the face detector of libfacedetection, in its sizes n and s.

A backbone of depthwise-separable convolutions, a top-down feature pyramid at strides 8, 16 and 32, and one
anchor-free head per stride. Architecture: W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face
Detector", 2023. Module names are those of the published checkpoints, so that these load strictly.
"""

from collections import OrderedDict
from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from trtswap.errors import InputError

STRIDES = (8, 16, 32)

# Output channels of the backbone's blocks model0..model5; the last three are the levels of the pyramid.
_CHANNELS = {"n": (16, 64, 64, 64, 64, 64), "s": (16, 32, 64, 64, 64, 64)}


class Level(NamedTuple):
    """What the head says about the cells of one stride; the cell at (row, col) looks at pixel (col, row) * stride.

    Attributes:
        cls: [B, 1, h, w], logit: the cell sees a face.
        obj: [B, 1, h, w], logit of how well its box will fit.
        bbox: [B, 4, h, w], centre x, y relative to the cell, in strides, and log of width, height in strides.
        kps: [B, 10, h, w], x, y of five landmarks relative to the cell, in strides.
    """

    cls: Tensor
    obj: Tensor
    bbox: Tensor
    kps: Tensor


class YuNet(nn.Module):
    """YuNet as its checkpoints have it.

    Args:
        size: "n" (75,856 parameters) or "s" (54,608).
        width: factor on the channels of all hidden layers, for narrow variants; 1 is the published network.

    Raises:
        InputError: when there is no such size, or the width is not positive.
    """

    def __init__(self, size: Literal["n", "s"], *, width: float = 1.0) -> None:
        super().__init__()
        if size not in _CHANNELS or width <= 0:
            raise InputError(f"YuNet size {size!r}, width {width}: expected size 'n' or 's' and a width above 0")
        channels = tuple(max(1, round(c * width)) for c in _CHANNELS[size])
        self.backbone = _Backbone(channels)
        self.neck = _Neck(channels[-1])
        self.bbox_head = _Head(channels[-1], share=size == "n")

    def levels(self, images: Tensor) -> list[Level]:
        """The head's output per stride, before the sigmoid.

        Args:
            images: float [B, 3, H, W], **BGR, 0..255**; H and W multiples of 32.

        Returns:
            one ``Level`` for each of ``STRIDES``.
        """
        levels: list[Level] = self.bbox_head(self.neck(self.backbone(images)))
        return levels

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The twelve outputs of the official ONNX files, in their order.

        Args:
            images: as for ``levels``.

        Returns:
            cls, obj (after the sigmoid), bbox, kps; each at strides 8, 16, 32; [B, h * w, C] with C = 1, 1, 4, 10.
        """
        cls, obj, bbox, kps = ([_rows(x) for x in maps] for maps in zip(*self.levels(images), strict=True))
        return (*(x.sigmoid() for x in cls + obj), *bbox, *kps)


class _Backbone(nn.Module):
    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.model0 = _stem(channels[0])
        self.model1 = _block(channels[0], channels[1])
        self.model2 = _block(channels[1], channels[2])
        self.model3 = _block(channels[2], channels[3])
        self.model4 = _block(channels[3], channels[4])
        self.model5 = _block(channels[4], channels[5])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at strides 8, 16 and 32."""
        x = F.max_pool2d(self.model0(x), 2)
        x = F.max_pool2d(self.model2(self.model1(x)), 2)
        at8 = self.model3(x)
        at16 = self.model4(F.max_pool2d(at8, 2))
        at32 = self.model5(F.max_pool2d(at16, 2))
        return at8, at16, at32


class _Neck(nn.Module):
    """Top-down pyramid: what a coarse level has found is added to the finer one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(_separable(channels, channels) for _ in STRIDES)

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        at8, at16, at32 = features
        at32 = self.lateral_convs[2](at32)
        at16 = self.lateral_convs[1](at16 + F.interpolate(at32, scale_factor=2.0, mode="nearest"))
        at8 = self.lateral_convs[0](at8 + F.interpolate(at16, scale_factor=2.0, mode="nearest"))
        return at8, at16, at32


class _Head(nn.Module):
    def __init__(self, channels: int, *, share: bool) -> None:
        super().__init__()
        if share:
            self.multi_level_share_convs = nn.ModuleList(nn.Sequential(_separable(channels, channels)) for _ in STRIDES)
        self.share = share
        self.multi_level_cls = _branches(channels, 1)
        self.multi_level_bbox = _branches(channels, 4)
        self.multi_level_obj = _branches(channels, 1)
        self.multi_level_kps = _branches(channels, 10)

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> list[Level]:
        levels = []
        for i, x in enumerate(features):
            if self.share:
                x = self.multi_level_share_convs[i](x)  # noqa: PLW2901
            branches = (self.multi_level_cls, self.multi_level_obj, self.multi_level_bbox, self.multi_level_kps)
            levels.append(Level(*(branch[i](x) for branch in branches)))
        return levels


def _separable(channels_in: int, channels_out: int) -> nn.Sequential:
    """Pointwise, then depthwise convolution, batch norm and ReLU."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels_in, channels_out, 1),
            conv2=nn.Conv2d(channels_out, channels_out, 3, padding=1, groups=channels_out),
            bn=nn.BatchNorm2d(channels_out),
            relu=nn.ReLU(),
        )
    )


def _stem(channels: int) -> nn.Sequential:
    """The first block, which halves the resolution."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, channels, 3, stride=2, padding=1),
            bn1=nn.BatchNorm2d(channels),
            relu=nn.ReLU(),
            conv2=_separable(channels, channels),
        )
    )


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(conv1=_separable(channels_in, channels_in), conv2=_separable(channels_in, channels_out))
    )


def _branches(channels_in: int, channels_out: int) -> nn.ModuleList:
    """The last, linear layers of the head, one per stride."""
    return nn.ModuleList(
        nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(channels_in, channels_out, 1),
                conv2=nn.Conv2d(channels_out, channels_out, 3, padding=1, groups=channels_out),
            )
        )
        for _ in STRIDES
    )


def _rows(maps: Tensor) -> Tensor:
    """[B, C, h, w] to [B, h * w, C]."""
    return maps.flatten(2).transpose(1, 2)
