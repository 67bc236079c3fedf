"""Runs whose runner is silent are ended by the service; a service that was away hears the living first."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from jupyter_mlops.core.records import NewRun, ReasonKind, RunStatus
from jupyter_mlops.store import schema
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.process import this_runner
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.hub.standalone import started, token
from tests.waiting import until

pytestmark = pytest.mark.slow

GRACE_SECONDS = 3.0
AN_HOUR_MS = 3_600_000


def test_who_lived_while_the_service_was_away_is_not_declared_lost(sqlite_url: str, tmp_path: Path) -> None:
    credential = token(tmp_path, "ann")
    arguments = ["--db", sqlite_url, "--tokens", "tokens.json", f"--MLOpsService.lost_after_seconds={GRACE_SECONDS}"]
    with started(tmp_path, *arguments) as (_, url), RemoteTracker(url, credential) as tracker:
        experiment_id = tracker.experiments.ensure("silent").experiment_id
        new = NewRun(experiment_id=experiment_id, runner=this_runner())
        living, silent = (tracker.runs.create(new).run_id for _ in range(2))
    database = Database(sqlite_url)
    with database.write() as connection:
        connection.execute(sa.update(schema.run).values(heartbeat=schema.run.c.heartbeat - AN_HOUR_MS))
    database.close()

    before = time.monotonic()
    with started(tmp_path, *arguments) as (_, url), RemoteTracker(url, credential) as tracker:
        over = threading.Event()

        def live() -> None:
            while not over.wait(0.2):
                tracker.runs.heartbeat(living)

        runner = threading.Thread(target=live)
        runner.start()
        try:
            until(lambda: tracker.runs.get(silent).status.ended, "the end of the silent run")
        finally:
            over.set()
            runner.join()
        assert time.monotonic() - before > GRACE_SECONDS
        reason = tracker.runs.get(silent).reason
        assert reason is not None
        assert reason.kind is ReasonKind.RUNNER_LOST
        assert tracker.runs.get(living).status is RunStatus.RUNNING
    database = Database(sqlite_url)
    with database.read() as connection:
        lost = connection.execute(sa.select(schema.audit.c.target).where(schema.audit.c.action == "run.lost"))
        assert lost.scalars().all() == [silent]
    database.close()
