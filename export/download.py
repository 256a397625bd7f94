"""Downloads that go on where they stopped."""

import http.client
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from trtswap.errors import CheckpointError

CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 30

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
        size: of the whole file in bytes, where known.
        progress: called after each block.

    Raises:
        DownloadError: the address is unreachable or gives a file of another size.
        CheckpointError: ``part`` cannot be written.
    """
    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"{url}: expected an address that begins with https:// or http://")
    while True:
        before = bytes_in(part)
        if size is not None and before == size:
            return
        if size is not None and before > size:
            part.unlink()
        try:
            return receive(url, part, size=size, progress=progress)
        except ConnectionLost:
            if bytes_in(part) <= before:
                raise


def bytes_in(path: Path) -> int:
    """Size of a file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def receive(url: str, part: Path, *, size: int | None, progress: Progress) -> None:
    """One request, for what ``part`` does not have yet. Raises as :func:`download` and :class:`ConnectionLost`."""
    start = bytes_in(part)
    # download() has checked that the address is http(s).
    request = Request(url, headers={"User-Agent": "trtswap", "Range": f"bytes={start}-"})  # noqa: S310
    try:
        response = urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
    except HTTPError as error:
        with error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
                return  # Nothing beyond what is there: whether that is the file, its hash will tell.
            raise DownloadError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{url}: {error}") from error
    with response:
        if response.status != http.client.PARTIAL_CONTENT:
            start = 0  # The server sends the whole file.
        length = response.headers["Content-Length"]
        total = start + int(length) if length else size
        if size is not None and total != size:
            raise DownloadError(f"{url}: the file has {total:,} bytes, expected {size:,}")
        append(blocks(response, url), part, start=start, total=total, progress=progress)
    if total is not None and bytes_in(part) != total:
        raise ConnectionLost(f"{url}: {bytes_in(part):,} bytes came, expected {total:,}")


def blocks(response: http.client.HTTPResponse, url: str) -> Iterator[bytes]:
    """The body of a response, block by block."""
    try:
        while block := response.read(CHUNK_BYTES):
            yield block
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionLost(f"{url}: {error}") from error


def append(body: Iterator[bytes], part: Path, *, start: int, total: int | None, progress: Progress) -> None:
    """Write blocks into ``part`` from byte ``start`` on; not many more than ``total`` bytes, whatever comes."""
    done = start
    try:
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            for block in body:
                file.write(block)
                done += len(block)
                progress(done, total)
                if total is not None and done > total:
                    break
    except OSError as error:
        raise CheckpointError(f"{part} cannot be written: {error}. Free space or choose another folder.") from error
