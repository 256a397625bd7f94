"""A patch of a known colour, pasted into a clip and written, is seen in that colour by another decoder (swscale)."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange, Colorspace

from trtswap.pixels.frames import Layer
from trtswap.video.reader import VideoReader
from trtswap.video.writer import VideoWriter, WriteOptions

COLOUR = (192, 64, 32)
# Codes of H.273: matrix, primaries and transfer of BT.709 and of BT.601 (525 lines).
TAGS = {"bt709": (1, 1, 1), "bt601": (6, 6, 6), "bt2020": (9, 9, 14)}
SWSCALE = {"bt709": Colorspace.ITU709, "bt601": Colorspace.ITU601, "bt2020": Colorspace.BT2020}
CASES = [
    (matrix, height, full, pixels)
    for matrix, height in (("bt709", 96), ("bt601", 720), ("bt2020", 720), (None, 720), (None, 576))
    for full in (False, True)
    for pixels in ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")
]


def grey_clip(path: Path, matrix: str | None, height: int, full: bool, pixels: str) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 128, height, pixels
        if matrix is not None:
            context = stream.codec_context
            context.colorspace, context.color_primaries, context.color_trc = TAGS[matrix]
        stream.codec_context.color_range = 2 if full else 1
        frame = av.VideoFrame(128, height, pixels)
        wide = "10" in pixels
        for plane in frame.planes:
            np.frombuffer(plane, np.uint16 if wide else np.uint8)[:] = 512 if wide else 128
        frame.pts = 0
        frame.color_range = 2 if full else 1
        out.mux(stream.encode(frame))
        out.mux(stream.encode())


def seen_as(matrix: str | None) -> np.ndarray:
    """The R'G'B' of COLOUR's light in the file's primaries; by ITU-R BT.2087-0 for BT.2020."""
    if matrix != "bt2020":
        return np.array(COLOUR)
    to_2020 = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    return 255 * (to_2020 @ (np.array(COLOUR) / 255) ** 2.4) ** (1 / 2.4)


@pytest.mark.parametrize(("matrix", "height", "full", "pixels"), CASES)
def test_a_pasted_patch_is_seen_in_its_colour(
    matrix: str | None, height: int, full: bool, pixels: str, tmp_path: Path
) -> None:
    source, target = tmp_path / "grey.mkv", tmp_path / "patch.mkv"
    grey_clip(source, matrix, height, full, pixels)
    canvas = (torch.tensor(COLOUR) / 255)[None, :, None, None].expand(1, 3, 40, 40)
    lossless = WriteOptions(codec="libx264", preset="ultrafast", options={"qp": "0"})
    with (
        VideoReader(source) as reader,
        VideoWriter(target, reader.info, options=lossless, source=source) as writer,
    ):
        assert reader.info.pixel_format.full_range == full
        for frames in reader:
            to_canvas = torch.tensor([[[1.0, 0, -30], [0, 1, -24]]])
            frames.paste(torch.tensor([0]), to_canvas, [Layer((0, 0, 40, 40), canvas[0], torch.ones(1, 40, 40))])
            writer.write(frames)
    expected = matrix or ("bt709" if height >= 720 else "bt601")
    with av.open(str(target)) as container:
        frame = next(container.decode(video=0))
        rgb = (
            frame.reformat(
                format="gbrpf32le",  # float: swscale's 8-bit output of 10-bit input is up to 3 levels too dark
                src_colorspace=SWSCALE[expected],
                src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
                dst_color_range=ColorRange.JPEG,
            ).to_ndarray()
            * 255
        )
    assert np.abs(rgb[30:58, 36:64] - seen_as(matrix)).max() <= 2
    assert np.abs(rgb[80:, :20] - rgb[90, 5]).max() <= 1  # the rest is grey still
    assert np.abs(np.diff(rgb[90, 5])).max() <= 1
