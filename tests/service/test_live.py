"""Live events, through real sockets and several replicas."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.checks import TOKEN_PREFIX
from jupyter_mlops.core.errors import Unauthenticated, Unavailable
from jupyter_mlops.core.records import Batch, Metric, NewRun, Progress, RunChange
from jupyter_mlops.service import live
from jupyter_mlops.service.live import LARGEST_MESSAGE
from jupyter_mlops.store import schema
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.events import Event, add_events
from jupyter_mlops.store.tail import EventTail
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.service.inprocess import Running, running

SECONDS = 20.0


async def listen(service: Running, token: str | None, **headers: str) -> WebSocketClientConnection:
    """A connection whose listener misses nothing from now on."""
    given = {} if token is None else {"Authorization": f"token {token}"}
    url = service.url.replace("http", "ws", 1) + "/api/v1/events"
    socket = await websocket_connect(HTTPRequest(url, headers={**given, **headers}))
    assert await asyncio.wait_for(socket.read_message(), SECONDS) == "[]"
    return socket


async def next_of(socket: WebSocketClientConnection, kind: str, target: str) -> dict[str, Any]:
    """The next event of that kind about ``target``; others are passed over."""
    while True:
        message = await asyncio.wait_for(socket.read_message(), SECONDS)
        assert isinstance(message, str), "the connection was closed"
        for event in json.loads(message):
            if event["kind"] == kind and event["target"] == target:
                return event  # type: ignore[no-any-return]


@pytest.fixture
def replicas(database_url: str, tmp_path: Path) -> Iterator[list[Running]]:
    """Two services over one store, with the same tokens."""
    with ExitStack() as stack:
        yield [stack.enter_context(running(database_url, tmp_path / "artifacts", tmp_path)) for _ in range(2)]


def test_what_happens_at_one_replica_is_told_at_the_other(replicas: list[Running]) -> None:
    first, second = replicas
    token = first.token("ada")
    tracker = RemoteTracker(first.url, token)

    async def watch() -> None:
        socket = await listen(second, token)
        experiment = await asyncio.to_thread(tracker.experiments.create, "churn")
        assert (await next_of(socket, "experiment.created", experiment.experiment_id))["owner"] == "ada"
        new = NewRun(experiment_id=experiment.experiment_id)
        run = await asyncio.to_thread(tracker.runs.create, new)
        created = await next_of(socket, "run.created", run.run_id)
        assert created["experiment_id"] == experiment.experiment_id
        batch = Batch(metrics=(Metric("auc", 0.9, 1, 1),))
        await asyncio.to_thread(tracker.runs.log, run.run_id, batch)
        await asyncio.to_thread(tracker.runs.change, run.run_id, RunChange(progress=Progress(done=3, total=9)))
        changed = await next_of(socket, "run.changed", run.run_id)
        assert changed["run"]["progress"] == {"done": 3, "total": 9}
        assert changed["run"]["metrics"][0]["value"] == 0.9
        await asyncio.to_thread(tracker.models.create, "churn")
        await next_of(socket, "model.created", "churn")
        socket.close()

    asyncio.run(watch())
    tracker.close()


def test_everyone_learns_of_what_they_may_see_and_no_more(service: Running) -> None:
    ada, bob = service.token("ada", "growth"), service.token("bob", "growth")
    eve = service.token("eve", "sales")
    tracker = RemoteTracker(service.url, ada)

    async def watch() -> None:
        bobs, eves = await listen(service, bob), await listen(service, eve)
        team = await asyncio.to_thread(tracker.experiments.create, "team", owner="group:growth")
        own = await asyncio.to_thread(tracker.experiments.create, "own", owner="ada")
        await next_of(bobs, "experiment.created", team.experiment_id)
        # The registry is for all: when this has come, all that came before it was not told.
        await asyncio.to_thread(tracker.models.create, "churn")
        for socket in (bobs, eves):
            seen: list[str] = []
            while "churn" not in seen:
                message = await asyncio.wait_for(socket.read_message(), SECONDS)
                assert isinstance(message, str)
                seen += [event["target"] for event in json.loads(message)]
            assert own.experiment_id not in seen
            assert socket is bobs or team.experiment_id not in seen
        await asyncio.to_thread(tracker.experiments.share, own.experiment_id, to_user="eve")
        run = await asyncio.to_thread(tracker.runs.create, NewRun(experiment_id=own.experiment_id))
        await next_of(eves, "run.created", run.run_id)
        bobs.close()
        eves.close()

    asyncio.run(watch())
    tracker.close()


@pytest.mark.parametrize(("known", "origin", "status"), [(False, None, 401), (True, "http://evil.example", 403)])
def test_strangers_and_pages_of_other_sites_hear_nothing(
    service: Running, known: bool, origin: str | None, status: int
) -> None:
    token = service.token("ada") if known else None
    headers = {} if origin is None else {"Origin": origin}
    with pytest.raises(HTTPClientError) as refused:
        asyncio.run(listen(service, token, **headers))
    assert refused.value.code == status


def test_who_floods_or_never_reads_is_nobody_elses_trouble(service: Running) -> None:
    token = service.token("ada")
    tracker = RemoteTracker(service.url, token)

    async def watch() -> None:
        loud = await listen(service, token)
        await loud.write_message(b"x" * (LARGEST_MESSAGE + 1), binary=True)
        assert await asyncio.wait_for(loud.read_message(), SECONDS) is None
        # These do not take what they are sent, and one says much, in small pieces.
        deaf = [await listen(service, token) for _ in range(30)]
        listener = await listen(service, token)
        for _ in range(2000):
            await deaf[0].write_message(b"x" * LARGEST_MESSAGE, binary=True)
        experiment = await asyncio.to_thread(tracker.experiments.ensure, "heard")
        await next_of(listener, "experiment.created", experiment.experiment_id)
        for socket in (*deaf, listener):
            socket.close()

    asyncio.run(watch())
    tracker.close()


def test_a_share_that_is_taken_back_ends_what_is_told(service: Running) -> None:
    ada, bo = (RemoteTracker(service.url, service.token(name, scope="promote")) for name in ("ada", "bo"))
    token = service.token("bo")

    async def watch() -> None:
        experiment = await asyncio.to_thread(ada.experiments.create, "shared for a while")
        await asyncio.to_thread(ada.experiments.share, experiment.experiment_id, to_user="bo")
        listener = await listen(service, token)
        kept = await asyncio.to_thread(ada.runs.create, NewRun(experiment_id=experiment.experiment_id))
        await next_of(listener, "run.created", kept.run_id)
        await asyncio.to_thread(ada.experiments.unshare, experiment.experiment_id, to_user="bo")
        hidden = await asyncio.to_thread(ada.runs.create, NewRun(experiment_id=experiment.experiment_id))
        own = await asyncio.to_thread(bo.experiments.create, "own")
        told: list[str] = []
        while own.experiment_id not in told:
            message = await asyncio.wait_for(listener.read_message(), SECONDS)
            assert isinstance(message, str)
            told += [event["target"] for event in json.loads(message)]
        assert hidden.run_id not in told
        listener.close()

    asyncio.run(watch())
    ada.close()
    bo.close()


def test_a_number_that_becomes_visible_late_is_told_once(postgres_url: str) -> None:
    from jupyter_mlops.store import migrate

    database = Database(postgres_url)
    migrate.ensure_current(database, upgrade=False)

    def event(target: str) -> Event:
        return Event("run.changed", "ada", target, 1)

    with database.read() as connection:
        tail = EventTail(connection)
    with database.engine.connect() as slow, slow.begin() as transaction:
        add_events(slow, event("early"))
        with database.write() as connection:
            add_events(connection, event("late"))
        with database.read() as connection:
            assert [told.event.target for told in tail.read(connection)] == ["late"]
        transaction.commit()
    with database.engine.connect() as undone, undone.begin() as transaction:
        add_events(undone, event("never"))
        transaction.rollback()
    with database.write() as connection:
        add_events(connection, event("last"))
    with database.read() as connection:
        assert [told.event.target for told in tail.read(connection)] == ["early", "last"]
        assert tail.read(connection) == []
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.event)).scalar() == 3
    database.close()


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (RuntimeError("a mistake, and no answer"), live.NO_LONGER_ALLOWED),
        (Unauthenticated("it was revoked"), live.NO_LONGER_ALLOWED),
        (Unavailable("the hub is restarting"), live.TRY_AGAIN_LATER),
    ],
)
def test_who_cannot_be_asked_about_any_more_hears_nothing_more(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, why: int
) -> None:
    monkeypatch.setattr(live, "RECHECK_SECONDS", 0.05)
    asked: list[str] = []

    def find(digest: str) -> Principal:
        asked.append(digest)
        if len(asked) > 1:
            raise failure
        return Principal("ada", scope=Scope.READ)

    async def watch(service: Running) -> None:
        socket = await listen(service, f"{TOKEN_PREFIX}any")
        assert await asyncio.wait_for(socket.read_message(), SECONDS) is None
        assert socket.close_code == why

    with running(sqlite_url, tmp_path / "artifacts", tmp_path, find_job=find) as service:
        asyncio.run(watch(service))
