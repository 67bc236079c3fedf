"""``api/v1/events``: a WebSocket that tells what happens, to each caller what they may know.

One reader per service follows the store's outbox, whichever replica wrote it, and only while somebody listens. Messages
are records (:class:`~jupyter_mlops.core.records.Happening`) in JSON, several in one list; the first message is an empty
list, which says that from now on nothing is missed: what a view shows it loads after that.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from types import MappingProxyType
from typing import Any

from tornado.websocket import WebSocketClosedError, WebSocketHandler

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import MLOpsError, NotFound, Unavailable
from jupyter_mlops.service.handlers import ApiHandler, Service
from jupyter_mlops.tracker import wire
from jupyter_mlops.tracker.embedded.feed import Feed, News

logger = logging.getLogger("jupyter_mlops.service")

PERIOD_SECONDS = 0.25
"""How often the outbox is read."""
RECHECK_SECONDS = 30.0
"""How often it is asked again who a listener is: a token may have been revoked, a group left."""
PING_SECONDS = 30.0
MOST_UNSENT = 256
"""Messages that may wait for a slow listener; then the connection ends, and the listener comes back and loads anew."""
LARGEST_MESSAGE = 4096
"""Bytes of what a listener may say; who says more is cut off."""
AWAY_SECONDS = 1.0
INTERNAL_ERROR, TRY_AGAIN_LATER, NO_LONGER_ALLOWED = 1011, 1013, 4401
"""Why a connection is closed: WebSocket's codes (RFC 6455, section 7.4), and one of our own."""


class Listeners:
    """The listeners of one service and the task that serves them."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._listeners: set[EventsHandler] = set()
        self._task: asyncio.Task[None] | None = None
        self._reading: asyncio.Event = asyncio.Event()

    async def add(self, listener: EventsHandler) -> None:
        """Tell ``listener`` all that happens after this returns."""
        self._listeners.add(listener)
        if self._task is None:
            self._reading = asyncio.Event()
            self._task = asyncio.create_task(self._serve(self._reading))
        await self._reading.wait()

    def remove(self, listener: EventsHandler) -> None:
        self._listeners.discard(listener)

    async def _serve(self, reading: asyncio.Event) -> None:
        feed: Feed | None = None
        try:
            while self._listeners:
                try:
                    if feed is None:
                        feed = await self._service.call(self._service.tracker.feed)
                        reading.set()
                    news = await self._service.call(feed.read)
                    if news:
                        await self._tell(feed, news)
                except MLOpsError as error:
                    # The store is away. What happened meanwhile is read when it is back.
                    logger.warning("live events wait: %s", error.message)
                    await asyncio.sleep(AWAY_SECONDS)
                await asyncio.sleep(PERIOD_SECONDS)
        except Exception:
            # Those who listen come back and load anew; to leave them waiting would be a lie.
            logger.exception("live events failed")
            for listener in list(self._listeners):
                listener.close(INTERNAL_ERROR, "the service failed")
        finally:
            self._task = None
            reading.set()

    async def _tell(self, feed: Feed, news: list[News]) -> None:
        by_principal: dict[Principal, list[EventsHandler]] = {}
        for listener in self._listeners:
            assert listener.principal is not None
            by_principal.setdefault(listener.principal, []).append(listener)
        for principal, listeners in by_principal.items():
            visible = await self._service.call(partial(feed.visible, principal, news))
            if visible:
                message = wire.encode(visible, wire.JSON)
                for listener in listeners:
                    listener.tell(message)


class EventsHandler(ApiHandler, WebSocketHandler):
    """One listener."""

    scopes = MappingProxyType({"GET": Scope.READ})

    def initialize(self, service: Service, listeners: Listeners) -> None:  # type: ignore[override]
        super().initialize(service)
        self._all = listeners
        self._unsent = 0
        self._checking: asyncio.Task[None] | None = None

    @property
    def ping_interval(self) -> float:
        return PING_SECONDS

    @property
    def max_message_size(self) -> int:
        return LARGEST_MESSAGE

    async def get(self, *args: Any, **kwargs: Any) -> None:
        if self.request.headers.get("Upgrade", "").lower() != "websocket":
            self.refuse(NotFound("this URL speaks WebSocket"))
            return
        await super().get(*args, **kwargs)

    async def open(self, *args: str, **kwargs: str) -> None:  # noqa: ARG002
        self._checking = asyncio.create_task(self._recheck())
        await self._all.add(self)
        self.tell(wire.encode([], wire.JSON))

    def on_message(self, message: str | bytes) -> None:
        """Listeners have nothing to say."""

    def on_close(self) -> None:
        self._all.remove(self)
        if self._checking is not None:
            self._checking.cancel()

    def tell(self, message: bytes) -> None:
        """Send without waiting."""
        if self._unsent >= MOST_UNSENT:
            self.close(TRY_AGAIN_LATER, "too slow")
            return
        self._unsent += 1
        asyncio.ensure_future(self._send(message))  # noqa: RUF006 - it ends with the connection

    async def _send(self, message: bytes) -> None:
        try:
            await self.write_message(message.decode())
        except WebSocketClosedError:
            return
        self._unsent -= 1

    async def _recheck(self) -> None:
        # Whatever goes wrong: who it is is not known any more.
        why = NO_LONGER_ALLOWED, "log in again"
        try:
            while True:
                await asyncio.sleep(RECHECK_SECONDS)
                principal = await self.service.identity.principal(self, fresh=True)
                if principal.widest < Scope.READ:
                    return
                self.principal = principal
        except Unavailable:
            why = TRY_AGAIN_LATER, "who you are cannot be asked now"
        except MLOpsError:
            return
        finally:
            self.close(*why)
