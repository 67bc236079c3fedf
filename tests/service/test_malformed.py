"""Requests that nobody means, byte by byte: refused in the API's form, and told in no log."""

from __future__ import annotations

import json
import logging
import socket
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from jupyter_mlops.service.handlers import LARGEST_BODY
from tests.service.inprocess import Running
from tests.waiting import until

SECRET = "Zx5f3c0a1e"


class Wire:
    """Bytes to a service and back."""

    def __init__(self, service: Running) -> None:
        parts = urlsplit(service.url)
        self._address = str(parts.hostname), int(parts.port or 0)
        self.head = f"Host: here\r\nAuthorization: token {service.token('ada')}\r\n".encode()

    def send(self, content: bytes) -> bytes:
        """All that is answered until the service closes the connection."""
        with closing(socket.create_connection(self._address, timeout=60)) as connection:
            connection.sendall(content)
            return b"".join(iter(lambda: connection.recv(1 << 16), b""))


@pytest.fixture
def wire(service: Running) -> Wire:
    return Wire(service)


def problem(answer: bytes) -> tuple[int, dict[str, str]]:
    """Its status, and what it says; each header once and the length right."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(headers) == len(lines)
    assert headers["Content-Type"] == "application/json"
    assert int(headers["Content-Length"]) == len(body)
    said = json.loads(body)
    # Who tells an administrator of it can say which request it was.
    assert headers["X-Request-Id"] == said["request_id"] != ""
    return int(status.split()[1]), said


LOG = b"/api/v1/runs/x/log"


@pytest.mark.parametrize(
    "request_line_and_more",
    [
        b"GET /health\x01 HTTP/1.1\r\nHost: here\r\n\r\n",
        b"GET /health HTTP/3.0\r\nHost: here\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: here\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: here\r\nHost: there\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: he re/@\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: here\r\nAuthorization: token " + SECRET.encode() + b"\x01\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: here\r\n" + SECRET.encode() + b" (: x\r\n\r\n",
        *(
            b"POST " + LOG + b" HTTP/1.1\r\nHost: here\r\nContent-Length: " + length + b"\r\n\r\n{}"
            for length in (b"-5", b"abc", b"2, 3", b"+2", b"9" * 18, b"9" * 6000)
        ),
        b"POST " + LOG + b" HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        *(
            b"POST " + LOG + b" HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
            for chunks in (
                b"zz\r\n{}\r\n0\r\n\r\n",
                b"-2\r\n{}\r\n",
                b"f" * 18 + b"\r\n{}",
                b"2\r\n{}XX0\r\n\r\n",
                b"0_2\r\n",
            )
        ),
        b"POST " + LOG + b" HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_in_our_form(
    wire: Wire, request_line_and_more: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    status, said = problem(wire.send(request_line_and_more))
    assert (status, said["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert SECRET not in caplog.text + str(said)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "FOO"])
def test_other_urls_and_methods_are_refused_in_our_form(wire: Wire, method: str) -> None:
    for url in (
        "/",
        "*",
        "http://elsewhere/api/v1/runs/x",
        "/api/v1/nothing",
        "/api/v1/streams",
        "/api/v1/runs/%2e%2e",
    ):
        request = f"{method} {url} HTTP/1.1\r\nConnection: close\r\n".encode() + wire.head
        status, _ = problem(wire.send(request + b"Content-Length: 0\r\n\r\n"))
        assert status in (404, 405) or (url, status) == ("/api/v1/runs/%2e%2e", 400), (method, url, status)


def test_head_of_what_has_none_is_not_a_failure(wire: Wire) -> None:
    for url in (b"/api/v1/runs/x", b"/api/v1/principal", b"/health", b"/api/v1/events", LOG):
        answer = wire.send(b"HEAD " + url + b" HTTP/1.1\r\nConnection: close\r\n" + wire.head + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 405"), answer


def test_a_method_is_no_header(wire: Wire) -> None:
    request = b"GET /api/v1/principal HTTP/1.1\r\nConnection: close\r\nX-HTTP-Method-Override: DELETE\r\n" + wire.head
    assert wire.send(request + b"\r\n").startswith(b"HTTP/1.1 200")


def test_a_body_that_is_too_large_is_told_so_at_its_end(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    size = LARGEST_BODY + 1
    large = b"POST %s HTTP/1.1\r\n%sX-Request-Id: mine-0001\r\nContent-Length: %d\r\n\r\n" % (LOG, wire.head, size)
    after = b"GET /health HTTP/1.1\r\nConnection: close\r\n" + wire.head + b"\r\n"
    with caplog.at_level(logging.DEBUG, "jupyter_mlops.service"):
        first, _, second = wire.send(large + b" " * size + after).rpartition(b"HTTP/1.1 200 OK")
    status, said = problem(first)
    assert (status, said["error"], said["request_id"]) == (413, "TooLarge", "mine-0001")
    assert str(LARGEST_BODY) in said["message"]
    assert any("413 POST" in line and "request mine-0001" in line for line in caplog.messages)
    assert second.endswith(b'{"status":"ok"}')


@pytest.mark.parametrize("text", [b"\x85200 GET /health", b"\x9b2J", b"\xe2\x80\xa8"], ids=["line", "screen", "utf-8"])
def test_a_path_begins_no_line_of_the_log(wire: Wire, caplog: pytest.LogCaptureFixture, text: bytes) -> None:
    request = b"GET /api/v1/nothing" + text.replace(b" ", b"_") + b" HTTP/1.1\r\nConnection: close\r\n" + wire.head
    with caplog.at_level(logging.DEBUG, "jupyter_mlops.service"):
        assert problem(wire.send(request + b"\r\n"))[0] == 404
        # It is written when the answer was sent.
        lines = until(lambda: [line for line in caplog.messages if "nothing" in line], "a line about it")
    assert all(line.isprintable() for line in lines), lines


def test_compressed_bodies_are_not_unpacked(wire: Wire) -> None:
    import gzip

    body = gzip.compress(b" " * 10_000_000)
    head = b"POST %s HTTP/1.1\r\nConnection: close\r\n%sContent-Encoding: gzip\r\n" % (LOG, wire.head)
    head += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert problem(wire.send(head + body))[0] == 400


def test_the_log_has_no_queries_and_no_headers(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    headers = wire.head + f"Connection: close\r\nCookie: session={SECRET}; x=%ff\r\nX-Key: {SECRET}\r\n".encode()
    urls = ("runs/%ff/content", "principal", "nothing", "runs/x/content", "runs/%ff", "audit", "events", "search/runs")
    for method in ("GET", "POST", "PUT", "DELETE", "FOO"):
        for url in urls:
            for query in (f"path={SECRET}", f"token={SECRET}&token=%ff", f"{SECRET}=1"):
                request = f"{method} /api/v1/{url}?{query} HTTP/1.1\r\n".encode() + headers
                form = b"Content-Type: multipart/form-data\r\nContent-Length: 10\r\n\r\n" + SECRET.encode()
                answer = wire.send(request + (b"\r\n" if method == "GET" else form))
                assert not answer.startswith(b"HTTP/1.1 5"), answer
    assert "/api/v1/" in caplog.text
    assert SECRET not in caplog.text
