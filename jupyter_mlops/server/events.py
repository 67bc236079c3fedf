"""On a hub: the service's live events at the user's own server. A browser there cannot show the service a token."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.web import HTTPError
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, WebSocketHandler, websocket_connect

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import MLOpsError, PermissionDenied, Unauthenticated
from jupyter_mlops.server.forward import CONNECT_SECONDS, Upstream, passed_query
from jupyter_mlops.server.identity import JupyterIdentity
from jupyter_mlops.tracker import wire
from jupyter_mlops.tracker.operations import PREFIX

EVENTS = "events"
LARGEST_MESSAGE = 16 << 20
_TRY_AGAIN_LATER = 1013


class EventsForwardHandler(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """A WebSocket whose messages go to the service's, and back."""

    def initialize(self, identity: JupyterIdentity, upstream: Upstream) -> None:
        self.identity = identity
        self.upstream = upstream
        self._service: WebSocketClientConnection | None = None
        self._following: asyncio.Task[None] | None = None

    async def get(self, *args: Any, **kwargs: Any) -> None:
        try:
            principal = await self.identity.principal(self)
            if principal.scope < Scope.READ:
                raise PermissionDenied("this needs the scope 'read'")
        except MLOpsError as error:
            self.set_status(error.http_status)
            self._refuse(error)
            return
        await super().get(*args, **kwargs)

    async def open(self) -> None:
        super().open()
        token = self.upstream.token()
        scheme, _, rest = self.upstream.url.partition("://")
        query = passed_query(self.request)
        request = HTTPRequest(
            f"{'wss' if scheme == 'https' else 'ws'}://{rest}/{PREFIX}{EVENTS}{query and f'?{query}'}",
            headers={} if token is None else {"Authorization": f"token {token}"},
            connect_timeout=CONNECT_SECONDS,
        )
        try:
            self._service = await websocket_connect(request, max_message_size=LARGEST_MESSAGE)
        except (OSError, HTTPClientError) as error:
            self.log.info("the events of the service cannot be followed: %s", error)
            self.close(_TRY_AGAIN_LATER, "the service is away")
            return
        self._following = asyncio.ensure_future(self._follow(self._service))

    async def on_message(self, message: str | bytes) -> None:
        if self._service is not None:
            try:
                await self._service.write_message(message, binary=isinstance(message, bytes))
            except WebSocketClosedError:
                self.close(_TRY_AGAIN_LATER, "the service closed the connection")

    async def _follow(self, service: WebSocketClientConnection) -> None:
        # One message after another: a slow browser makes the service wait, and fills no memory here.
        while (message := await service.read_message()) is not None:
            try:
                await self.write_message(message, binary=isinstance(message, bytes))
            except WebSocketClosedError:
                return
        self.close(_TRY_AGAIN_LATER, "the service closed the connection")

    def on_close(self) -> None:
        if self._service is not None:
            self._service.close()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else HTTPError(status_code)
        text = getattr(error, "log_message", None) or f"this cannot be followed ({status_code})"
        self._refuse(Unauthenticated(text) if status_code == 401 else PermissionDenied(text))

    def _refuse(self, error: MLOpsError) -> None:
        self.set_header("Content-Type", wire.JSON)
        self.finish(wire.encode(wire.problem(error), wire.JSON))
