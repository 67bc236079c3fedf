"""Receivers of webhooks on free ports of this machine: real servers that answer, fail, hang or lead elsewhere."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec


class Received(msgspec.Struct, frozen=True):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """``answer`` gives the status for each request, and may take its time; what it needs is in ``received``."""

    def __init__(self, answer: Callable[[Received], int]) -> None:
        self.answer = answer
        self.received: list[Received] = []
        self.url = ""
        self.location = ""
        self.released = threading.Event()

    def of(self, model: str) -> list[Received]:
        return [each for each in self.received if each.json["model"] == model]

    def hang(self, _request: Received) -> int:
        """Answer only at the end of the test."""
        self.released.wait()
        return 200


@contextmanager
def receiver(
    answer: Callable[[Received], int] = lambda _request: 204, *, tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """A receiver, by HTTPS with ``tls``."""
    found = Receiver(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            found.received.append(request)
            self.send_response(found.answer(request))
            if found.location:
                self.send_header("Location", found.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_port}/hook"
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        found.url = f"https://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        found.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
