"""Silent runs are ended, and only for a silence that the service could have heard broken."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import Unavailable
from jupyter_mlops.core.records import NewRun, RunStatus
from jupyter_mlops.service.handlers import Service
from jupyter_mlops.service.maintenance import Maintenance
from jupyter_mlops.service.tokens import Grant, TokenFile, create_token
from jupyter_mlops.store import migrate
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.embedded import EmbeddedTracker, OpenStore
from jupyter_mlops.tracker.process import this_runner
from tests import postgres

GRACE = 300.0
ROUND = 30.0


class Clock:
    """A clock that stands still, in seconds."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def milliseconds(self) -> int:
        return round(self.now * 1000)


class House:
    """A service's store, and replicas that look after it; no server is needed for that."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.clock = Clock()
        store = OpenStore(database, str(folder), self.clock.milliseconds)
        self.tracker = EmbeddedTracker(store, Principal("service", scope=Scope.ADMIN))
        self.executor = ThreadPoolExecutor(1)
        create_token(folder / "tokens.json", Grant(user="ada"))
        self._service = Service(self.tracker, TokenFile(folder / "tokens.json"), self.executor)

    def replica(self) -> Maintenance:
        return Maintenance(self._service, GRACE, self.clock)

    def run(self) -> str:
        experiment = self.tracker.experiments.ensure("silent")
        return self.tracker.runs.create(NewRun(experiment_id=experiment.experiment_id, runner=this_runner())).run_id

    def pass_by(self, seconds: float, *replicas: Maintenance) -> list[str]:
        """Let time pass while the replicas look after the store."""
        ended = []
        for _ in range(round(seconds / ROUND)):
            self.clock.now += ROUND
            for replica in replicas:
                ended += asyncio.run(replica.round())
        return ended

    def status(self, run_id: str) -> RunStatus:
        return self.tracker.runs.get(run_id).status


@pytest.fixture
def house(database: Database, tmp_path: Path) -> Iterator[House]:
    house = House(database, tmp_path)
    yield house
    house.tracker.close()
    house.executor.shutdown()


def test_silence_is_ended_once_by_whichever_replica(house: House) -> None:
    first, second = house.replica(), house.replica()
    run_id = house.run()
    assert house.pass_by(GRACE, first, second) == []
    assert house.pass_by(2 * ROUND, first, second) == [run_id]
    assert house.status(run_id) is RunStatus.FAILED
    house.tracker.runs.heartbeat(run_id)
    assert house.status(run_id) is RunStatus.RUNNING


def test_silence_counts_from_the_start_of_the_service(house: House) -> None:
    run_id = house.run()
    house.clock.now += 10 * GRACE
    replica = house.replica()
    assert house.pass_by(GRACE - ROUND, replica) == []
    house.tracker.runs.heartbeat(run_id)
    assert house.pass_by(GRACE, replica) == []
    assert house.pass_by(2 * ROUND, replica) == [run_id]


def test_nobody_is_heard_while_the_machine_sleeps(house: House) -> None:
    replica = house.replica()
    run_id = house.run()
    house.pass_by(2 * ROUND, replica)
    house.clock.now += 10 * GRACE
    assert house.pass_by(GRACE, replica) == []
    assert house.pass_by(2 * ROUND, replica) == [run_id]


def test_nobody_is_heard_while_the_database_is_away(
    postgres_server: postgres.Server, postgres_url: str, tmp_path: Path
) -> None:
    database = Database(postgres_url)
    migrate.ensure_current(database, upgrade=False)
    house = House(database, tmp_path)
    replica = house.replica()
    run_id = house.run()
    house.pass_by(ROUND, replica)
    postgres_server.allow_connections(postgres_url, False)
    for _ in range(20):
        with pytest.raises(Unavailable):
            house.pass_by(ROUND, replica)
    postgres_server.allow_connections(postgres_url, True)
    assert house.pass_by(GRACE - ROUND, replica) == []
    assert house.pass_by(2 * ROUND, replica) == [run_id]
    house.tracker.close()
    house.executor.shutdown()


def test_silent_runs_are_looked_for_while_much_is_collected(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    collecting, over, looked = threading.Event(), threading.Event(), asyncio.Event()

    def keep_house(_: float) -> None:
        collecting.set()
        assert over.wait(30)

    async def counted() -> list[str]:
        if collecting.is_set():
            looked.set()
        return []

    async def both() -> None:
        replica = house.replica()
        monkeypatch.setattr(replica, "round", counted)
        running = asyncio.create_task(replica.run())
        try:
            await asyncio.wait_for(looked.wait(), 10)
        finally:
            over.set()
            running.cancel()

    monkeypatch.setattr(house.tracker, "keep_house", keep_house)
    monkeypatch.setattr("jupyter_mlops.service.maintenance.PERIOD_SECONDS", 0.05)
    with ThreadPoolExecutor(2) as executor:
        monkeypatch.setattr(house._service, "executor", executor)
        asyncio.run(both())
