"""The file formats that can be written, and what each needs so that timestamps survive."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from trtswap.errors import WriteError


@dataclass(frozen=True)
class Container:
    """A format that holds any timestamp of any frame; formats that cannot (AVI) are not offered.

    Attributes:
        format: FFmpeg's name of the muxer.
        codecs: what ``codec="auto"`` tries, in this order.
        time_base: of the format where it is fixed, seconds; None where the source's is kept.
        text_subtitles: the codec that text subtitles of other kinds become; None where the format has none.
        side_by_side_hdr: it keeps HDR10 metadata only inside the video stream.
    """

    format: str
    codecs: tuple[str, ...]
    time_base: Fraction | None = None
    text_subtitles: str | None = None

    def options(self, time_base: Fraction) -> dict[str, str]:
        """Options of the muxer that keep pts as they are."""
        if self.format in ("mp4", "mov"):
            return {"video_track_timescale": str(time_base.denominator)}
        return {"mpegts_copyts": "1"} if self.format == "mpegts" else {}


_COMMON = ("libx264", "libx265", "libsvtav1")
_MP4 = Container("mp4", _COMMON, text_subtitles="mov_text")
_MOV = Container("mov", _COMMON, text_subtitles="mov_text")
_MATROSKA = Container("matroska", (*_COMMON, "ffv1"), Fraction(1, 1000), "subrip")
_WEBM = Container("webm", ("libvpx-vp9", "libsvtav1"), Fraction(1, 1000), "webvtt")
_MPEGTS = Container("mpegts", ("libx264", "libx265"), Fraction(1, 90_000))
CONTAINERS: dict[str, Container] = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": _MOV,
    ".mkv": _MATROSKA,
    ".webm": _WEBM,
    ".ts": _MPEGTS,
    ".mts": _MPEGTS,
    ".m2ts": _MPEGTS,
}


def container_for(path: Path) -> Container:
    """The container that a file name asks for.

    Raises:
        WriteError: the suffix is none of those that keep every timestamp.
    """
    try:
        return CONTAINERS[path.suffix.lower()]
    except KeyError:
        raise WriteError(
            f"{path}: cannot write '{path.suffix or 'no suffix'}', expected one of {', '.join(CONTAINERS)}"
        ) from None
