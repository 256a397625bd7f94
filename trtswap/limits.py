"""What strangers' pictures may ask of a machine: all limits in one place."""

from dataclasses import dataclass, fields
from math import isnan

from trtswap.errors import InputError, LimitError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a picture may hold. What is beyond is refused, from its header where that tells.

    The defaults let pass whatever cameras and studios make. A service for strangers may lower them, who has larger
    files may raise them; ``math.inf`` stands for no limit.

    Attributes:
        pixels: width times height of a picture. The default takes pictures of 11,585 pixels square.
    """

    pixels: float = 2**27

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
                f"{of}: has {value:,.12g} {name}, more than the limit of {getattr(self, name):,.12g}. "
                f"If you trust the file, allow it with Limits({name}=...)."
            )
