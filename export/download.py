"""Downloads that go on where they stopped."""

import http.client
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request

from trtswap.errors import CheckpointError
from trtswap.export.connection import FAULTS, SCHEMES, Watch, open_url

CHUNK_BYTES = 1 << 18
LARGEST_BYTES = 2 << 30
"""What a file of unknown size may have; the largest checkpoint has a sixth of it."""

CONNECTIONS = 100
"""How often a broken connection is taken up in one download."""

PROGRESS_BYTES = 1 << 16
"""What a connection must have brought to be taken up again."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes expected in all, where known."""


class DownloadError(CheckpointError):
    """An address does not give the file that was expected."""


class ConnectionLost(DownloadError):
    """The connection broke before the end; what came is kept, and the next try goes on from there."""


def download(url: str, part: Path, *, size: int | None, progress: Progress) -> None:
    """Fetch ``url`` into ``part``, after what is in it already; broken connections are taken up while they bring more.

    Args:
        url: http or https.
        part: the file to fill; bytes in it count as the beginning of the file.
        size: of the whole file in bytes, where known; where not, at most ``LARGEST_BYTES`` and half of what is free.
        progress: called after each block.

    Raises:
        DownloadError: the address is unreachable or gives a file of another size.
        CheckpointError: ``part`` cannot be written, or there is not enough space for it.
    """
    if not url.lower().startswith(SCHEMES):
        raise DownloadError(f"{url}: expected an address that begins with https:// or http://")
    for _ in range(CONNECTIONS):
        before = bytes_in(part)
        if size is not None and before == size:
            return
        if before > (LARGEST_BYTES if size is None else size):
            part.unlink()
            before = 0
        try:
            return receive(url, part, size=size, progress=progress)
        except ConnectionLost:
            if bytes_in(part) - before < PROGRESS_BYTES:
                raise
    raise ConnectionLost(f"{url}: the connection broke {CONNECTIONS} times; {bytes_in(part):,} bytes came and are kept")


def bytes_in(path: Path) -> int:
    """Size of a file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def receive(url: str, part: Path, *, size: int | None, progress: Progress) -> None:
    """One request, for what ``part`` does not have yet. Raises as :func:`download` and :class:`ConnectionLost`."""
    start = bytes_in(part)
    with Watch() as watch:
        try:
            # download() has checked that the address is http(s), and so are those that it is led to.
            request = Request(url, headers={"User-Agent": "trtswap", "Range": f"bytes={start}-"})  # noqa: S310
            response = open_url(request, watch)
        except HTTPError as error:
            with error:
                if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
                    return  # Nothing beyond what is there: whether that is the file, its hash will tell.
                raise DownloadError(f"{url}: the server answers {error.code} {error.reason}") from error
        except FAULTS as error:
            raise DownloadError(f"{url}: {_slow(watch) or error}") from error
        with response:
            start, total = _extent(url, response, start, size)
            limit = _allowed(url, part, start, total)
            append(blocks(response, url, watch), part, start=start, total=total, limit=limit, progress=progress)
        if watch.cut:
            raise ConnectionLost(f"{url}: {_slow(watch)}")
    done = bytes_in(part)
    if done > limit:
        part.unlink()
        raise DownloadError(f"{url}: {done:,} bytes came, expected {'at most ' * (total is None)}{limit:,}")
    if total is not None and done != total:
        raise ConnectionLost(f"{url}: {done:,} bytes came, expected {total:,}")


def blocks(response: http.client.HTTPResponse, url: str, watch: Watch) -> Iterator[bytes]:
    """The body of a response, as it comes."""
    try:
        while block := response.read1(CHUNK_BYTES):
            watch.came(len(block))
            yield block
    except FAULTS as error:
        raise ConnectionLost(f"{url}: {_slow(watch) or error!r}") from error


def append(body: Iterator[bytes], part: Path, *, start: int, total: int | None, limit: int, progress: Progress) -> None:
    """Write blocks into ``part`` from byte ``start`` on; not many more than ``limit`` bytes, whatever comes."""
    done = start
    try:
        file = part.open("r+b" if start else "wb")
    except OSError as error:
        raise _unwritable(part, error) from error
    with file:
        file.seek(start)
        for block in body:
            try:
                file.write(block)
                file.flush()
            except OSError as error:
                raise _unwritable(part, error) from error
            done += len(block)
            progress(done, total)
            if done > limit:
                break


def _extent(url: str, response: Any, start: int, size: int | None) -> tuple[int, int | None]:
    """Where the body of a response begins in the file, and how large the file is, where anybody knows."""
    if response.status not in (http.client.OK, http.client.PARTIAL_CONTENT):
        raise DownloadError(f"{url}: the server answers {response.status} {response.reason}, expected 200 or 206")
    if response.status == http.client.OK:
        start = 0  # The server sends the whole file.
    elif (found := response.headers["Content-Range"]) and not re.match(rf"bytes {start}-", found):
        raise DownloadError(f"{url}: the server sends {found[:80]!r}, expected the bytes from {start:,} on")
    lengths = set(response.headers.get_all("Content-Length", []))
    if len(lengths) > 1 or not all(re.fullmatch("[0-9]{1,18}", length) for length in lengths):
        raise DownloadError(f"{url}: {', '.join(sorted(lengths))[:80]!r} is no Content-Length")
    total = start + int(lengths.pop()) if lengths else size
    if size is not None and total != size:
        raise DownloadError(f"{url}: the file has {total:,} bytes, expected {size:,}")
    if total is not None and size is None and total > LARGEST_BYTES:
        raise DownloadError(f"{url}: the file has {total:,} bytes, expected at most {LARGEST_BYTES:,}")
    return start, total


def _allowed(url: str, part: Path, start: int, total: int | None) -> int:
    """How large ``part`` may become."""
    free = shutil.disk_usage(part.parent).free
    if total is None:
        return min(LARGEST_BYTES, start + free // 2)
    if total - start > free:
        raise CheckpointError(
            f"{part} cannot be written: {url} brings {total - start:,} bytes more, and {free:,} are free. "
            "Free space or choose another folder."
        )
    return total


def _slow(watch: Watch) -> str:
    return "the server brought next to nothing for a minute" if watch.cut else ""


def _unwritable(part: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"{part} cannot be written: {error}. Free space or choose another folder.")
