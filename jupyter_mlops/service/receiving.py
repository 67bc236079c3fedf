"""Bodies of any length, taken as they come in: stored piece by piece, held nowhere."""

from __future__ import annotations

from asyncio import Future
from typing import Any

import tornado.web

from jupyter_mlops.service.handlers import LARGEST_BODY, ApiHandler, Service
from jupyter_mlops.store.objects import PIECE
from jupyter_mlops.tracker.embedded.receiving import Receiving
from jupyter_mlops.tracker.remote.client import DIGEST_HEADER

LARGEST_UPLOAD = 1 << 40
"""Bytes of one body."""


@tornado.web.stream_request_body
class ReceivingHandler(ApiHandler):
    """Answers a PUT. No thread waits for a slow client: pieces of :data:`PIECE` bytes are gathered here and written by
    the executor, and nothing more is read from the connection meanwhile.

    What goes wrong before the end of the body is answered at its end: clients that send a body before they read would
    take the answer for a broken connection. One that goes on for long is cut off.
    """

    def initialize(self, service: Service) -> None:
        super().initialize(service)
        self._receiving: Receiving[Any] | None = None
        self._gathered = bytearray()
        self._failure: Exception | None = None
        self._dropped = 0

    def receive(self) -> Receiving[Any]:
        """Where the body of this request goes; called in the executor."""
        raise NotImplementedError

    def _begin(self) -> Receiving[Any]:
        receiving = self.receive()
        length = self.request.headers.get("Content-Length")
        if length is not None:
            receiving.expect(int(length))
        return receiving

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        try:
            return super().decode_argument(value, name)
        except tornado.web.HTTPError as error:
            # Of the path, before anything else: tornado would answer before the body has come.
            if self.request.method != "PUT":
                raise
            self._failure = error
            return ""

    async def prepare(self) -> None:
        if self.request.method == "PUT":
            self.request.connection.set_max_body_size(LARGEST_UPLOAD)  # type: ignore[union-attr]
        await super().prepare()
        if self.request.method == "PUT" and self.principal is not None and self._failure is None:
            try:
                self._receiving = await self.call(self._begin)
            except Exception as error:  # noqa: BLE001 - each becomes an answer
                self.refuse(error)

    async def data_received(self, chunk: bytes) -> None:
        if self._receiving is None:
            self._dropped += len(chunk)
            if self._failure is not None and self._dropped > LARGEST_BODY:
                self.refuse(self._failure)
            return
        self._gathered += chunk
        if len(self._gathered) >= PIECE:
            receiving, piece = self._receiving, bytes(self._gathered)
            self._gathered.clear()
            try:
                await self.call(lambda: receiving.write(piece))
            except Exception as error:  # noqa: BLE001 - each becomes an answer
                self._receiving = None
                self.refuse(error)

    async def put(self, **_parts: str) -> None:
        await self.answered(self._put())

    async def _put(self) -> None:
        if self._failure is not None:
            self._give_up()
            raise self._failure
        receiving, self._receiving = self._receiving, None
        assert receiving is not None, "without a failure there is one"
        rest, digest = bytes(self._gathered), self.request.headers.get(DIGEST_HEADER, "").lower() or None

        def finish() -> Any:
            if rest:
                receiving.write(rest)
            return receiving.finish(digest)

        self.give(await self.call(finish))

    def finish(self, chunk: Any = None) -> Future[None]:
        if not self.request._body_future.done():
            # The connection is closed after this: a proxy that keeps connections shall send nothing more on it.
            self.set_header("Connection", "close")
        return super().finish(chunk)

    def refuse(self, error: Exception) -> None:
        if self._failure is None and self._body_is_coming():
            self._failure = error
        else:
            super().refuse(self._failure or error)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._give_up()

    def _give_up(self) -> None:
        receiving, self._receiving = self._receiving, None
        if receiving is not None:
            self.service.executor.submit(receiving.discard)

    def _body_is_coming(self) -> bool:
        # Who asks before sending is told at once, and sends nothing.
        asks = "Expect" in self.request.headers
        return self.request.method == "PUT" and not asks and not self.request._body_future.done()
