"""What is known about a video before its frames are read, and what went missing while reading them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from trtswap.pixels.color import ColorTags, PixelFormat
from trtswap.video.display import Display
from trtswap.video.hdr import HdrMetadata

TRANSPARENCY = "transparency: the result is opaque"
"""What ``VideoInfo.not_carried`` has of a source with transparency."""


@dataclass(frozen=True)
class StreamInfo:
    """One stream beside the video.

    Attributes:
        index: position in the file.
        kind: ``audio``, ``subtitle``, ``attachment``, ``data`` or ``video`` (a second one, or cover art).
        codec: FFmpeg's name of the codec, or ``unknown``.
        language: ISO 639 code, or None.
        title: the stream's title, or None.
        time_base: seconds per unit of its timestamps.
    """

    index: int
    kind: str
    codec: str
    language: str | None = None
    title: str | None = None
    time_base: Fraction | None = None


@dataclass(frozen=True)
class VideoInfo:
    """A video stream and its file.

    Attributes:
        width, height: size of the coded frame, pixels.
        pixel_format: how the planes that the reader yields are laid out.
        source_format: FFmpeg's name of what the decoder gives, such as ``nv12``.
        codec: FFmpeg's name of the source's codec.
        container: FFmpeg's name of the source's format, such as ``matroska,webm``.
        time_base: seconds per unit of every pts and duration.
        average_rate: frames per second; None where nobody knows.
        frame_count: frames in the whole file, an estimate; None where unknown.
        duration: seconds, None where unknown.
        origin: what a player's clock calls zero, seconds of the stream's own clock: 0, but the first timestamp for
            formats whose clock starts anywhere (MPEG-TS).
        sample_aspect: width of a pixel divided by its height.
        display: rotation and flip, and the frame's size as seen.
        color: the stream's colour tags.
        hdr: HDR10 metadata.
        interlaced: the first frame is interlaced (the reader deinterlaces every one that is, also later ones).
        streams: the file's other streams.
        tags: of the file, by their names.
        not_carried: what is in the frames' side data and has no way into another encoder.
    """

    width: int
    height: int
    pixel_format: PixelFormat
    source_format: str
    codec: str
    container: str
    time_base: Fraction
    average_rate: Fraction | None
    frame_count: int | None
    duration: float | None
    origin: Fraction
    sample_aspect: Fraction
    display: Display
    color: ColorTags
    hdr: HdrMetadata
    interlaced: bool = False
    streams: tuple[StreamInfo, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    not_carried: tuple[str, ...] = field(default=())

    @property
    def display_size(self) -> tuple[int, int]:
        """(width, height) as seen, pixels."""
        return self.display.size


@dataclass(frozen=True)
class Loss:
    """The end of a video that its own header announces and that is not there.

    Attributes:
        expected_seconds: where the video should end, seconds from its beginning.
        delivered_seconds: where the last frame that could be decoded ends.
        delivered_frames: frames that were delivered.
        reason: what the demuxer met, in words.
    """

    expected_seconds: float
    delivered_seconds: float
    delivered_frames: int
    reason: str

    def __str__(self) -> str:
        return (
            f"the video ends at {self.delivered_seconds:.2f} s ({self.delivered_frames} frames) "
            f"although its header announces {self.expected_seconds:.2f} s: {self.reason}"
        )
