"""A picture of a swap: source | target | result, for frames spread over the video.

python bench/contact_sheet.py SOURCE TARGET RESULT SHEET.jpg
"""

import sys
from itertools import islice
from pathlib import Path

from PIL import Image

from trtswap.video.images import read_image
from trtswap.video.reader import VideoReader

ROWS, HEIGHT = 5, 240


def spread_frames(video: Path, count: int) -> list[Image.Image]:
    """Frames from the middle of ``count`` equal parts of a video."""
    with VideoReader(video, batch_size=1) as reader:
        total = reader.info.frame_count or sum(1 for _ in VideoReader(video, batch_size=1))
    wanted = {int((i + 0.5) * total / count) for i in range(count)}
    with VideoReader(video, batch_size=1) as reader:
        frames = islice(reader, max(wanted) + 1)
        return [Image.fromarray(f.rgb(0).numpy()) for i, f in enumerate(frames) if i in wanted]


def fitted(image: Image.Image) -> Image.Image:
    return image.resize((round(image.width * HEIGHT / image.height), HEIGHT), Image.Resampling.LANCZOS)


def main() -> None:
    source, target, result, sheet = map(Path, sys.argv[1:])
    left = fitted(Image.fromarray(read_image(source).numpy()))
    rows = [
        (left, fitted(before), fitted(after))
        for before, after in zip(spread_frames(target, ROWS), spread_frames(result, ROWS), strict=True)
    ]
    width = sum(image.width for image in rows[0]) + 20
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
