"""What the server does with its connections."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

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
