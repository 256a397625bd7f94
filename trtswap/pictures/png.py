"""Chunks of a PNG, which stand beside its pixels and are carried over as they are."""

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEPT = frozenset((
    b"cHRM", b"cICP", b"gAMA", b"iCCP", b"mDCV", b"cLLI", b"sRGB", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"tIME",
))  # fmt: skip
"""Those that say something of the pixels or the file, not how the pixels are stored (W3C PNG, third edition)."""


def chunks_of(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and contents of each chunk, as far as they are whole; none for what is no PNG."""
    place = len(SIGNATURE)
    while data.startswith(SIGNATURE) and place + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, place)
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + size]
        place += size + 12


def kept_chunks(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Those that are carried over."""
    return tuple((name, content) for name, content in chunks_of(data) if name in KEPT)


def chunk(name: bytes, content: bytes) -> bytes:
    """One chunk as it is written."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
