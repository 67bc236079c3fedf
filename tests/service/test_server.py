"""What the server does with its connections."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import tornado.web
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets

from jupyter_mlops.service.server import Application, Server


class Pieces(tornado.web.RequestHandler):
    async def get(self) -> None:
        if self.get_query_argument("pieces", ""):
            self.write(b"first")
            await self.flush()
        await self.finish({"answer": "whole"})


@tornado.web.stream_request_body
class Taking(tornado.web.RequestHandler):
    async def data_received(self, chunk: bytes) -> None:
        """Nothing is done with it."""

    async def put(self) -> None:
        await self.finish({"answer": "taken"})


class Waiting(tornado.web.RequestHandler):
    async def post(self) -> None:
        await self.settings["goes_on"].wait()
        await self.finish({"answer": "late"})


SECONDS = 0.4


class Open:
    """A connection to a server that waits for ``SECONDS`` and has three connections at most."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Open:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    def send(self, text: str) -> None:
        self._writer.write(text.encode())

    async def closed(self) -> float:
        """The seconds until the server has closed it without a word."""
        begun = time.monotonic()
        with suppress(ConnectionError):
            assert await asyncio.wait_for(self._reader.read(), 10) == b""
        return time.monotonic() - begun

    async def answer(self) -> str:
        return (await asyncio.wait_for(self._reader.readuntil(b"}"), 10)).decode()

    async def asked(self) -> str:
        self.send("GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        return await self.answer()

    async def dribble(self, piece: str, count: int) -> None:
        for _ in range(count):
            self.send(piece)
            await asyncio.sleep(SECONDS / 4)


def with_server(check: Callable[[Callable[[], Open], Application, asyncio.Event], Awaitable[None]]) -> None:
    async def run() -> None:
        goes_on = asyncio.Event()
        routes = [("/", Pieces), ("/taking", Taking), ("/waiting", Waiting)]
        app = Application(routes, goes_on=goes_on)
        server = Server(app, request_seconds=SECONDS, max_connections=3)
        (listening,) = bind_sockets(0, "127.0.0.1")
        server.add_sockets([listening])
        await check(lambda: Open(listening.getsockname()[1]), app, goes_on)
        await server.drain(1)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        ("", ""),
        ("GET / HTTP/1.1\r\nX: ", "y"),
        ("POST /waiting HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n", "y"),
        ("POST /waiting HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\ny\r\n"),
        ("PUT /taking HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n", ""),
        ("POST /waiting HTTP/1.1\r\nHost: here\r\nContent-Length: 99000000\r\n\r\n", "y"),
    ],
    ids=["nothing", "headers", "body", "chunks", "file", "too large"],
)
def test_who_keeps_it_waiting_for_long_is_closed(begun: str, piece: str) -> None:
    async def check(opened: Callable[[], Open], *_: object) -> None:
        async with opened() as slow, opened() as other:
            slow.send(begun)
            dribbling = asyncio.create_task(slow.dribble(piece, 40))
            assert "whole" in await other.asked()
            assert SECONDS / 2 < await slow.closed() < 3 * SECONDS
            dribbling.cancel()

    with_server(check)


def test_who_is_answered_or_sends_a_file_may_take_long() -> None:
    async def check(opened: Callable[[], Open], _: Application, goes_on: asyncio.Event) -> None:
        async with opened() as waiting, opened() as file:
            waiting.send("POST /waiting HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\n\r\ny")
            file.send("PUT /taking HTTP/1.1\r\nHost: here\r\nContent-Length: 12\r\n\r\n")
            await file.dribble("y", 12)
            assert "taken" in await file.answer()
            goes_on.set()
            assert "late" in await waiting.answer()
            # Connections that are used stay.
            assert "whole" in await waiting.asked()

    with_server(check)


def test_one_connection_too_many_takes_the_place_of_one_that_is_not_used() -> None:
    async def check(opened: Callable[[], Open], app: Application, goes_on: asyncio.Event) -> None:
        busy = "POST /waiting HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\n\r\ny"
        async with opened() as first, opened() as second, opened() as third:
            for each in (first, second, third, first):
                assert "whole" in await each.asked()
            async with opened() as fourth:
                assert "whole" in await fourth.asked()
                assert await second.closed() < SECONDS / 2
                for each in (first, third, fourth):
                    each.send(busy)
                while app.answering < 3:
                    await asyncio.sleep(0)
                async with opened() as fifth:
                    told = await fifth.answer()
                    assert told.startswith("HTTP/1.1 503")
                    assert "Retry-After: 1" in told
                    goes_on.set()
                    for each in (first, third, fourth):
                        assert "late" in await each.answer()

    with_server(check)


class Watched(Server):
    """Counts what is written to each connection, and keeps the connections."""

    def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        self.stream, self.writes = stream, 0
        write = stream.write

        def counted(data: Any) -> Any:
            self.writes += 1
            return write(data)

        stream.write = counted  # type: ignore[method-assign]
        super().handle_stream(stream, address)

    @property
    def no_delay(self) -> bool:
        return bool(self.stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


def test_an_answer_is_one_write_and_nothing_waits_to_be_collected() -> None:
    async def check() -> None:
        server = Watched(Application([("/", Pieces)]))
        (listening,) = bind_sockets(0, "127.0.0.1")
        server.add_sockets([listening])
        reader, writer = await asyncio.open_connection(*listening.getsockname())

        async def ask(path: str, end: bytes) -> None:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
            assert (await reader.readuntil(end)).startswith(b"HTTP/1.1 200")

        for asked in (1, 2):
            await ask("/", b'{"answer": "whole"}')
            assert server.writes == asked
            assert server.no_delay
        await ask("/?pieces=yes", b"0\r\n\r\n")
        assert server.no_delay
        writer.close()
        assert await server.drain(5) == 0

    asyncio.run(check())
