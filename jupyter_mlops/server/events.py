"""On a hub: the service's live events at the user's own server. A browser there cannot show the service a token."""

from __future__ import annotations

import asyncio
import logging
from types import MappingProxyType
from typing import Any

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, WebSocketHandler, websocket_connect

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.server.forward import Upstream, passed_query
from jupyter_mlops.service.handlers import ApiHandler, Service
from jupyter_mlops.service.live import PING_SECONDS, TRY_AGAIN_LATER
from jupyter_mlops.tracker.operations import EVENTS, PREFIX
from jupyter_mlops.tracker.remote.client import CONNECT_SECONDS

logger = logging.getLogger("jupyter_mlops.server")

LARGEST_MESSAGE = 16 << 20


class EventsForwardHandler(ApiHandler, WebSocketHandler):
    """A listener, for whom this server listens to the service."""

    scopes = MappingProxyType({"GET": Scope.READ})

    def initialize(self, service: Service, upstream: Upstream) -> None:  # type: ignore[override]
        super().initialize(service)
        self.upstream = upstream
        self._source: WebSocketClientConnection | None = None
        self._following: asyncio.Task[None] | None = None
        self._left = False

    @property
    def ping_interval(self) -> float:
        return PING_SECONDS

    async def get(self, *args: Any, **kwargs: Any) -> None:
        if self.request.headers.get("Upgrade", "").lower() != "websocket":
            self.refuse(NotFound("this URL speaks WebSocket"))
            return
        await super().get(*args, **kwargs)

    async def open(self, *args: str, **kwargs: str) -> None:  # noqa: ARG002 - as tornado calls it
        token, query = self.upstream.token(), passed_query(self.request)
        scheme, _, rest = self.upstream.url.partition("://")
        request = HTTPRequest(
            f"{'wss' if scheme == 'https' else 'ws'}://{rest}/{PREFIX}{EVENTS}{query and f'?{query}'}",
            headers={} if token is None else {"Authorization": f"token {token}"},
            connect_timeout=CONNECT_SECONDS,
        )
        try:
            # A service that is gone without a word is noticed.
            source = await websocket_connect(request, max_message_size=LARGEST_MESSAGE, ping_interval=PING_SECONDS)
        except (OSError, HTTPClientError) as error:
            logger.info("the service's events cannot be followed: %s", error)
            self.close(TRY_AGAIN_LATER, "the service is away")
            return
        if self._left:
            source.close()
            return
        self._source = source
        self._following = asyncio.create_task(self._follow(source))

    async def _follow(self, source: WebSocketClientConnection) -> None:
        # One message after another: for a slow browser the service waits, or ends the connection; nothing piles up.
        while (message := await source.read_message()) is not None:
            try:
                await self.write_message(message, binary=isinstance(message, bytes))
            except WebSocketClosedError:
                return
        self.close(source.close_code or TRY_AGAIN_LATER, source.close_reason or "the service is away")

    def on_message(self, message: str | bytes) -> None:
        """Listeners have nothing to say."""

    def on_close(self) -> None:
        self._left = True
        if self._source is not None:
            self._source.close()
