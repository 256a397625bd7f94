"""Frames made small inside a graph, against torch's own."""

import pytest
import torch
import torch.nn.functional as F

from trtswap.export.embed.frames import Opener
from trtswap.export.embed.layout import Layout
from trtswap.export.embed.letterbox import Letterbox, _AnyShrink, _Shrink
from trtswap.pictures.arrays import frames_from_rgb

SIZES = [
    ((720, 1280), (234, 416)),
    ((1080, 1920), (234, 416)),
    ((768, 1366), (234, 416)),
    ((1920, 1080), (416, 234)),
    ((241, 359), (97, 101)),
    ((90, 160), (180, 320)),
    ((120, 160), (120, 160)),
]


def picture(height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height)
    return torch.randint(0, 256, (2, 3, height, width), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(("size", "small"), SIZES)
def test_known_sizes_are_shrunk_to_torchs_own_values(size: tuple[int, int], small: tuple[int, int]) -> None:
    channels = picture(*size)
    wanted = F.interpolate(channels, small, mode="bilinear", antialias=True).float()
    off = (_Shrink(size, small)(channels.float()) - wanted).abs()
    assert float(off.max()) <= 1
    assert float((off > 0).float().mean()) < 1e-3


@pytest.mark.parametrize(("size", "small"), SIZES)
def test_any_sizes_are_shrunk_nearly_so(size: tuple[int, int], small: tuple[int, int]) -> None:
    channels, (height, width) = picture(*size), small
    wanted = F.interpolate(channels, small, mode="bilinear", antialias=True).float()
    found = _AnyShrink(max(small))(channels.float(), torch.tensor([width, height]).float())
    off = (found[:, :, :height, :width] - wanted).abs()
    assert float(off.max()) <= 1
    assert float((off > 0).float().mean()) < 0.01


@pytest.mark.parametrize("known", [True, False])
def test_a_letterbox_is_the_runtimes(known: bool) -> None:
    pixels = picture(360, 500).permute(0, 2, 3, 1).contiguous()
    size = (500, 360) if known else None
    opener = Opener(Layout(size=size))
    images, scale = Letterbox(opener, size, 192)(opener.opened(pixels))
    wanted, transform = frames_from_rgb(pixels, copy=True).resized(192)
    torch.testing.assert_close(scale, transform.diagonal())
    height, width = wanted.shape[2:]
    assert float((images[:, :, :height, :width] - wanted).abs().max()) < 1.01 / 255
    assert float(images[:, :, height:].abs().sum()) == 0
    assert images.shape[2:] == ((height, width) if known else (192, 192))
