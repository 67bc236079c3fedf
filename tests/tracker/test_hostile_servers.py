"""The remote tracker where something else answers than the service: pages, other programs, broken and bad servers."""

from __future__ import annotations

import gzip
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from jupyter_mlops.core.errors import InvalidValue, MLOpsError, Unauthenticated, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Batch
from jupyter_mlops.core.values import tag
from jupyter_mlops.tracker.remote import RemoteTracker
from jupyter_mlops.tracker.replay import is_refusal

TOKEN = "a-secret-token"
BATCH = Batch(tags=(tag("a", "b"),))


def answer(
    status: str, body: bytes = b"", kind: str = "text/html", length: int | str | None = None, more: str = ""
) -> bytes:
    size = len(body) if length is None else length
    # Else a client may send its next request before it hears of the end.
    fields = f"Content-Type: {kind}\r\nContent-Length: {size}\r\nConnection: close\r\n"
    return f"HTTP/1.1 {status}\r\n{fields}{more}\r\n".encode() + body


def request_of(connection: socket.socket) -> bytes:
    """All of a request, which may come in pieces: what is not read would reset the connection when it is closed."""
    asked = b""
    while more := connection.recv(1 << 16):
        asked += more
        head, end, body = asked.partition(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length: *(\d+)", head)
        if end and len(body) >= int(length[1] if length else 0):
            break
    return asked


@contextmanager
def answering(content: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers everything with ``content`` and closes; its URL, and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(10)
                    asked.append(request_of(connection))
                    connection.sendall(content)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


PAGE = b"<html><form action=/login></form></html>"
MSGPACK = "application/msgpack"
CALLS: dict[str, Callable[[RemoteTracker], object]] = {
    "log": lambda tracker: tracker.runs.log(new_id(), BATCH),
    "get": lambda tracker: tracker.runs.get(new_id()),
    "principal": lambda tracker: tracker.principal,
    "bytes": lambda tracker: list(tracker.artifacts.open(new_id(), "a")),
    "delete": lambda tracker: tracker.experiments.delete(new_id()),
}
ANSWERS = {
    "a login page": answer("200 OK", PAGE),
    "a page that is missing": answer("404 Not Found", PAGE),
    "a proxy without its service": answer("502 Bad Gateway", PAGE),
    "another program": answer("404 Not Found", b'{"status": 404, "message": "no"}', "application/json"),
    "another program that refuses": answer(
        "400 Bad Request", b'{"error_code": "X", "message": "no"}', "application/json"
    ),
    "an error that is none": answer(
        "200 OK", b'{"error_code":"X","message":"m","error":"InvalidValue"}', "application/json"
    ),
    "an unknown error": answer(
        "400 Bad Request", b'{"error_code":"X","message":"m","error":"Exit"}', "application/json"
    ),
    "bad JSON": answer("400 Bad Request", b'{"error_code":"\xff', "application/json"),
    "nested JSON": answer("400 Bad Request", b"[" * 100_000, "application/json"),
    "nested MessagePack": answer("200 OK", b"\x91" * 100_000, MSGPACK),
    "a declared length": answer("200 OK", b"\xdd\xff\xff\xff\xff", MSGPACK),
    "an empty record": answer("200 OK", b"", "text/plain"),
    "a body that is cut": answer("200 OK", b"\x81", MSGPACK, length=1000),
    "a length that is none": answer("200 OK", b"\x81", "text/html", length="many"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "nothing": b"",
    "compressed": answer("200 OK", gzip.compress(b"\xc0" * 10_000_000), "text/html", more="Content-Encoding: gzip\r\n"),
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    "a long header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("what", ANSWERS)
def test_what_is_no_answer_of_the_service_is_unavailable(what: str) -> None:
    with answering(ANSWERS[what]) as (url, _), RemoteTracker(url, TOKEN) as tracker:
        for name, call in CALLS.items():
            with pytest.raises(MLOpsError) as raised:
                call(tracker)
            error = raised.value
            assert not is_refusal(error), (name, error)
            assert "answer" in error.message or what == "an unknown error", error
            assert len(error.message) < 1000
            assert TOKEN not in error.message


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_proxy_that_wants_to_know_more_is_asked_again_later(status: str) -> None:
    with answering(answer(status, PAGE)) as (url, _), RemoteTracker(url, TOKEN) as tracker:
        for call in CALLS.values():
            with pytest.raises(Unauthenticated, match="MLOPS_TRACKING_TOKEN"):
                call(tracker)


def test_what_is_too_large_for_a_proxy_is_refused() -> None:
    with answering(answer("413 Payload Too Large", PAGE)) as (url, _), RemoteTracker(url, TOKEN) as tracker:
        with pytest.raises(InvalidValue, match="more at once than a proxy") as raised:
            tracker.runs.log(new_id(), BATCH)
        assert is_refusal(raised.value)


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent"]
)
def test_no_redirect_is_followed(status: str) -> None:
    with answering(answer("200 OK", PAGE)) as (elsewhere, asked):
        moved = answer(status, more=f"Location: {elsewhere}/api/v1/principal\r\n")
        with answering(moved) as (url, _), RemoteTracker(url, TOKEN) as tracker:
            for call in CALLS.values():
                with pytest.raises(Unavailable, match=status[:3]):
                    call(tracker)
    assert asked == []


def test_what_is_compressed_is_not_unpacked() -> None:
    bomb = answer("200 OK", gzip.compress(b"\xc0" * 10_000_000), MSGPACK, more="Content-Encoding: gzip\r\n")
    with (
        answering(bomb) as (url, asked),
        RemoteTracker(url, TOKEN) as tracker,
        pytest.raises(Unavailable, match="does not understand"),
    ):
        tracker.runs.get(new_id())
    assert b"gzip" not in asked[0]
