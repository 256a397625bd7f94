"""Names of what is unfinished. The pattern is strict, because whatever fits it and has no owner any more is removed.

``.LABEL.trtswap-KEY-RANDOM.part.SUFFIX`` is being written, ``….old`` is what it replaces where that takes two steps,
``.trtswap-KEY.lock`` is held by the writer. KEY stands for the target's name in its folder, whatever path led there:
two containers that see one folder at two places have the same keys.
"""

import hashlib
import os
import re
import secrets
from pathlib import PurePath

# Most file systems allow 255 bytes; the rest is for the marks and the suffix.
_LABEL_BYTES = 160
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}")
_UNFINISHED = re.compile(
    r"\..*\.trtswap-(?P<key>[0-9a-f]{16})-[0-9a-f]{12}\.(?P<kind>part|old)(\.[A-Za-z0-9]{1,16})?", re.S
)
_LOCK = re.compile(r"\.trtswap-(?P<key>[0-9a-f]{16})\.lock")


def key_of(name: str) -> str:
    """What stands for a target's name, of any bytes and any length: 16 hexadecimal digits."""
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:16]


def lock_name(key: str) -> str:
    """The file whose lock the writer of a target holds."""
    return f".trtswap-{key}.lock"


def unfinished_name(name: str, key: str, kind: str = "part") -> str:
    """A fresh name for what is to become ``name``, with its suffix; it is valid UTF-8 whatever ``name`` is."""
    return f".{_label(name)}.trtswap-{key}-{secrets.token_hex(6)}.{kind}{_suffix(name)}"


def kept_name(name: str) -> str:
    """A fresh name, plain to see, for what was finished and could not get its own; nothing removes it."""
    return f"{_label(name)}.trtswap-{secrets.token_hex(6)}{_suffix(name)}"


def key_in(name: str) -> str | None:
    """The key of an unfinished file or of a lock; None where a name is neither."""
    found = _UNFINISHED.fullmatch(name) or _LOCK.fullmatch(name)
    return found["key"] if found else None


def kind_in(name: str) -> str | None:
    """``part`` or ``old``; None for any other name."""
    found = _UNFINISHED.fullmatch(name)
    return found["kind"] if found else None


def _suffix(name: str) -> str:
    suffix = PurePath(name).suffix
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def _label(name: str) -> str:
    stem = name.removesuffix(_suffix(name))
    return os.fsencode(stem)[:_LABEL_BYTES].decode(errors="ignore")
