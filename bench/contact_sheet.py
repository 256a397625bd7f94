"""A picture of a swap: source | target | result | truth around what changed, for frames spread over the video.

python bench/contact_sheet.py SOURCE TARGET RESULT SHEET.jpg [TRUTH]
"""

import sys
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont

from trtswap.pictures.arrays import read_image
from trtswap.video.reader import VideoReader

ROWS, HEIGHT, NOISE, GAP, TITLE = 5, 320, 24, 16, 44
TITLES = ("source", "target", "result", "rendered truth")


def spread_frames(video: Path, count: int) -> list[Image.Image]:
    """Frames from the middle of ``count`` equal parts of a video."""
    with VideoReader(video, batch_size=1) as reader:
        total = reader.info.frame_count or sum(1 for _ in VideoReader(video, batch_size=1))
    wanted = {int((i + 0.5) * total / count) for i in range(count)}
    with VideoReader(video, batch_size=1) as reader:
        frames = islice(reader, max(wanted) + 1)
        return [Image.fromarray(f.rgb(0).numpy()) for i, f in enumerate(frames) if i in wanted]


def changed_square(before: Image.Image, after: Image.Image) -> tuple[int, int, int, int]:
    """A square around the largest face that differs by more than coding noise, twice as wide and inside of the picture;
    the whole picture if nothing does.
    """
    changed = np.asarray(ImageChops.difference(before, after).convert("L")) > NOISE
    columns = np.flatnonzero(changed.any(0))
    if not len(columns):
        return (0, 0, *before.size)
    runs = np.split(columns, np.flatnonzero(np.diff(columns) > GAP) + 1)
    run = max(runs, key=lambda run: changed[:, run[0] : run[-1] + 1].sum())
    rows = np.flatnonzero(changed[:, run[0] : run[-1] + 1].any(1))
    side = min(2 * max(run[-1] - run[0], rows[-1] - rows[0]) + 1, *before.size)
    middles = ((run[0] + run[-1]) // 2, (rows[0] + rows[-1]) // 2)
    x, y = (int(min(max(m - side // 2, 0), e - side)) for m, e in zip(middles, before.size, strict=True))
    return (x, y, x + int(side), y + int(side))


def fitted(image: Image.Image) -> Image.Image:
    return image.resize((round(image.width * HEIGHT / image.height), HEIGHT), Image.Resampling.LANCZOS)


def main() -> None:
    source, target, result, sheet, *truth = map(Path, sys.argv[1:])
    left = fitted(Image.fromarray(read_image(source).numpy()))
    videos = [spread_frames(video, ROWS) for video in (target, result, *truth)]
    rows = []
    for frames in zip(*videos, strict=True):
        box = changed_square(frames[0], frames[1])
        rows.append((left, *(fitted(frame.crop(box)) for frame in frames)))
    width = max(sum(image.width for image in row) for row in rows) + 10 * (len(rows[0]) - 1)
    page = Image.new("RGB", (width, TITLE + len(rows) * (HEIGHT + 10) - 10), "white")
    for number, row in enumerate(rows):
        x = 0
        for title, image in zip(TITLES, row, strict=False):
            page.paste(image, (x, TITLE + number * (HEIGHT + 10)))
            if number == 0:
                where = (x + image.width // 2, TITLE // 2)
                ImageDraw.Draw(page).text(where, title, "black", ImageFont.load_default(24), anchor="mm")
            x += image.width + 10
    page.save(sheet, quality=88)
    print(sheet)


if __name__ == "__main__":
    main()
