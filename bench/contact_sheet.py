"""A picture of a swap: source | target | result | truth around what changed, for frames spread over the video.

python bench/contact_sheet.py SOURCE TARGET RESULT SHEET.jpg [TRUTH]
"""

import sys
from itertools import islice
from pathlib import Path

from PIL import Image, ImageChops

from trtswap.pictures.arrays import read_image
from trtswap.video.reader import VideoReader

ROWS, HEIGHT, NOISE = 5, 320, 24


def spread_frames(video: Path, count: int) -> list[Image.Image]:
    """Frames from the middle of ``count`` equal parts of a video."""
    with VideoReader(video, batch_size=1) as reader:
        total = reader.info.frame_count or sum(1 for _ in VideoReader(video, batch_size=1))
    wanted = {int((i + 0.5) * total / count) for i in range(count)}
    with VideoReader(video, batch_size=1) as reader:
        frames = islice(reader, max(wanted) + 1)
        return [Image.fromarray(f.rgb(0).numpy()) for i, f in enumerate(frames) if i in wanted]


def changed_square(before: Image.Image, after: Image.Image) -> tuple[int, int, int, int]:
    """A square around what differs by more than coding noise, twice as wide; the whole picture if nothing does."""
    box = ImageChops.difference(before, after).convert("L").point(lambda v: 255 * (v > NOISE)).getbbox()
    if box is None:
        return (0, 0, *before.size)
    x, y, half = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2, max(box[2] - box[0], box[3] - box[1])
    return (x - half, y - half, x + half, y + half)


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
    width = max(sum(image.width for image in row) for row in rows) + 20
    page = Image.new("RGB", (width, len(rows) * (HEIGHT + 10) - 10), "white")
    for y, row in enumerate(rows):
        x = 0
        for image in row:
            page.paste(image, (x, y * (HEIGHT + 10)))
            x += image.width + 10
    page.save(sheet, quality=88)
    print(sheet)


if __name__ == "__main__":
    main()
