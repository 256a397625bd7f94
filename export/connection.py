"""Connections to servers that nobody knows: http and https only, and none that stays open and brings nothing."""

import http.client
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self
from urllib.error import URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

SCHEMES = ("https://", "http://")
TIMEOUT_SECONDS = 30
"""Of a server that says nothing at all."""

SLOW_SECONDS, SLOW_BYTES = 60, 1 << 16
"""A connection that brings less than this in this time is cut: one byte now and then is not silence."""

FAULTS = (OSError, http.client.HTTPException, ValueError, ArithmeticError)
"""What urllib and http.client raise on answers that are none: bad lengths, chunks, addresses, and broken lines."""


class Watch:
    """Cuts the connections of one request once they bring too little; headers and trailers without end are nothing.

    Attributes:
        cut: whether it has.
    """

    def __init__(self) -> None:
        self.cut = False
        self._bytes = 0
        self._sockets: list[socket.socket] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trtswap-download", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def came(self, count: int) -> None:
        """So many bytes of the file have come."""
        self._bytes += count

    def connected(self, connection: socket.socket) -> None:
        """Another connection of the request."""
        self._sockets.append(connection)

    def _run(self) -> None:
        before = 0
        while not self._over.wait(SLOW_SECONDS):
            if self._bytes - before < SLOW_BYTES:
                self.cut = True
                for connection in self._sockets:
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
                return
            before = self._bytes


def open_url(request: Request, watch: Watch) -> Any:
    """The response to a request, redirects followed.

    Raises:
        FAULTS: there is none; HTTPError among them where the server refuses.
    """
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(), _Http(watch), _Https(watch), _Redirects(), HTTPErrorProcessor(), HTTPDefaultErrorHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener.open(request, timeout=TIMEOUT_SECONDS)


class _Redirects(HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917 - urllib's own
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> Request | None:
        if not newurl.lower().startswith(SCHEMES):
            raise URLError(f"the server leads to {newurl}, expected an address that begins with https:// or http://")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Http(HTTPHandler):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def http_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_watched(http.client.HTTPConnection, self._watch), req)


class _Https(HTTPSHandler):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def https_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_watched(http.client.HTTPSConnection, self._watch), req)


def _watched(kind: type[http.client.HTTPConnection], watch: Watch) -> Any:
    """A kind of connection that tells the watch of its socket."""

    class Watched(kind):  # type: ignore[misc, valid-type]
        def connect(self) -> None:
            super().connect()
            watch.connected(self.sock)

    return Watched
