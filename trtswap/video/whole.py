"""Whether a file is as long as its outermost element says: what is shorter was cut off, or is still being written."""

import struct
from pathlib import Path

_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
_MOST_RIFFS = 1000


def is_cut_off(path: Path, container: str) -> bool:
    """Ask the file itself; False where its format, or its writer, does not say.

    Args:
        path: a Matroska or WebM (RFC 8794, RFC 9559), or AVI (RIFF) file.
        container: FFmpeg's name of its format.
    """
    if container == "avi":
        return _riff_is_short(path)
    return "matroska" in container and _segment_is_short(path)


def _segment_is_short(path: Path) -> bool:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
    place = 0
    try:
        while place < len(head):
            name, place = _number(head, place, keep_mark=True)
            length, after = _number(head, place)
            unknown = length == (1 << 7 * (after - place)) - 1  # of a live stream
            if name == _SEGMENT:
                return not unknown and after + length > size
            if name != _EBML or unknown:
                return False
            place = after + length
    except IndexError:
        pass
    return False


def _number(data: bytes, place: int, *, keep_mark: bool = False) -> tuple[int, int]:
    """A variable-size integer, and where it ends: as many leading zeros in its first byte as bytes follow."""
    first = data[place]
    length = 9 - first.bit_length()
    if length > 8 or place + length > len(data):
        raise IndexError
    value = int.from_bytes(data[place : place + length], "big")
    return (value if keep_mark else value & (1 << 7 * length) - 1), place + length


def _riff_is_short(path: Path) -> bool:
    """OpenDML files hold several RIFF chunks, one after the other."""
    size, place = path.stat().st_size, 0
    with path.open("rb") as file:
        for _ in range(_MOST_RIFFS):
            file.seek(place)
            head = file.read(8)
            if len(head) < 8 or not head.startswith(b"RIFF"):
                return False
            (length,) = struct.unpack("<I", head[4:])
            if not length:  # of a recording that nobody finished
                return False
            place += 8 + length + length % 2
            if place > size + 1:
                return True
    return False
