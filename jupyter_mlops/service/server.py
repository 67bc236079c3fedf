"""A server of the routes: how it listens, and how it stops without cutting off what it is answering."""

from __future__ import annotations

import asyncio
import logging
import socket
from asyncio import Future
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http.client import responses
from typing import cast
from weakref import WeakSet

import tornado.web
from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    ParseBodyConfig,
    ParseUrlEncodedConfig,
    ResponseStartLine,
    set_parse_body_config,
)
from tornado.ioloop import PeriodicCallback
from tornado.iostream import IOStream

from jupyter_mlops.core import requestids
from jupyter_mlops.core.errors import InvalidValue, MLOpsError, TooLarge, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.service.awaited import Awaited, Receiving
from jupyter_mlops.service.handlers import LARGEST_BODY, ApiHandler
from jupyter_mlops.service.requestlog import DETAIL, path_of
from jupyter_mlops.tracker import wire

logger = logging.getLogger("jupyter_mlops.service")

LARGEST_HEADER = 256 << 10
"""Bytes of a request's headers: a hub's users carry many cookies."""
MOST_WORDS = 5000
"""Of a URL's query; what is wrong with so many is said by whom they are for."""
REQUEST_SECONDS = 75.0
"""How long a request is awaited. Proxies keep connections for a minute, and should be the ones that end them."""
MOST_CONNECTIONS = 4096
_SWEEPS = 8
"""How often late connections are looked for, in the time that they have."""
_POLL_SECONDS = 0.02
_LARGEST_DROPPED = 4 * LARGEST_BODY
_MOST_DIGITS = 19


class Application(tornado.web.Application):
    """An application that knows which requests it is answering.

    Its log has paths without their queries, in which people put secrets. With the setting ``log_requests`` it has a
    line for each request; else for those that failed.
    """

    def __init__(self, *args: object, **settings: object) -> None:
        super().__init__(*args, **settings)  # type: ignore[arg-type]
        self._begun: WeakSet[HTTPServerRequest] = WeakSet()
        self.awaited = Awaited()
        self.largest_body = LARGEST_BODY
        """Bytes of a request that is no upload."""

    @property
    def answering(self) -> int:
        """The number of requests that wait for their answer."""
        return sum(not _gone(request) for request in self._begun)

    def find_handler(self, request: HTTPServerRequest, **kwargs: object) -> HTTPMessageDelegate:  # type: ignore[override]
        found: HTTPMessageDelegate = super().find_handler(request, **kwargs)
        if not found.stream_request_body and _length(request) > self.largest_body:  # type: ignore[attr-defined]
            found = _TooLarge(self, request)
        else:
            self._begun.add(request)
        stream = request.connection.stream  # type: ignore[union-attr]
        self.awaited.end(stream)
        has_body = "Content-Length" in request.headers or "Transfer-Encoding" in request.headers
        return Receiving(found, self.awaited, stream) if has_body else found

    def log_request(self, handler: tornado.web.RequestHandler) -> None:
        request = handler.request
        self._begun.discard(request)
        if not logger.isEnabledFor(self._level(handler.get_status())):
            return
        told = {
            "method": request.method,
            "path": path_of(request),
            "milliseconds": round(1000 * request.request_time(), 1),
        }
        if isinstance(handler, ApiHandler):
            told |= {"request_id": handler.request_id, "operation": handler.operation_id}
            if handler.principal is not None:
                told["user"] = handler.principal.name
        self.log_answer(handler.get_status(), told)

    def log_answer(self, status: int, told: Mapping[str, object]) -> None:
        """A line for an answer; ``told`` is what is known of its request, which need not have been read."""
        logger.log(
            self._level(status),
            "%d %s %s %.1f ms, request %s",
            *(status, told.get("method", "-"), told.get("path", "-"), told.get("milliseconds", 0.0)),
            told.get("request_id", "-"),
            extra={DETAIL: {"status": status, **told}},
        )

    def _level(self, status: int) -> int:
        if status >= 500:
            return logging.WARNING
        return logging.INFO if self.settings.get("log_requests") else logging.DEBUG


class _TooLarge(HTTPMessageDelegate):
    """Answers a body that is too large, at its end: a client that sends it before it reads would take the answer for a
    broken connection. One that is larger by far is cut off."""

    def __init__(self, app: Application, request: HTTPServerRequest) -> None:
        self._app = app
        self._request = request
        self._connection = cast(HTTP1Connection, request.connection)

    def headers_received(self, start_line: object, headers: HTTPHeaders) -> None:  # noqa: ARG002
        self._connection.set_max_body_size(_LARGEST_DROPPED)

    def finish(self) -> None:
        request_id = requestids.accepted(self._request.headers.get(requestids.HEADER)) or new_id()
        refusal = TooLarge(f"the body has more than {self._app.largest_body} bytes: send it in parts")
        body = wire.encode(wire.problem(refusal, request_id), wire.JSON)
        headers = HTTPHeaders(
            {"Content-Type": wire.JSON, "Content-Length": str(len(body)), requestids.HEADER: request_id}
        )
        told = {"request_id": request_id, "method": self._request.method, "path": path_of(self._request)}
        self._app.log_answer(413, told)
        self._connection.write_headers(ResponseStartLine("HTTP/1.1", 413, "Content Too Large"), headers, body)
        self._connection.finish()


class Server(HTTPServer):
    """Listens for an :class:`Application`.

    Parameters
    ----------
    app
        Answers.
    behind_proxy
        Whether a proxy of ours says in its headers who asked, and by which protocol.
    request_seconds
        How long a connection may be kept waiting for, until the headers of its next request are there; then as long
        again for the body. Of a file no piece may be awaited for longer.
    max_connections
        How many there may be. One more takes the place of the one that has kept us waiting for the longest time, and
        is told to come again when all are being answered.
    max_body_bytes
        How large a request may be that is no upload.
    """

    def initialize(  # type: ignore[override]
        self,
        app: Application,
        *,
        behind_proxy: bool = False,
        request_seconds: float = REQUEST_SECONDS,
        max_connections: int = MOST_CONNECTIONS,
        max_body_bytes: int = LARGEST_BODY,
    ) -> None:
        set_parse_body_config(ParseBodyConfig(urlencoded=ParseUrlEncodedConfig(max_arguments=MOST_WORDS)))
        super().initialize(app, xheaders=behind_proxy, max_header_size=LARGEST_HEADER, max_body_size=max_body_bytes)
        # Tornado's own would be a timer for each request.
        self.conn_params.header_timeout = None
        self._app = app
        app.largest_body = max_body_bytes
        self._request_seconds = request_seconds
        self._max_connections = max_connections
        self._sweeping = PeriodicCallback(self._sweep, 1000 * request_seconds / _SWEEPS)
        logging.getLogger("tornado.general").addFilter(_without_details)

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        super().add_sockets(sockets)
        self._sweeping.start()

    def stop(self) -> None:
        self._sweeping.stop()
        super().stop()

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        self._app.awaited.begin(cast(HTTP1Connection, request_conn).stream)
        return super().start_request(server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        self._app.awaited.end(cast(HTTP1ServerConnection, server_conn).stream)
        super().on_close(server_conn)

    def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        if len(self._connections) >= self._max_connections and not self._app.awaited.close_longest():
            stream.write(_unread(self._app, Unavailable("the service has no connection left; ask again")))
            stream.close()
            return
        stream.set_nodelay(True)
        # After each request tornado would have the kernel collect bytes again, which delays pieces of a download.
        stream.set_nodelay = _left_as_it_is  # type: ignore[method-assign]
        stream.write = partial(_in_our_form, self._app, stream.write)  # type: ignore[method-assign]
        super().handle_stream(stream, address)

    def _sweep(self) -> None:
        self._app.awaited.close_late(self._request_seconds)

    async def drain(self, seconds: float) -> int:
        """Take no connections any more, answer what was asked, close; gives the number of requests that were still
        unanswered after ``seconds``."""
        self.stop()
        # Whoever keeps a connection is told to look for another with the next answer.
        self.conn_params.no_keep_alive = True
        deadline = asyncio.get_running_loop().time() + seconds
        while (left := self._app.answering) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
        await self.close_all_connections()
        return left


def _gone(request: HTTPServerRequest) -> bool:
    stream = getattr(request.connection, "stream", None)
    return stream is None or stream.closed()


def _left_as_it_is(value: bool) -> None:  # noqa: ARG001
    return


def _length(request: HTTPServerRequest) -> int:
    """The length that a request declares, bytes; 0 for what is none, which tornado refuses."""
    given = request.headers.get("Content-Length", "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < _MOST_DIGITS else 0


_BARE = b"HTTP/1.1 400 Bad Request\r\n\r\n"
"""How tornado answers what it cannot read, without asking anybody."""
_UNREADABLE = InvalidValue("this is no HTTP/1.1 request, or its body is too large")


def _in_our_form(
    app: Application, write: Callable[[bytes | memoryview], Future[None]], data: bytes | memoryview
) -> Future[None]:
    return write(_unread(app, _UNREADABLE) if data == _BARE else data)


def _unread(app: Application, error: MLOpsError) -> bytes:
    """The last answer of a connection whose request was not read."""
    status, request_id = error.http_status, new_id()
    app.log_answer(status, {"request_id": request_id})
    body = wire.encode(wire.problem(error, request_id), wire.JSON)
    lines = [
        f"HTTP/1.1 {status} {responses[status]}",
        f"Content-Type: {wire.JSON}",
        f"Content-Length: {len(body)}",
        f"{requestids.HEADER}: {request_id}",
        *(["Retry-After: 1"] if status == 503 else []),
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _without_details(record: logging.LogRecord) -> bool:
    """What could not be read may be a header with a secret in it."""
    if record.msg == "Malformed HTTP message from %s: %s" and isinstance(record.args, tuple):
        record.args = (record.args[0], "it is not told here, since it may hold secrets")
    return True
