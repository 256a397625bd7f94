"""The file formats that can be written, and what each needs so that timestamps survive."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from trtswap.errors import WriteError

_MAX_TIMESCALE = 2**31 - 1
_QUICKTIME = "com.apple.quicktime."


@dataclass(frozen=True)
class Container:
    """A format that holds any timestamp of any frame; formats that cannot (AVI) are not offered.

    Attributes:
        format: FFmpeg's name of the muxer.
        codecs: what ``codec="auto"`` tries for 8 bits, in this order.
        deep_codecs: the same for more than 8 bits, where players know HEVC better than H.264.
        time_base: of the format where it is fixed, seconds; None where the source's is kept.
        distinct_times: packets of one stream of sound or pictures may not share a decoding time.
        durations_by_dts: it stores distances between decoding times, not durations.
        sound: the encoder for sound that the format does not hold.
        text_subtitles: the codec that text subtitles of other kinds become; None where the format has none.
    """

    format: str
    codecs: tuple[str, ...]
    deep_codecs: tuple[str, ...]
    time_base: Fraction | None = None
    text_subtitles: str | None = None
    sound: str = "aac"
    distinct_times: bool = True
    durations_by_dts: bool = False

    def options(self, video: Fraction, others: Iterable[Fraction], tags: Iterable[str]) -> dict[str, str]:
        """Options of the muxer that keep what the source has.

        Args:
            video, others: time bases of the video and of other streams, so that pts stay as they are.
            tags: names of the file's tags. QuickTime's own have a place beside the usual one.
        """
        if self.format in ("mp4", "mov"):
            # Edit lists, which hold the streams' start offsets, count in units of the whole file.
            common = math.lcm(video.denominator, *(base.denominator for base in others))
            whole = common if common <= _MAX_TIMESCALE else video.denominator
            own = {"movflags": "use_metadata_tags"} if any(tag.startswith(_QUICKTIME) for tag in tags) else {}
            return {"video_track_timescale": str(video.denominator), "movie_timescale": str(whole), **own}
        return {"mpegts_copyts": "1"} if self.format == "mpegts" else {}


_COMMON = ("libx264", "libx265")
_DEEP = ("libx265", "libx264")
_WEB = ("libvpx-vp9", "libsvtav1")
_MP4 = Container("mp4", _COMMON, _DEEP, text_subtitles="mov_text", durations_by_dts=True)
_MOV = Container("mov", _COMMON, _DEEP, text_subtitles="mov_text", durations_by_dts=True)
_MATROSKA = Container("matroska", _COMMON, _DEEP, Fraction(1, 1000), "subrip", distinct_times=False)
_WEBM = Container("webm", _WEB, _WEB, Fraction(1, 1000), "webvtt", "libopus", distinct_times=False)
_MPEGTS = Container("mpegts", _COMMON, _DEEP, Fraction(1, 90_000))
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
