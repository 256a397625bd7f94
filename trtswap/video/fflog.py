"""FFmpeg's log lines of one call, for error messages and for the few facts that it tells in no other way."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import av.logging

# The level is one number for the whole process, so two captures must not overlap.
_LEVEL_LOCK = threading.RLock()
_WAY_OUT_SECONDS = 0.002


@contextmanager
def captured_log(level: int = av.logging.WARNING) -> Iterator[list[tuple[int, str, str]]]:
    """Collect what FFmpeg logs on this thread within the block, as (level, component, text); the level is put back."""
    with _LEVEL_LOCK, av.logging.Capture() as lines:
        before, skips = av.logging.get_level(), av.logging.get_skip_repeated()
        av.logging.set_level(level)
        av.logging.set_skip_repeated(False)
        try:
            yield lines
        finally:
            av.logging.set_skip_repeated(skips)
            av.logging.set_level(before)  # None switches logging off
            # Decoders' threads that are inside the callback wait for the interpreter; let them out before anybody frees
            # their decoder, which would wait for them with the interpreter held.
            time.sleep(_WAY_OUT_SECONDS)


def log_text(lines: list[tuple[int, str, str]]) -> str:
    """The captured lines in one: what a person wants to read behind "the encoder said"."""
    return "; ".join(dict.fromkeys(text.strip() for _, _, text in lines if text.strip()))
