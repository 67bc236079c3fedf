"""Clients that send a byte a second: nobody else waits for them, and none stays for long without sending a request."""

from __future__ import annotations

import socket
import statistics
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from test_service_crowd import Client

from tests.hub.standalone import started, token
from tests.waiting import until

pytestmark = pytest.mark.slow

SLOW = 200
REQUEST_SECONDS = 2
SECONDS = 4.0


class Slow:
    """Connections, of each of which a request was begun; the rest comes at a byte a second."""

    def __init__(self, url: str, count: int, begun: str, opened: ExitStack) -> None:
        parts = urlsplit(url)
        self._open = []
        for _ in range(count):
            made = opened.enter_context(socket.create_connection((str(parts.hostname), parts.port), timeout=30))
            made.sendall(begun.encode())
            made.setblocking(False)
            self._open.append(made)

    def dribble(self) -> None:
        """Send a byte on each."""
        for each in list(self._open):
            try:
                each.send(b"x")
            except OSError:
                self._open.remove(each)

    @property
    def gone(self) -> bool:
        """Whether the service has closed all of them."""
        return not self._open


@contextmanager
def dribbling(*groups: Slow) -> Iterator[None]:
    over = threading.Event()

    def work() -> None:
        while not over.wait(1):
            for group in groups:
                group.dribble()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_slow_clients_slow_nobody_else_and_do_not_stay(tmp_path: Path) -> None:
    credential = token(tmp_path, "ann")
    arguments = ("--tokens", "tokens.json", f"--MLOpsService.request_seconds={REQUEST_SECONDS}")
    host = f"Host: here\r\nAuthorization: token {credential}\r\n"
    with started(tmp_path, *arguments) as service, ExitStack() as opened:
        client = Client(service.url, credential)
        client.ask("POST", "experiments", {"name": "e"})
        headers = Slow(service.url, SLOW, f"GET /api/v1/principal HTTP/1.1\r\n{host}X: ", opened)
        body = "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
        bodies = Slow(service.url, SLOW, f"POST /api/v1/experiments HTTP/1.1\r\n{host}{body}", opened)
        silent = Slow(service.url, SLOW, "", opened)
        over = threading.Event()
        timer = threading.Timer(SECONDS, over.set)
        with dribbling(headers, bodies):
            timer.start()
            while not over.is_set():
                client.ask("GET", "experiments/find?name=e")
            until(lambda: headers.gone and bodies.gone, "the end of the slow ones")
        with dribbling(silent):
            until(lambda: silent.gone, "the end of the silent ones")
    assert {answer.status for answer in client.answers} == {200}
    assert statistics.quantiles([answer.seconds for answer in client.answers], n=20)[-1] < 1


def test_they_take_nobodys_place(tmp_path: Path) -> None:
    credential = token(tmp_path, "ann")
    most = SLOW // 2
    arguments = ("--tokens", "tokens.json", f"--MLOpsService.max_connections={most}")
    with started(tmp_path, *arguments) as service, ExitStack() as opened:
        serving = until(service.serving, "a serving process")
        slow = Slow(service.url, SLOW, "GET /api/v1/principal HTTP/1.1\r\nX: ", opened)
        with dribbling(slow):
            for _ in range(SLOW):
                client = Client(service.url, credential)
                client.ask("POST", "experiments/ensure", {"name": "e"})
                assert client.answers[-1].status == 200
            connections = [each for each in serving.net_connections() if each.status == "ESTABLISHED"]
            assert len(connections) <= most + 10
