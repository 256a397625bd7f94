"""A contact sheet of avatars: python -m export.avatar.renderer.sheet SHEET.png [--first 0] [--count 24]"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from trtswap.canvas.parse import CLASSES

from .color import as_bytes
from .noise import Noise
from .render import Avatars, Renderer
from .scene import sample_scene


def tile(avatars: Avatars, index: int, *, truth: bool) -> Image.Image:
    """One picture; with ``truth``, box and landmarks are drawn on it and its labels stand beside it."""
    pixels = as_bytes(avatars.images[index]).movedim(0, -1).numpy()
    image = Image.fromarray(pixels)
    if not truth:
        return image
    draw = ImageDraw.Draw(image)
    draw.rectangle(avatars.boxes[index].tolist(), outline=(0, 255, 0))
    for x, y in avatars.landmarks[index].tolist():
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), outline=(255, 0, 0))
    colours = np.random.default_rng(3).integers(40, 255, (len(CLASSES), 3), dtype=np.uint8)
    colours[0] = 0
    both = Image.new("RGB", (2 * image.width, image.height))
    both.paste(image, (0, 0))
    both.paste(Image.fromarray(colours[avatars.labels[index].numpy()]), (image.width, 0))
    return both


def sheet(tiles: list[Image.Image], columns: int) -> Image.Image:
    wide, high = tiles[0].size
    page = Image.new("RGB", (wide * columns, high * -(-len(tiles) // columns)))
    for i, image in enumerate(tiles):
        page.paste(image, (i % columns * wide, i // columns * high))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--truth", action="store_true")
    options = parser.parse_args()
    renderer = Renderer(Noise(), height=options.size, width=options.size)
    scene = sample_scene(range(options.first, options.first + options.count))
    avatars = renderer.render(scene)
    tiles = [tile(avatars, i, truth=options.truth) for i in range(options.count)]
    sheet(tiles, options.columns).save(options.sheet)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
