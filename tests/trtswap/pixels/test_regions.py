"""Faces that are cut out and pasted together, as on a GPU, against one after the other; and what either costs.

Tensors on the device "meta" have no values: whatever had to wait for one would fail.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from trtswap.pixels.color import PixelFormat
from trtswap.pixels.frames import Frames, Layer
from trtswap.pixels.geometry import TEMPLATES, align, identity_transform
from trtswap.pixels.regions import layer_order

YUV = PixelFormat("yuv420p", 8, (1, 1), "bt709", False, (0.0, 0.5))
DEEP = PixelFormat("yuv422p10", 10, (1, 0), "bt2020", False)
CANVAS = 128


class Counted(TorchDispatchMode):
    """Counts the kernels that run for tensors of one device, and the values they write."""

    def __init__(self, device: str):
        super().__init__()
        self.device, self.kernels, self.written = device, 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_flatten((args, kwargs, out))[0] if isinstance(t, Tensor)]
        aliases = [r.alias_info for r in func._schema.returns]
        view = any(a is not None and not a.is_write for a in aliases)
        if not view and any(t.device.type == self.device for t in tensors):
            self.kernels += 1
            self.written += sum(t.numel() for t in tree_flatten(out)[0] if isinstance(t, Tensor))
        return out


def textured(fmt: PixelFormat, count: int, height: int, width: int) -> Frames:
    (sx, sy), g = fmt.chroma_shift, torch.Generator().manual_seed(1)
    planes = []
    for h, w in ((height, width), (height >> sy, width >> sx), (height >> sy, width >> sx)):
        coarse = torch.rand(count, 1, h // 6, w // 6, generator=g)
        fine = torch.nn.functional.interpolate(coarse, (h, w), mode="bicubic")[:, 0].clamp(0.1, 0.9)
        planes.append((fine * fmt.peak).round().to(fmt.dtype))
    return Frames((planes[0], planes[1], planes[2]), fmt, identity_transform(), (width, height))


def canvases(sides: list[float], width: int, height: int, size: int = CANVAS) -> Tensor:
    """Transforms into canvases of faces of these sizes, side by side in rows of four, turned a little."""
    points = TEMPLATES["ffhq_512"].scaled(1) - 0.5
    angle = torch.linspace(-0.4, 0.5, len(sides))
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    place = torch.arange(len(sides))
    middle = torch.stack([(place % 4 + 0.5) * width / 4, (place // 4 % 4 + 0.5) * height / 4], 1)
    landmarks = points @ turn.mT * torch.tensor(sides)[:, None, None] + middle[:, None]
    return align(landmarks, ("ffhq_512",), size)


def layers_of(pictures: Tensor) -> list[Layer]:
    size = pictures.shape[-1]
    ramp = torch.linspace(-1, 1, size).abs().neg().add(1).mul(4).clamp(0, 1)
    alpha = (ramp[:, None] * ramp)[None].to(pictures.device)
    return [Layer((0, 0, size, size), picture, alpha) for picture in pictures]


@pytest.mark.parametrize("fmt", [YUV, DEEP], ids=lambda f: f.name)
@pytest.mark.parametrize(
    "sides",
    [[90.0] * 8, [20.0, 60, 110, 300, 90, 16, 31, 700], [1000.0, 640, 90, 470, 2000, 90, 5000, 800]],
    ids=["alike", "mixed", "large"],
)
def test_together_is_one_after_the_other(fmt: PixelFormat, sides: list[float]) -> None:
    """Faces over the frame's edges and over each other are among them."""
    frame, transforms = torch.arange(8) // 3, canvases(sides, 512, 384)
    singly, at_once = textured(fmt, 3, 384, 512), textured(fmt, 3, 384, 512)
    crops = singly.sample(frame, transforms, CANVAS, together=False)
    torch.testing.assert_close(at_once.sample(frame, transforms, CANVAS, together=True), crops, atol=0.1 / 255, rtol=0)
    layers = layers_of(1 - crops)
    before = [p.clone() for p in singly.planes]
    singly.paste(frame, transforms, layers, together=False)
    at_once.paste(frame, transforms, layers, together=True)
    for one, other, old in zip(singly.planes, at_once.planes, before, strict=True):
        assert (one != old).any()
        assert (one.int() - other.int()).abs().max() <= 1
        assert (one != other).float().mean() < 1e-3


def test_layers_that_overlap_keep_their_order() -> None:
    """Three layers over each other, the middle one small: the last is on top, wherever the first two are."""
    transforms = torch.stack([torch.tensor([[1.0, 0, -x], [0, 1.0, -y]]) for x, y in ((20, 20), (60, 50), (90, 30))])
    colours = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]])
    pictures = colours[:, :, None, None].expand(3, 3, 96, 96)
    layers = [Layer((0, 0, 96, 96), picture, torch.ones(1, 96, 96)) for picture in pictures]
    frames = [textured(YUV, 1, 240, 240) for _ in range(2)]
    for one, together in zip(frames, (False, True), strict=True):
        one.paste(torch.zeros(3, dtype=torch.int64), transforms, layers, together=together)
    for one, other in zip(frames[0].planes, frames[1].planes, strict=True):
        assert torch.equal(one, other)
    red, green, blue = (frames[1].rgb(0)[y, x].argmax() for x, y in ((30, 60), (80, 140), (120, 80)))
    assert (int(red), int(green), int(blue)) == (0, 1, 2)


def test_layers_wait_only_for_those_they_overlap() -> None:
    at = [torch.tensor([[1.0, 0, -x], [0, 1.0, -10]]) for x in (10, 30, 150, 10, 170)]
    grids = [((200, 300), torch.stack(at))]
    order = layer_order([0, 0, 0, 1, 0], [(0, 0, 50, 50)] * 5, grids)
    assert order == [[0, 2, 3], [1, 4]]


@pytest.mark.parametrize("fmt", [YUV, replace(YUV, transfer="pq", primaries="bt2020")], ids=["sdr", "pq"])
@pytest.mark.parametrize("sides", [[110.0], [15.0, 120, 60, 30]], ids=["alike", "mixed"])
def test_launches_do_not_grow_with_faces(sides: list[float], fmt: PixelFormat) -> None:
    def launches(faces: int) -> int:
        transforms = canvases(sides * (faces // len(sides)), 1024, 1024)
        frames = textured(fmt, 2, 1024, 1024).to("meta")
        frame = torch.arange(faces) % 2
        with Counted("meta") as counted:
            crops = frames.sample(frame, transforms, CANVAS)
            frames.paste(frame, transforms, layers_of(crops))
        return counted.kernels - faces  # but for the test's own layers

    assert launches(16) < 1.5 * launches(4)
    assert launches(16) < (200 if fmt is YUV else 220) * len(sides)


def work(side: float, canvas: int, size: tuple[int, int]) -> int:
    """Values written for a face of ``side`` pixels in the middle of a frame."""
    height, width = size
    frames = textured(YUV, 1, height, width)
    points = (TEMPLATES["ffhq_512"].scaled(1) - 0.5) * side + torch.tensor([width / 2, height / 2])
    transforms = align(points[None], ("ffhq_512",), canvas)
    with Counted("cpu") as counted:
        crops = frames.sample(torch.tensor([0]), transforms, canvas)
        frames.paste(torch.tensor([0]), transforms, layers_of(crops))
    return counted.written


@pytest.mark.parametrize("canvas", [256, 512])
def test_a_small_face_costs_no_more_than_a_large_one(canvas: int) -> None:
    usual = work(400, canvas, (540, 960))
    for side in (16, 40, 100):
        assert work(side, canvas, (540, 960)) < 1.2 * usual


@pytest.mark.parametrize("canvas", [64, 256])
def test_what_a_large_face_costs_goes_with_its_pixels(canvas: int) -> None:
    """Reading them, and writing them; a pass of a blur for each of so many pixels would be a hundred times that."""
    size = (1080, 1920)
    assert work(1600, canvas, size) < 40 * size[0] * size[1] + 60 * canvas**2


def test_a_huge_picture_is_read_once() -> None:
    rgb = torch.randint(0, 256, (1, 3000, 4000, 3), dtype=torch.uint8)
    planes = rgb.unbind(3)
    frames = Frames((planes[0], planes[1], planes[2]), PixelFormat("rgb24"), identity_transform(), (4000, 3000))
    transforms = align((TEMPLATES["ffhq_512"].scaled(2800) + 90)[None], ("arcface_112_v2",), 112)
    with Counted("cpu") as counted:
        frames.sample(torch.tensor([0]), transforms, 112)
    assert counted.written < 3 * rgb.numel()


def test_interleaved_planes_are_shrunk_as_separate_ones_are() -> None:
    rgb = torch.randint(0, 256, (2, 211, 307, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    make: Callable[..., Frames] = lambda *p: Frames(p, PixelFormat("rgb24"), identity_transform(), (307, 211))  # noqa: E731
    together, apart = make(*rgb.unbind(3)), make(*(p.contiguous() for p in rgb.unbind(3)))
    for size in (64, 96, 1000):
        assert torch.equal(together.resized(size)[0], apart.resized(size)[0])
    with Counted("cpu") as counted:
        together.resized(64)
    assert counted.written < rgb.numel()
