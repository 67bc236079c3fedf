"""A server of the routes: how it listens, and how it stops without cutting off what it is answering."""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakSet

import tornado.web
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream

from jupyter_mlops.service.handlers import LARGEST_BODY

logger = logging.getLogger("jupyter_mlops.service")

LARGEST_HEADER = 256 << 10
"""Bytes of a request's headers: a hub's users carry many cookies."""
IDLE_SECONDS = 600.0
"""How long a connection may be kept that nobody uses."""
_POLL_SECONDS = 0.02


class Application(tornado.web.Application):
    """An application that knows which requests it is answering.

    Its log has paths without their queries, in which people put secrets.
    """

    def __init__(self, *args: object, **settings: object) -> None:
        super().__init__(*args, **settings)  # type: ignore[arg-type]
        self._begun: WeakSet[HTTPServerRequest] = WeakSet()

    @property
    def answering(self) -> int:
        """The number of requests that wait for their answer."""
        return sum(not _gone(request) for request in self._begun)

    def find_handler(self, request: HTTPServerRequest, **kwargs: object) -> tornado.web._HandlerDelegate:
        self._begun.add(request)
        return super().find_handler(request, **kwargs)

    def log_request(self, handler: tornado.web.RequestHandler) -> None:
        request = handler.request
        self._begun.discard(request)
        logger.log(
            logging.WARNING if handler.get_status() >= 500 else logging.DEBUG,
            "%d %s %s %.1f ms",
            handler.get_status(),
            request.method,
            request.path,
            1000 * request.request_time(),
        )


class Server(HTTPServer):
    """Listens for an :class:`Application`.

    Parameters
    ----------
    app
        Answers.
    behind_proxy
        Whether a proxy of ours says in its headers who asked, and by which protocol.
    """

    def initialize(self, app: Application, *, behind_proxy: bool = False) -> None:  # type: ignore[override]
        super().initialize(
            app,
            xheaders=behind_proxy,
            idle_connection_timeout=IDLE_SECONDS,
            max_header_size=LARGEST_HEADER,
            max_body_size=LARGEST_BODY,
        )
        self._app = app

    def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        stream.set_nodelay(True)
        # After each request tornado would have the kernel collect bytes again, which delays pieces of a download.
        stream.set_nodelay = _left_as_it_is  # type: ignore[method-assign]
        super().handle_stream(stream, address)

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
