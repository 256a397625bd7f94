"""A contact sheet of what a pack makes of one picture: a network that is wrapped wrongly shows it at a glance."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from trtswap.canvas.parse import CLASSES
from trtswap.errors import SourceError
from trtswap.model.pack import Pack
from trtswap.options import SwapOptions
from trtswap.pictures.arrays import read_image
from trtswap.session.observers import Observer
from trtswap.swapper import Swapper

TILE, GAP, TEXT = 256, 12, 22  # pixels
_SHOWN = {"swap": "swapped", "parse": "labels", "occlude": "visible", "restore": "restored"}


class FirstRows(Observer):
    """Keeps the first row that each graph is given and gives."""

    def __init__(self) -> None:
        self.given: dict[str, Mapping[str, Tensor]] = {}
        self.made: dict[str, Mapping[str, Tensor]] = {}

    def ran(self, stage: str, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> None:
        for kept, tensors in ((self.given, inputs), (self.made, outputs)):
            kept.setdefault(stage, {name: tensor[0].float().cpu() for name, tensor in tensors.items()})


def contact_sheet(pack: Pack, picture: Path) -> Image.Image:
    """The picture, its largest face swapped with its own identity, and what each graph was given and gave.

    Raises:
        SourceError: the picture cannot be read, or has no face.
    """
    seen = FirstRows()
    with Swapper(pack, backend="onnxruntime", device="cpu", options=SwapOptions(faces="largest")) as swapper:
        who = swapper.identity(picture, pick="largest")
        before = read_image(picture)
        after = swapper.swap(before[None].numpy(), who, observers=[seen])[0]
    if "swap" not in seen.given:
        raise SourceError(f"{picture}: its face is too small to be swapped.")
    tiles = [("picture", Image.fromarray(before.numpy())), *_stages(seen), ("result", Image.fromarray(after))]
    return _arranged(tiles)


def _stages(seen: FirstRows) -> Iterator[tuple[str, Image.Image]]:
    for stage, output in _SHOWN.items():
        if stage not in seen.made:
            continue
        yield f"{stage} takes", _as_picture(seen.given[stage]["faces"])
        yield f"{stage} gives", _as_picture(seen.made[stage][output])
        if "mask" in seen.made[stage]:
            yield f"{stage}: mask", _as_picture(seen.made[stage]["mask"])


def _as_picture(tensor: Tensor) -> Image.Image:
    """RGB or a mask, 0..1, [C, H, W]; or labels [H, W], each class in a colour of its own."""
    if tensor.ndim == 2:
        hues = torch.arange(len(CLASSES)) * 255 // len(CLASSES)
        hue = np.asarray(hues.byte()[tensor.long().clamp(0, len(CLASSES) - 1)])
        bright = np.where(np.asarray(tensor) > 0, 230, 40).astype(np.uint8)
        return Image.merge("HSV", [Image.fromarray(p) for p in (hue, np.full_like(hue, 150), bright)]).convert("RGB")
    levels = (tensor.nan_to_num(0.0).clamp(0, 1) * 255).round().byte().expand(3, -1, -1)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())


def _arranged(tiles: list[tuple[str, Image.Image]]) -> Image.Image:
    columns = min(4, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (GAP + columns * (TILE + GAP), GAP + rows * (TILE + TEXT + GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for i, (title, picture) in enumerate(tiles):
        x, y = GAP + i % columns * (TILE + GAP), GAP + i // columns * (TILE + TEXT + GAP)
        sheet.paste(ImageOps.pad(picture, (TILE, TILE), color="white"), (x, y + TEXT))
        draw.text((x, y), title, fill="black", font=font)
    return sheet
