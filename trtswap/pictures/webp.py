"""What a WebP file says of its compression; Pillow does not tell."""

import struct
from pathlib import Path

_HEAD = struct.Struct("<4sI")


def is_lossless(path: Path) -> bool:
    """Whether the first picture is compressed without loss: RFC 9649, chunks ``VP8L`` and ``VP8 ``."""
    with path.open("rb") as file:
        file.seek(12)  # RIFF, its length, WEBP
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            name, length = _HEAD.unpack(head)
            if name in (b"VP8L", b"VP8 "):
                return bool(name == b"VP8L")
            # A picture of an animation has its own chunks behind 16 bytes of place and time.
            file.seek(16 if name == b"ANMF" else length + length % 2, 1)
    return False
