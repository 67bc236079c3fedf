"""A rehearsal makes ready what the record of a run needs, and has nothing to do with the store itself."""

from __future__ import annotations

import os
import tempfile
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import (
    Batch,
    Metric,
    NewRun,
    Param,
    RunChange,
    RunKind,
    RunStatus,
    StreamPosition,
    Tag,
)
from jupyter_mlops.store import schema
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker
from jupyter_mlops.tracker.embedded.rehearsal import rehearse
from tests.waiting import DEADLINE


@pytest.fixture
def tracker(sqlite_url: str, tmp_path: Path) -> Any:
    with connect(sqlite_url, artifacts=tmp_path / "files") as tracker:
        yield tracker


def everything(database: Database) -> dict[str, list[Any]]:
    with database.read() as connection:
        tables = schema.metadata.sorted_tables
        return {table.name: sorted(map(repr, connection.execute(sa.select(table)))) for table in tables}


def record(tracker: EmbeddedTracker, experiment_id: str) -> str:
    run_id, stream = new_id(), new_id()
    batch = Batch(params=(Param("lr", 0.1, "0.1"), Param("depth", 3, "3")), tags=(Tag("sweep", "a"),))
    tracker.runs.create(NewRun(run_id=run_id, experiment_id=experiment_id, kind=RunKind.NOTEBOOK, batch=batch))
    files = {"notebook/executed.ipynb": BytesIO(b"{}"), "notebook/cells.json": BytesIO(os.urandom(9000))}
    tracker.artifacts.put_files(run_id, files, StreamPosition(stream, 1))
    batch = Batch(metrics=(Metric("auc", 0.9, 1),))
    tracker.runs.log_and_change(run_id, batch, RunChange(status=RunStatus.FINISHED), StreamPosition(stream, 2))
    return run_id


def test_nothing_is_left_of_it(tracker: EmbeddedTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment_id = tracker.experiments.ensure("churn").experiment_id
    record(tracker, experiment_id)
    before, files = everything(tracker.database), sorted(tmp_path.rglob("*"))
    threads = set(threading.enumerate())
    # Nor for a moment, in which it might be killed.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no-such-folder"))
    rehearse(tracker)
    assert everything(tracker.database) == before
    assert sorted(tmp_path.rglob("*")) == files
    assert set(threading.enumerate()) <= threads


def test_what_is_recorded_afterwards_has_its_statements_ready(tracker: EmbeddedTracker) -> None:
    experiment_id = tracker.experiments.ensure("churn").experiment_id
    tracker.artifacts.check_location()
    rehearse(tracker)
    compiled: list[str] = []

    def note(
        _connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _executemany: bool
    ) -> None:
        if context.compiled is not None and not context.cache_hit.name.endswith("HIT"):
            compiled.append(statement)

    sa.event.listen(tracker.database.engine, "before_cursor_execute", note)
    run_id = record(tracker, experiment_id)
    assert compiled == []
    assert tracker.runs.get(run_id).status is RunStatus.FINISHED


def test_it_waits_for_nobody_who_writes(tracker: EmbeddedTracker) -> None:
    with tracker.database.write():
        rehearsing = threading.Thread(target=rehearse, args=(tracker,), daemon=True)
        rehearsing.start()
        rehearsing.join(DEADLINE)
        assert not rehearsing.is_alive()
