"""Damage to bytes and to text: every mutation is decided by the generator of numbers that it is given."""

import re
import struct
from collections.abc import Callable
from random import Random

Bytes = Callable[[Random, bytearray], bytes]
Text = Callable[[Random, str], str]

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
NUMBERS = ("0", "-1", "1", "2", "1e400", "-1e-400", "nan", "inf", str(2**31), str(2**63), "-" + "9" * 30,
           "1" + "0" * 5000, "0x" + "F" * 40, "1.5", "true", "null", '""', '"x"', "[]", "{}")  # fmt: skip
WORDS = ("", "..", "/etc/passwd", "../../x", "\x1b[31m", "\u202e", "\0", "é" * 300, "con", "a" * 5000, "%s%n", "\udcff")


def place(rng: Random, data: bytearray) -> int:
    """Often near the beginning, where headers are."""
    return rng.randrange(min(len(data), 256) if rng.random() < 0.4 else len(data))


def flipped(rng: Random, data: bytearray) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(data)


def replaced(rng: Random, data: bytearray) -> bytes:
    for _ in range(rng.choice((1, 2, 16))):
        data[place(rng, data)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(data)


def extreme(rng: Random, data: bytearray) -> bytes:
    """A field of 16, 32 or 64 bits at one of the ends of its range, in either order of bytes."""
    code = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
    size, start = struct.calcsize(code), place(rng, data)
    data[start : start + size] = struct.pack(code, rng.choice(EXTREMES) & ((1 << 8 * size) - 1))
    return bytes(data)


def cut(rng: Random, data: bytearray) -> bytes:
    return bytes(data[: place(rng, data)])


def removed(rng: Random, data: bytearray) -> bytes:
    start = place(rng, data)
    del data[start : start + rng.choice((1, 4, 16, 256, 4096))]
    return bytes(data)


def doubled(rng: Random, data: bytearray) -> bytes:
    start, size = place(rng, data), rng.choice((1, 4, 16, 256, 4096))
    return bytes(data[: start + size] + data[start : start + size] * rng.choice((1, 1, 20)) + data[start + size :])


def moved(rng: Random, data: bytearray) -> bytes:
    start, target, size = place(rng, data), place(rng, data), rng.choice((4, 16, 256, 4096))
    piece = data[start : start + size]
    del data[start : start + size]
    return bytes(data[:target] + piece + data[target:])


def zeroed(rng: Random, data: bytearray) -> bytes:
    start, size = place(rng, data), rng.choice((4, 64, 1024))
    data[start : start + size] = bytes(len(data[start : start + size]))
    return bytes(data)


ON_BYTES: tuple[Bytes, ...] = (flipped, flipped, replaced, extreme, extreme, cut, removed, doubled, moved, zeroed)


def of_bytes(rng: Random, data: bytes) -> bytes:
    """One to three mutations; one in thirty is left whole."""
    if rng.random() < 1 / 30:
        return data
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice(ON_BYTES)(rng, bytearray(data)) if data else data
    return data


def _number(rng: Random, text: str) -> str:
    return _instead(rng, text, r"-?\d+(\.\d+)?", NUMBERS)


def _word(rng: Random, text: str) -> str:
    return _instead(rng, text, r'"[^"\n]*"', [f'"{word}"' for word in WORDS])


def _key(rng: Random, text: str) -> str:
    return _instead(rng, text, r'^\s*"?\w+"?(?=\s*[=:])', ("x", '"\\u0000"', "a.b.c", "format", "stages"), re.M)


def _line(rng: Random, text: str) -> str:
    lines = text.splitlines()
    at = rng.randrange(len(lines)) if lines else 0
    lines[at : at + 1] = rng.choice(([], lines[at : at + 1] * 2, lines[at : at + 1] * 1000, ["["], ["}"], ["[x"]))
    return "\n".join(lines)


def _deep(rng: Random, text: str) -> str:
    depth = rng.choice((3, 40, 5000))
    return _instead(rng, text, r'(-?\d+|"[^"\n]*")', ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth))


def _instead(rng: Random, text: str, pattern: str, choices: object, flags: int = 0) -> str:
    found = list(re.finditer(pattern, text, flags))
    if not found:
        return text
    one = rng.choice(found)
    return text[: one.start()] + rng.choice(list(choices)) + text[one.end() :]  # type: ignore[call-overload]


ON_TEXT: tuple[Text, ...] = (_number, _number, _number, _word, _word, _key, _line, _deep)


def of_text(rng: Random, data: bytes) -> bytes:
    """Mutations of tokens, and now and then of bytes."""
    if rng.random() < 0.2:
        return of_bytes(rng, data)
    text = data.decode()
    for _ in range(rng.choice((1, 1, 2, 4))):
        text = rng.choice(ON_TEXT)(rng, text)
    return text.encode("utf-8", "surrogateescape")
