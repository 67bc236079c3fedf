"""Bytes over HTTP: what browsers and other programs are answered, and what clients that come and go leave behind."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from jupyter_mlops.core.errors import IntegrityError, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.records import Collected, NewRun
from jupyter_mlops.store.objects import PIECE
from jupyter_mlops.tracker.embedded.artifacts import EmbeddedArtifacts
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.service.inprocess import Running, running
from tests.together import together

DEADLINE = 60.0
"""Seconds; far beyond what anything here takes."""


class Site:
    """A service, its user ``ann`` and a run of hers. ``artifacts`` is where the bytes are."""

    def __init__(self, service: Running, artifacts: Path, tracker: RemoteTracker) -> None:
        self.service = service
        self.artifacts = artifacts
        self.tracker = tracker
        self.token = service.token("ann")
        experiment = tracker.experiments.ensure("content")
        self.run_id: str = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id)).run_id
        parts = urlsplit(service.url)
        self.address = str(parts.hostname), int(parts.port or 0)

    def put(self, path: str, content: bytes) -> None:
        self.tracker.artifacts.put(self.run_id, path, io.BytesIO(content))

    def url(self, path: str, **query: object) -> str:
        more = "".join(f"&{name}={quote(str(value))}" for name, value in query.items())
        return f"/api/v1/runs/{self.run_id}/content?path={quote(path, safe='')}{more}"

    def ask(
        self, url: str, method: str = "GET", body: Any = None, token: str | None = "", **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            given["Authorization"] = f"token {token or self.token}"
        with closing(http.client.HTTPConnection(*self.address, timeout=DEADLINE)) as connection:
            connection.request(method, url, body, given)
            answer = connection.getresponse()
            return answer, answer.read()

    def start_put(self, path: str, length: int) -> socket.socket:
        """A connection on which a file of ``length`` bytes is to be sent."""
        connection = socket.create_connection(self.address, timeout=DEADLINE)
        head = f"PUT {self.url(path)} HTTP/1.1\r\nHost: x\r\nAuthorization: token {self.token}\r\n"
        connection.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
        return connection

    def objects(self) -> dict[str, int]:
        """The sizes of all objects that are stored, by their names; of unfinished ones too."""
        return {file.name: file.stat().st_size for file in self.artifacts.rglob("*") if file.is_file()}

    def paths(self) -> list[str]:
        return [file.path for file in self.tracker.artifacts.walk(self.run_id)]


@pytest.fixture
def site(service: Running, tmp_path: Path) -> Iterator[Site]:
    with RemoteTracker(service.url, service.token("ann")) as mine:
        yield Site(service, tmp_path / "artifacts", mine)


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.01)


def answer_of(connection: socket.socket) -> tuple[int, bytes]:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read()


# --- downloads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status", "expected", "content_range"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-4", 206, b"6789", "bytes 6-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("bytes=5-3", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=" + "9" * 5000 + "-", 200, b"0123456789", None),
        ("bytes=٣-", 200, b"0123456789", None),
    ],
)
def test_a_range(site: Site, asked: str, status: int, expected: bytes | None, content_range: str | None) -> None:
    site.put("a", b"0123456789")
    answer, content = site.ask(site.url("a"), Range=asked.encode().decode("latin-1"))
    assert (answer.status, answer.headers["Content-Range"]) == (status, content_range)
    if expected is None:
        assert "10 bytes" in json.loads(content)["message"]
    else:
        assert content == expected
        assert int(answer.headers["Content-Length"]) == len(expected)


def test_a_file_is_an_attachment_that_no_browser_runs(site: Site) -> None:
    site.put("page/a \"b'é.html", b"<script>alert(1)</script>")
    answer, content = site.ask(site.url("page/a \"b'é.html"))
    assert content == b"<script>alert(1)</script>"
    headers = answer.headers
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''a%20%22b%27%C3%A9.html"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("sandbox")
    assert headers["X-Content-SHA256"] == hashlib.sha256(content).hexdigest()


def test_what_is_unchanged_is_not_sent_again(site: Site) -> None:
    site.put("a", b"first")
    answer, _ = site.ask(site.url("a"))
    etag = answer.headers["ETag"]
    assert answer.headers["Cache-Control"] == "private, no-cache"
    for given in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        answer, content = site.ask(site.url("a"), If_None_Match=given)
        assert (answer.status, content, answer.headers["ETag"]) == (304, b"", etag)
    site.put("a", b"second")
    answer, content = site.ask(site.url("a"), If_None_Match=etag)
    assert (answer.status, content) == (200, b"second")
    # Who has a part of the first gets all of the second.
    answer, content = site.ask(site.url("a"), Range="bytes=2-", If_Range=etag)
    assert (answer.status, content) == (200, b"second")
    answer, content = site.ask(site.url("a"), Range="bytes=2-", If_Range=answer.headers["ETag"])
    assert (answer.status, content) == (206, b"cond")


def test_head_tells_what_get_would_send(site: Site) -> None:
    site.put("a", b"0123456789")
    got, _ = site.ask(site.url("a"))
    answer, content = site.ask(site.url("a"), "HEAD", Range="bytes=1-2")
    assert (answer.status, content) == (200, b"")
    for name in ("Content-Length", "ETag", "X-Content-SHA256", "Accept-Ranges", "Content-Disposition"):
        assert answer.headers[name] == got.headers[name]
    assert site.ask(site.url("none"), "HEAD")[0].status == 404


def test_a_url_that_names_the_digest_is_cached(site: Site) -> None:
    site.put("model/MLmodel", b"flavors: {python_function: {}}")
    site.tracker.models.register("churn", site.run_id, "model")
    [file] = site.tracker.models.files("churn", 1)
    for url in (site.url("model/MLmodel"), "/api/v1/models/churn/versions/1/content?path=MLmodel"):
        answer, content = site.ask(f"{url}&digest={file.digest}")
        assert (answer.status, content) == (200, b"flavors: {python_function: {}}")
        assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
        answer, _ = site.ask(f"{url}&digest={'0' * 64}")
        assert (answer.status, answer.headers["Cache-Control"]) == (404, "no-store")
        assert site.ask(url)[0].headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("size", [5, 3 * PIECE])
def test_bytes_that_were_changed_are_noticed(site: Site, size: int) -> None:
    site.put("a", bytes(size))
    [stored] = [file for file in site.artifacts.rglob("*") if file.is_file()]
    stored.write_bytes(bytes(size - 1) + b"!")
    if size < PIECE:
        answer, content = site.ask(site.url("a"))
        assert (answer.status, json.loads(content)["error_code"]) == (500, "DATA_LOSS")
    else:
        with pytest.raises(http.client.IncompleteRead):
            site.ask(site.url("a"))
    with pytest.raises((IntegrityError, Unavailable)):
        b"".join(site.tracker.artifacts.open(site.run_id, "a"))


@pytest.mark.parametrize(
    "query", ["start=-1", "start=x", "stop=" + "9" * 5000, "start=٣", "stream=s", "path=b&path=..", "digest=x"]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
def test_no_query_is_answered_as_a_failure_of_ours(site: Site, method: str, query: str) -> None:
    site.put("a", b"x")
    answer, _ = site.ask(site.url("a") + "&" + quote(query, safe="=&."), method, b"x" if method == "PUT" else None)
    assert answer.status < 500


# --- uploads ---------------------------------------------------------------------------------------------------------


def test_a_body_of_unknown_length(site: Site) -> None:
    pieces = [b"x" * 70_000, b"y" * (2 * PIECE), b"z"]
    answer, content = site.ask(site.url("a"), "PUT", iter(pieces), Accept="application/json")
    assert (answer.status, json.loads(content)["size"]) == (200, sum(map(len, pieces)))
    assert b"".join(site.tracker.artifacts.open(site.run_id, "a")) == b"".join(pieces)


def test_what_came_is_compared_with_what_was_sent(site: Site) -> None:
    answer, content = site.ask(site.url("a"), "PUT", b"content", X_Content_SHA256=hashlib.sha256(b"other").hexdigest())
    assert (answer.status, "send it again" in json.loads(content)["message"]) == (400, True)
    assert (site.paths(), site.objects()) == ([], {})


def test_what_is_refused_is_answered_when_all_was_sent(site: Site) -> None:
    body = bytes(5 * PIECE)
    elsewhere = site.url("a").replace(site.run_id, new_id())
    uploads = f"/api/v1/runs/{site.run_id}/uploads/{new_id()}/content?path=a"
    for url, token, status in (
        (site.url("a"), None, 401),
        (site.url("a"), site.service.token("ann", scope="read"), 403),
        (elsewhere, "", 404),
        (site.url("a/../b"), "", 400),
        (site.url("a", stream="s", number=0), "", 400),
        (uploads, "", 400),
        (f"{uploads}&offset=7", "", 409),
        (f"{uploads}&offset=x", "", 400),
    ):
        answer, content = site.ask(url, "PUT", body, token)
        assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json"), url
        assert json.loads(content)["message"]
    assert site.ask(site.url("a"), "DELETE", None)[0].status == 405
    assert (site.paths(), site.objects()) == ([], {})


def test_who_asks_before_sending_is_refused_before(site: Site) -> None:
    with socket.create_connection(site.address, timeout=DEADLINE) as connection:
        head = f"PUT {site.url('a')} HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 39}\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(head.encode())
        assert answer_of(connection)[0] == 401


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_connection_that_is_closed_after_an_answer_says_so(site: Site, method: str) -> None:
    """A proxy would send the next request on it, and take the end of it for the end of the service."""
    with closing(http.client.HTTPConnection(*site.address, timeout=DEADLINE)) as connection:
        for _ in range(3):
            url = f"/api/v1/runs/{site.run_id}/uploads/{new_id()}/content?path=a&offset=0"
            connection.request(method, url, headers={"Authorization": f"token {site.token}"})
            answer = connection.getresponse()
            answer.read()
            assert (answer.status, answer.will_close) == (405, True)
            connection.request("GET", site.url("none"), headers={"Authorization": f"token {site.token}"})
            answer = connection.getresponse()
            answer.read()
            assert (answer.status, answer.will_close) == (404, False)


def test_who_never_stops_sending_what_is_refused_is_cut_off(site: Site) -> None:
    with socket.create_connection(site.address, timeout=DEADLINE) as connection:
        connection.sendall(f"PUT {site.url('a')} HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 39}\r\n\r\n".encode())
        with pytest.raises(OSError, match=r"[Rr]eset|[Bb]roken"):
            connection.sendall(bytes(256 << 20))


@pytest.mark.parametrize("sent", [0, 10, PIECE + 10, 3 * PIECE])
def test_a_client_that_goes_midway_leaves_nothing(site: Site, sent: int) -> None:
    site.put("a", b"old")
    with site.start_put("a", 4 * PIECE) as connection:
        connection.sendall(bytes(sent))
        until(lambda: len(site.objects()) == (2 if sent >= PIECE else 1), "the first piece")
    until(lambda: len(site.objects()) == 1, "the end of the upload")
    assert b"".join(site.tracker.artifacts.open(site.run_id, "a")) == b"old"


def test_what_is_on_its_way_takes_room_before_it_is_there(site: Site) -> None:
    with admin(site) as tracker:
        tracker.quotas.set("ann", Quota(bytes=3 * PIECE))
    with site.start_put("a", 2 * PIECE) as first:
        first.sendall(bytes(PIECE + 10))
        until(lambda: len(site.objects()) == 1, "the first piece")
        part = f"/api/v1/runs/{site.run_id}/uploads/{new_id()}/content?path=b&offset=0"
        for url in (site.url("b"), part):
            answer, content = site.ask(url, "PUT", bytes(2 * PIECE))
            assert (answer.status, "the quota of 'ann' for files" in json.loads(content)["message"]) == (507, True)
            # Nobody has to send what will not be taken.
            with socket.create_connection(site.address, timeout=DEADLINE) as asking:
                head = f"PUT {url} HTTP/1.1\r\nHost: x\r\nAuthorization: token {site.token}\r\n"
                head += f"Content-Length: {2 * PIECE}\r\nExpect: 100-continue\r\n\r\n"
                asking.sendall(head.encode())
                assert answer_of(asking)[0] == 507
        # Who does not say how much comes is told when there is too much.
        answer, _ = site.ask(site.url("b"), "PUT", (bytes(PIECE) for _ in range(2)))
        assert answer.status == 507
        assert len(site.objects()) == 1
    # The connection is closed, and the room is there again.
    until(lambda: not site.objects(), "the end of the upload")
    site.put("b", bytes(3 * PIECE))
    with admin(site) as tracker:
        assert tracker.gc() == Collected()


def test_who_goes_before_they_were_heard_takes_no_room(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with admin(site) as tracker:
        tracker.quotas.set("ann", Quota(bytes=3 * PIECE))
    receive, asked, gone = EmbeddedArtifacts.receive, threading.Event(), threading.Event()

    def late(*arguments: Any) -> Any:
        asked.set()
        assert gone.wait(DEADLINE)
        return receive(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(EmbeddedArtifacts, "receive", late)
        with site.start_put("a", 3 * PIECE):
            assert asked.wait(DEADLINE)
        gone.set()
    until(lambda: site.ask(site.url("b"), "PUT", bytes(3 * PIECE))[0].status == 200, "that there is room again")


def test_a_collection_during_an_upload_spares_it(site: Site) -> None:
    content = bytes(range(256)) * (2 * PIECE // 256)
    with site.start_put("a", len(content)) as connection, admin(site) as tracker:
        connection.sendall(content[: PIECE + 10])
        until(lambda: bool(site.objects()), "the first piece")
        assert tracker.gc().blobs == 0
        connection.sendall(content[PIECE + 10 :])
        assert answer_of(connection)[0] == 200
        assert tracker.gc().blobs == 0
    assert b"".join(site.tracker.artifacts.open(site.run_id, "a")) == content


def test_the_same_content_twice_at_once_is_stored_once(site: Site) -> None:
    content = bytes(range(256)) * (2 * PIECE // 256)
    with site.start_put("a", len(content)) as first, site.start_put("b", len(content)) as second:
        for start in range(0, len(content), PIECE // 2):
            for connection in (first, second):
                connection.sendall(content[start : start + PIECE // 2])
        assert [answer_of(connection)[0] for connection in (first, second)] == [200, 200]
    assert list(site.objects().values()) == [len(content)]
    for path in ("a", "b"):
        assert b"".join(site.tracker.artifacts.open(site.run_id, path)) == content


def test_parts_go_to_any_replica(site: Site, sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    upload, content = new_id(), b"one two"
    with (
        running(sqlite_url, site.artifacts, tmp_path / "second") as service,
        RemoteTracker(service.url, service.token("ann")) as other,
    ):
        site.tracker.artifacts.put_part(site.run_id, upload, "a", 0, io.BytesIO(b"one "))
        assert len(other.artifacts.parts(site.run_id, upload)) == 1
        other.artifacts.put_part(site.run_id, upload, "a", 4, io.BytesIO(b"two"))
        site.tracker.artifacts.commit(site.run_id, upload, {"a": hashlib.sha256(content).hexdigest()})
        assert b"".join(other.artifacts.open(site.run_id, "a")) == content


@pytest.mark.slow
def test_slow_clients_hold_up_nobody(site: Site) -> None:
    """Many more of them than the service has threads: half send, and half take, a byte at a time."""
    site.put("large", bytes(8 << 20))
    site.put("small", b"x" * 1000)
    slow = [site.start_put(f"slow/{number}", 10_000) for number in range(100)]
    for _ in range(100):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(DEADLINE)
        connection.connect(site.address)
        head = f"GET {site.url('large')} HTTP/1.1\r\nHost: x\r\nAuthorization: token {site.token}\r\n\r\n"
        connection.sendall(head.encode())
        slow.append(connection)
    done = threading.Event()
    turns = []

    def trickle() -> None:
        while not done.wait(0.05):
            for number, connection in enumerate(slow):
                if number < 100:
                    connection.sendall(b"x")
                else:
                    assert connection.recv(1)
            turns.append(1)

    def work() -> list[float]:
        took = []
        try:
            until(lambda: len(turns) > 2, "the slow clients' first bytes")
            for number in range(20):
                start = time.monotonic()
                site.put(f"quick/{number}", b"x" * 1000)
                assert b"".join(site.tracker.artifacts.open(site.run_id, "small")) == b"x" * 1000
                took.append(time.monotonic() - start)
        finally:
            done.set()
        return took

    try:
        trickled, took = together(trickle, work)
        assert trickled is None
        assert not isinstance(took, Exception), took
        # Had they waited for a slow client, they would have waited for minutes.
        assert sorted(took)[-2] < 10
        # The slow ones are still at it, and come to their end.
        for number, connection in enumerate(slow[:100]):
            connection.sendall(b"y" * (10_000 - len(turns)))
            assert answer_of(connection)[0] == 200, number
    finally:
        for connection in slow:
            connection.close()
    assert len([path for path in site.paths() if path.startswith("slow/")]) == 100


def admin(site: Site) -> RemoteTracker:
    return RemoteTracker(site.service.url, site.service.token("root", scope="admin"))
