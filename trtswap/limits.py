"""What strangers' pictures and videos may ask of a machine: all limits in one place."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from itertools import islice
from math import inf, isnan
from mmap import mmap

from trtswap.arguments import expect_all
from trtswap.errors import InputError, LimitError

_START_OF_SCAN, _MOST_SCANS = re.compile(rb"\xff\xda"), 100
MOST_SECONDS = 1e9
"""Thirty years: no time in a video is beyond, and every time up to it can be computed with."""


def check_span(start: float | None, end: float | None) -> None:
    """Refuse a part of a video that cannot be.

    Args:
        start, end: seconds; None for the video's own.

    Raises:
        InputError: not numbers, or not 0 <= start < end.
    """
    for name, value in (("start", start), ("end", end)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float | Fraction)):
            raise InputError(f"{name} is {value!r}, expected seconds.")
    if not 0 <= (start or 0) < (2 * MOST_SECONDS if end is None else end) or (start or 0) > MOST_SECONDS:
        raise InputError(
            f"start {start} and end {end}: expected 0 <= start < end, in seconds, at most {MOST_SECONDS:g}"
        )
    if end is not None and end > MOST_SECONDS:
        raise InputError(f"end is {end}, expected seconds, at most {MOST_SECONDS:g}; None for the video's own end.")


def check_scans(jpeg: bytes | mmap | memoryview, of: object) -> None:
    """Refuse a JPEG that paints its pixels over and over: a megabyte of scans takes minutes.

    Args:
        jpeg: the file, or a packet of Motion JPEG.
        of: its name, for the message.

    Raises:
        LimitError: it has more than 100 scans.
    """
    # Inside of a scan 0xFF is followed by 0 or a restart; a preview in the header adds a few.
    scans = sum(1 for _ in islice(_START_OF_SCAN.finditer(jpeg), _MOST_SCANS + 1))
    if scans > _MOST_SCANS:
        raise LimitError(f"{of}: has more than {_MOST_SCANS} scans; a progressive JPEG has about ten.")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a picture or a video may hold. What is beyond is refused, from its header where that tells.

    The defaults let pass whatever cameras and studios make. A service for strangers may lower them, who has larger
    files may raise them; ``math.inf`` stands for no limit.

    Attributes:
        pixels: width times height of a picture, as coded and as displayed. The default takes 11,585 pixels square.
        frame_pixels: the same of a video's frame, of which a swap holds some 20. The default takes 8,192 pixels square.
        seconds: length of a video.
        streams: of a video's file: pictures, sound, subtitles, attachments.
        tags: of a video's file and its streams. FFmpeg takes time with their square: 2 s for 20,000.
        packets_without_frame: packets of a video in a row that give no picture. A damaged stretch has some hundreds.
        probe_seconds: until a video is open.
    """

    pixels: float = 2**27
    frame_pixels: float = 2**26
    seconds: float = inf
    streams: float = 256
    tags: float = 4096
    packets_without_frame: float = 10_000
    probe_seconds: float = 30

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not (whole or isinstance(value, float)) or (not whole and isnan(value)) or value <= 0:
                raise InputError(f"the limit {field.name} is {value!r}, expected a number above 0.")

    @staticmethod
    def parse(settings: Sequence[str]) -> "Limits":
        """From ``NAME=NUMBER``; ``inf`` stands for no limit.

        Raises:
            InputError: there is no such limit, or no number.
        """
        expect_all("settings", settings, str, "NAME=NUMBER")
        names, found = [field.name for field in fields(Limits)], dict[str, float]()
        for setting in settings:
            name, _, number = setting.partition("=")
            try:
                found[name] = float(number)
            except ValueError:
                raise InputError(f"limit {setting!r}: expected NAME=NUMBER, such as pixels=3e7.") from None
            if name not in names:
                raise InputError(f"limit {setting!r}: there is no {name!r}, expected one of {', '.join(names)}.")
        return Limits(**found)

    def check(self, name: str, value: float, of: object) -> None:
        """Refuse what is beyond a limit.

        Args:
            name: of the limit.
            value: what was found.
            of: the file, for the message.

        Raises:
            LimitError: ``value`` is above the limit.
        """
        if value > getattr(self, name):
            what = name.replace("_", " ")
            raise LimitError(
                f"{of}: has {value:,.12g} {what}, more than the limit of {getattr(self, name):,.12g}. "
                f"If you trust the file, allow it: --limit {name}=NUMBER, or Limits({name}=...)."
            )
