"""Servers that answer anything: every answer ends soon, in a typed error, with a bounded file and few requests."""

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from trtswap.errors import CheckpointError
from trtswap.export import connection, download
from trtswap.export.checkpoints import Checkpoint
from trtswap.export.pull import pull

CONTENT = bytes(range(256)) * 1024
HEAD = b"HTTP/1.1 200 OK\r\n"
Answer = Callable[[socket.socket, bytes], None]


class RawServer:
    """Answers each connection with whatever a function sends."""

    def __init__(self, answer: Answer) -> None:
        self._answer, self.requests = answer, 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/file"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connected, _ = self._socket.accept()
            except OSError:
                return
            self.requests += 1
            threading.Thread(target=self._serve, args=(connected,), daemon=True).start()

    def _serve(self, connected: socket.socket) -> None:
        with connected:
            try:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connected.recv(65536)
                self._answer(connected, request)
            except OSError:
                pass  # the client has had enough

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def serve() -> Iterator[Callable[[bytes | Answer], RawServer]]:
    servers: list[RawServer] = []

    def start(answer: bytes | Answer) -> RawServer:
        send = (lambda to, _: to.sendall(answer)) if isinstance(answer, bytes) else answer
        servers.append(RawServer(send))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def entry(url: str, size: int | None) -> Checkpoint:
    return Checkpoint("mine", "mine.pth", sha256(CONTENT).hexdigest(), (url,), "CC0", "state_dict", size)


ANSWERS = {
    "nothing": b"",
    "no http": b"\x00\xff" * 100,
    "another protocol": b"SSH-2.0-OpenSSH_9\r\n",
    "a status that is none": b"HTTP/1.1 banana OK\r\n\r\n",
    "a huge status": b"HTTP/1.1 99999999999 OK\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "informational for ever": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    "an error": b"HTTP/1.1 500 \x1b[31mred\r\nContent-Length: 0\r\n\r\n",
    "a long line": HEAD + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
    "many headers": HEAD + b"X: y\r\n" * 1000 + b"\r\n",
    "a header that is none": HEAD + b"\x00\x00\x00\r\n\r\n",
    "length is text": HEAD + b"Content-Length: abc\r\n\r\nabc",
    "length is negative": HEAD + b"Content-Length: -5\r\n\r\nabc",
    "length has underscores": HEAD + b"Content-Length: 1_000\r\n\r\nabc",
    "length is a fraction": HEAD + b"Content-Length: 3.0\r\n\r\nabc",
    "length is enormous": HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nabc",
    "length is beyond any disk": HEAD + b"Content-Length: 999999999999999999\r\n\r\nabc",
    "length is of another alphabet": HEAD + "Content-Length: ٣\r\n\r\nabc".encode(),
    "two lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "chunk is text": HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n",
    "chunk is negative": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n0\r\n\r\n",
    "chunk is hugely negative": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-" + b"f" * 5000 + b"\r\nabc\r\n0\r\n\r\n",
    "chunk is enormous": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\nabc\r\n",
    "chunk is cut": HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\nabc",
    "chunks without end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "another range": b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 7-9/10\r\nContent-Length: 3\r\n\r\nabc",
    "a range that is none": b"HTTP/1.1 206 Partial Content\r\nContent-Range: lines 1\r\nContent-Length: 3\r\n\r\nabc",
    "another file": HEAD + b"Content-Length: 3\r\n\r\nabc",
    "gzip": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    "to ftp": b"HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1:9/file\r\n\r\n",
    "to a file": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/hostname\r\n\r\n",
    "to data": b"HTTP/1.1 302 Found\r\nLocation: data:text/plain,abc\r\n\r\n",
    "to itself": b"HTTP/1.1 302 Found\r\nLocation: /file\r\nContent-Length: 0\r\n\r\n",
    "to nowhere": b"HTTP/1.1 302 Found\r\nLocation: http://\r\n\r\n",
    "to an address that is none": b"HTTP/1.1 302 Found\r\nLocation: http://[::1/x\r\n\r\n",
    "to a port that is none": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:99999/x\r\n\r\n",
    "to a long label": b"HTTP/1.1 302 Found\r\nLocation: http://" + b"a" * 70 + b"\xc3\xa4.example/\r\n\r\n",
    "to a line break": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\x01 x\r\n\r\n",
    "range is not satisfiable": b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("size", [len(CONTENT), None], ids=["known", "unknown"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_every_answer_is_a_typed_error(
    answer: str, size: int | None, serve: Callable[[bytes], RawServer], tmp_path: Path
) -> None:
    server = serve(ANSWERS[answer])
    started = time.monotonic()
    with pytest.raises(CheckpointError, match="could not be downloaded"):
        pull(entry(server.url, size), tmp_path, accept_licence=True)
    assert server.requests <= 12
    assert time.monotonic() - started < 5
    assert {path.name for path in tmp_path.iterdir()} <= {"mine.pth.part"}


ADDRESSES = [
    "ftp://127.0.0.1/x", "file:///etc/hostname", "http://", "http://[::1/x", "http://a b/", "http://127.0.0.1:port/",
    "http://ä" + "a" * 70, "data:,x", "http://127.0.0.1:9/\n",
]  # fmt: skip


@pytest.mark.parametrize("url", ADDRESSES)
def test_every_address_is_a_typed_error(url: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="could not be downloaded"):
        pull(entry(url, None), tmp_path, accept_licence=True)


def of_pieces(size: int, *, lengths: bool = True) -> Answer:
    """Answers each request with the next few bytes of the file, and breaks off."""

    def answer(to: socket.socket, request: bytes) -> None:
        start = int(request.lower().partition(b"range: bytes=")[2].partition(b"-")[0])
        head = b"HTTP/1.1 206 Partial Content\r\n"
        head += f"Content-Length: {len(CONTENT) - start}\r\n".encode() if lengths else b""
        to.sendall(head + b"\r\n" + CONTENT[start : start + size])

    return answer


def test_one_byte_for_each_connection_is_no_progress(serve: Callable[[Answer], RawServer], tmp_path: Path) -> None:
    server = serve(of_pieces(1))
    with pytest.raises(CheckpointError, match="1 bytes came, expected 262,144"):
        pull(entry(server.url, len(CONTENT)), tmp_path, accept_licence=True)
    assert server.requests == 1
    assert (tmp_path / "mine.pth.part").stat().st_size == 1


def test_connections_are_counted(
    serve: Callable[[Answer], RawServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "CONNECTIONS", 3)
    server = serve(of_pieces(1 << 16))
    with pytest.raises(CheckpointError, match="broke 3 times; 196,608 bytes came and are kept"):
        pull(entry(server.url, len(CONTENT)), tmp_path, accept_licence=True)
    assert server.requests == 3
    assert pull(entry(server.url, len(CONTENT)), tmp_path, accept_licence=True).read_bytes() == CONTENT


def endless(to: socket.socket, _: bytes) -> None:
    to.sendall(HEAD + b"\r\n")
    while True:
        to.sendall(bytes(1 << 16))


@pytest.mark.parametrize("size", [len(CONTENT), None], ids=["known", "unknown"])
def test_a_body_without_end_is_bounded_and_not_kept(
    size: int | None, serve: Callable[[Answer], RawServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LARGEST_BYTES", 1 << 20)
    server, seen = serve(endless), [0]
    with pytest.raises(CheckpointError, match=r"bytes came, expected (262,144|at most 1,048,576)\n"):
        pull(entry(server.url, size), tmp_path, accept_licence=True, progress=lambda done, total: seen.append(done))
    assert max(seen) <= (size or 1 << 20) + download.CHUNK_BYTES
    assert server.requests == 1
    assert list(tmp_path.iterdir()) == []


def test_of_an_unknown_size_no_more_than_half_of_the_free_disk(
    serve: Callable[[Answer], RawServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2_000_000))
    with pytest.raises(CheckpointError, match="expected at most 1,000,000"):
        pull(entry(serve(endless).url, None), tmp_path, accept_licence=True)
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_on_the_disk_is_not_begun(
    serve: Callable[[bytes], RawServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    server = serve(HEAD + b"Content-Length: 262144\r\n\r\n" + CONTENT)
    with pytest.raises(CheckpointError, match=r"brings 262,144 bytes more, and 1,000 are free\. Free space"):
        pull(entry(server.url, len(CONTENT)), tmp_path, accept_licence=True)
    assert list(tmp_path.iterdir()) == []


def drip(head: bytes, piece: bytes) -> Answer:
    def answer(to: socket.socket, _: bytes) -> None:
        to.sendall(head)
        while True:
            to.sendall(piece)
            time.sleep(0.02)

    return answer


DRIPS = {
    "headers": drip(HEAD, b"X"),
    "body": drip(HEAD + b"Content-Length: 262144\r\n\r\n", b"x"),
    "chunks": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "trailers": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
}


@pytest.mark.parametrize("where", DRIPS)
def test_a_byte_now_and_then_does_not_keep_a_connection_open(
    where: str, serve: Callable[[Answer], RawServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SLOW_SECONDS", 0.3)
    server, started = serve(DRIPS[where]), time.monotonic()
    with pytest.raises(CheckpointError, match="the server brought next to nothing for a minute"):
        pull(entry(server.url, len(CONTENT)), tmp_path, accept_licence=True)
    assert time.monotonic() - started < 5
    assert server.requests == 1


def test_a_server_that_leads_elsewhere_is_followed(serve: Callable[[bytes], RawServer], tmp_path: Path) -> None:
    last = serve(HEAD + b"Content-Length: 262144\r\n\r\n" + CONTENT)
    first = serve(f"HTTP/1.1 302 Found\r\nLocation: {last.url}\r\nContent-Length: 0\r\n\r\n".encode())
    assert pull(entry(first.url, len(CONTENT)), tmp_path, accept_licence=True).read_bytes() == CONTENT
