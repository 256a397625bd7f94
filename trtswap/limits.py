"""What strangers' pictures and videos may ask of a machine: all limits in one place."""

from dataclasses import dataclass, fields
from math import isnan

from trtswap.errors import InputError, LimitError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a picture or a video may hold. What is beyond is refused, from its header where that tells.

    The defaults let pass whatever cameras and studios make. A service for strangers may lower them, who has larger
    files may raise them; ``math.inf`` stands for no limit.

    Attributes:
        pixels: width times height of a picture or a frame. The default takes 16K frames and pictures of 11,585 pixels
            square.
        seconds: length of what is read of a video.
        streams: streams of a file, those that are only copied included.
        packets: video packets in a row that give no picture; by then a file holds nothing more that can be shown.
        opening: seconds until a video has been opened and its first picture is there.
    """

    pixels: float = 2**27
    seconds: float = 24 * 3600.0
    streams: float = 256
    packets: float = 5000
    opening: float = 20.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or isnan(value) or value <= 0:
                raise InputError(f"the limit {field.name} is {value!r}, expected a number above 0.")

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
            raise LimitError(
                f"{of}: has {value:,.12g} {_WHAT[name]}, more than the limit of {getattr(self, name):,.12g}. "
                f"If you trust the file, raise the limit {name!r} (--limit {name}=NUMBER)."
            )


_WHAT = {
    "pixels": "pixels",
    "seconds": "seconds",
    "streams": "streams",
    "packets": "video packets in a row without a picture",
    "opening": "seconds of opening behind it",
}
