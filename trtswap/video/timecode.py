"""SMPTE timecodes, which count frames as hours, minutes, seconds and frames (ST 12-1)."""

import re
from fractions import Fraction

_TIMECODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)")


def advanced(timecode: str, rate: Fraction, frames: int) -> str | None:
    """A timecode so many frames later; None for what is none.

    Args:
        timecode: ``01:02:03:04``; a semicolon before the frames says that numbers are dropped: the first two of each
            minute but every tenth at 30000/1001 frames a second, four at twice that.
        rate: frames a second of the video.
        frames: to go on.
    """
    found = _TIMECODE.fullmatch(timecode)
    whole = round(rate)
    if found is None or not whole:
        return None
    hours, minutes, seconds, frame = (int(found[number]) for number in (1, 2, 3, 5))
    total_minutes = hours * 60 + minutes
    dropped = whole // 15 if found[4] != ":" and whole % 30 == 0 else 0
    number = (total_minutes * 60 + seconds) * whole + frame - dropped * (total_minutes - total_minutes // 10)
    number += frames
    a_minute = 60 * whole - dropped
    ten_minutes = 10 * a_minute + dropped
    rest = number % ten_minutes
    # Of ten minutes the first has all its numbers.
    number += dropped * (9 * (number // ten_minutes) + max(0, rest - dropped) // a_minute)
    seconds, frame = divmod(number, whole)
    hours, minutes, seconds = seconds // 3600 % 24, seconds // 60 % 60, seconds % 60
    return f"{hours:02}:{minutes:02}:{seconds:02}{found[4]}{frame:02}"
