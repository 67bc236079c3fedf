"""Connections that owe the rest of a request: none may do so for long, and none takes the place of who does not."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from itertools import takewhile

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream


class Awaited:
    """Connections of which something is awaited, the longest first: the headers of their next request, or a body."""

    def __init__(self) -> None:
        self._since: dict[IOStream, float] = {}

    def begin(self, stream: IOStream) -> None:
        """From now on something of this connection is awaited."""
        self._since.pop(stream, None)
        self._since[stream] = time.monotonic()

    def end(self, stream: IOStream) -> None:
        """It has come, or the connection is gone."""
        self._since.pop(stream, None)

    def close_late(self, seconds: float) -> None:
        """Close the connections that have kept us waiting for so long."""
        limit = time.monotonic() - seconds
        for stream, _ in list(takewhile(lambda item: item[1] < limit, self._since.items())):
            self._close(stream)

    def close_longest(self) -> bool:
        """Close the connection that has kept us waiting for the longest time; False when there is none."""
        for stream in self._since:
            self._close(stream)
            return True
        return False

    def _close(self, stream: IOStream) -> None:
        del self._since[stream]
        stream.close()


class Receiving(HTTPMessageDelegate):
    """Passes on a request with a body, which is awaited meanwhile: all of it, or where it is taken in pieces as they
    come, the next one."""

    def __init__(self, inner: HTTPMessageDelegate, awaited: Awaited, stream: IOStream) -> None:
        self._inner = inner
        self._awaited = awaited
        self._stream = stream

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        taking = self._inner.headers_received(start_line, headers)
        if taking is None:
            self._awaited.begin(self._stream)
            return None
        return self._resume(taking)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        taking = self._inner.data_received(chunk)
        if taking is None:
            return None
        # The store may take its time.
        self._awaited.end(self._stream)
        return self._resume(taking)

    def finish(self) -> None:
        self._awaited.end(self._stream)
        self._inner.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()

    async def _resume(self, taking: Awaitable[None]) -> None:
        await taking
        self._awaited.begin(self._stream)
