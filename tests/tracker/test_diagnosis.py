"""``jupyter mlops doctor``: what it finds in stores and services that lack something."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from jupyter_mlops.core.findings import Finding, State
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.store import migrate
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.embedded.diagnosis import examine_store
from jupyter_mlops.tracker.remote import RemoteTracker
from jupyter_mlops.tracker.remote.diagnosis import examine_service
from tests.service.inprocess import Running, running


def states(found: Iterator[Finding]) -> dict[str, State]:
    return {each.what: each.state for each in found}


@pytest.fixture
def service(database_url: str, tmp_path: Path) -> Iterator[Running]:
    with running(database_url, tmp_path / "artifacts", tmp_path) as service:
        yield service


def test_a_sound_service(service: Running) -> None:
    found = states(examine_service(service.url, service.token("ann", "red")))
    assert set(found) == {"service", "clock", "version", "token", "live events", "large requests"}
    assert set(found.values()) == {State.GOOD}


def test_what_a_caller_lacks_is_said(service: Running) -> None:
    assert states(examine_service(service.url, None))["token"] is State.BAD
    unknown = {each.what: each for each in examine_service(service.url, "mlops_unknown")}["token"]
    assert (unknown.state, "MLOPS_TRACKING_TOKEN" in unknown.advice) == (State.BAD, True)
    read = states(examine_service(service.url, service.token("ann", scope="read")))
    assert (read["token"], "large requests" in read) == (State.DOUBTFUL, False)
    nothing = states(examine_service(service.url, service.token("ann", scope="none")))
    assert (nothing["token"], "live events" in nothing) == (State.BAD, False)


def test_an_address_that_is_none_of_a_service(service: Running) -> None:
    for url in (f"{service.url}/elsewhere", "http://127.0.0.1:1"):
        (found,) = examine_service(url, "x")
        assert (found.what, found.state) == ("service", State.BAD)
        assert found.advice


class Through(RequestHandler):
    """A proxy that knows no WebSockets and limits bodies, as many do unless told otherwise."""

    def initialize(self, target: str, late: bool) -> None:
        self._target = target
        self._late = late

    async def pass_on(self) -> None:
        headers = {name: value for name, value in self.request.headers.items() if name not in ("Upgrade", "Connection")}
        request = HTTPRequest(
            self._target + str(self.request.uri),
            str(self.request.method),
            headers,
            self.request.body or None,
            allow_nonstandard_methods=True,
            decompress_response=False,
        )
        answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        self.set_status(answer.code, answer.reason)
        for name in ("Content-Type", "Date"):
            if name in answer.headers:
                self.set_header(name, answer.headers[name])
        if self._late:
            self.set_header("Date", "Thu, 26 Nov 2020 09:00:00 GMT")
        await self.finish(answer.body)

    get = put = pass_on


@pytest.fixture
def proxied() -> Iterator[Callable[[str], str]]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def start(target: str, late: bool) -> int:
        (socket,) = bind_sockets(0, "127.0.0.1")
        application = Application([("/.*", Through, {"target": target, "late": late})])
        server = HTTPServer(application, max_body_size=1 << 20, max_buffer_size=1 << 20)
        server.add_socket(socket)
        return int(socket.getsockname()[1])

    def proxy(target: str, *, late: bool = False) -> str:
        async def begin() -> int:
            return start(target, late)

        return f"http://127.0.0.1:{asyncio.run_coroutine_threadsafe(begin(), loop).result(30)}"

    yield proxy
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_proxy_that_lets_too_little_through(service: Running, proxied: Callable[..., str]) -> None:
    found = states(examine_service(proxied(service.url), service.token("ann")))
    assert (found["service"], found["token"]) == (State.GOOD, State.GOOD)
    assert found["live events"] is State.BAD
    assert found["large requests"] in (State.BAD, State.DOUBTFUL)
    assert states(examine_service(proxied(service.url, late=True), service.token("ann")))["clock"] is State.DOUBTFUL


def test_a_service_says_what_is_nearly_used_up(service: Running) -> None:
    with RemoteTracker(service.url, service.token("boss", scope="admin")) as boss:
        boss.quotas.set("ann", Quota(runs=0))
    found = {each.what: each for each in examine_service(service.url, service.token("ann"))}
    assert (found["quota"].state, "'ann' uses all of its quota" in found["quota"].told) == (State.DOUBTFUL, True)


def test_a_sound_store(database_url: str, tmp_path: Path) -> None:
    found = states(examine_store(database_url, str(tmp_path / "artifacts")))
    assert found.pop("room", State.GOOD) is not State.BAD
    assert set(found.values()) == {State.GOOD}
    assert list((tmp_path / "artifacts").rglob("*.part")) == []


def test_stores_that_lack_something(tmp_path: Path, database: Database, database_url: str) -> None:
    empty = examine_store(f"sqlite:///{tmp_path / 'new.db'}", None)
    assert [each.state for each in empty] == [State.GOOD]
    file = tmp_path / "file"
    file.write_text("no folder")
    assert states(examine_store(database_url, str(file / "artifacts")))["files"] is State.BAD
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE mlops_schema SET version_num = '0001'")
    (outdated,) = examine_store(database_url, None)
    assert (outdated.state, "db upgrade" in outdated.advice) == (State.BAD, True)
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE mlops_schema SET version_num = '{migrate.HEAD}9'")
    assert "upgrade the package" in next(examine_store(database_url, None)).advice
    (away,) = examine_store("postgresql://nobody@127.0.0.1:1/none", None)
    assert (away.what, away.state) == ("database", State.BAD)
