"""SQLite finds the runs that a call changes by their ids, also where an index has what else is asked of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from jupyter_mlops.core.records import NewRun, Runner, RunStatus
from jupyter_mlops.core.retention import Retention
from jupyter_mlops.store import retention
from jupyter_mlops.store.retention import DAY_MS
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker

Call = Callable[[EmbeddedTracker, str], object]


def expire(tracker: EmbeddedTracker, _run_id: str) -> object:
    in_a_year = tracker._context.clock() + 365 * DAY_MS
    found = list(retention.expire(tracker.database.write, in_a_year, "ada"))
    assert sum(len(page.expired) for page in found) == 1
    return found


def silent(tracker: EmbeddedTracker, run_id: str) -> object:
    with tracker.database.write() as connection:
        connection.exec_driver_sql("UPDATE run SET heartbeat = 1")
    ended = tracker.end_silent_runs(60)
    assert ended == [run_id]
    return ended


CALLS: dict[str, Call] = {
    "heartbeat": lambda tracker, run_id: tracker.runs.heartbeat(run_id),
    "silent": silent,
    "delete": lambda tracker, run_id: tracker.runs.delete(run_id),
    "restore": lambda tracker, run_id: (tracker.runs.delete(run_id), tracker.runs.restore(run_id)),
    "expire": expire,
    "gc": lambda tracker, run_id: (tracker.runs.delete(run_id), tracker.gc()),
}


@pytest.mark.parametrize("what", CALLS)
def test_who_writes_to_a_run_looks_at_no_others(sqlite_url: str, tmp_path: Path, what: str) -> None:
    plans: list[tuple[str, str]] = []

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.startswith(("UPDATE run ", "DELETE FROM run ", "WITH RECURSIVE family")) and not many:
            driver = connection.connection.driver_connection
            rows = driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend((row[3], statement) for row in rows)

    with connect(sqlite_url, artifacts=tmp_path) as tracker:
        assert isinstance(tracker, EmbeddedTracker)
        tracker.retention.set("*", Retention(days=1))
        status = RunStatus.FINISHED if what == "expire" else RunStatus.RUNNING
        runner = Runner(host="there", boot_id="b", pid=1, started=1.0)
        experiment_id = tracker.experiments.create("churn").experiment_id
        new = NewRun(experiment_id=experiment_id, status=status, runner=runner)
        run_id = tracker.runs.create(new).run_id
        sa.event.listen(tracker.database.engine, "after_cursor_execute", explain)
        CALLS[what](tracker, run_id)
    assert plans
    allowed = ("autoindex_run_1 ", "ix_run_parent_id ") + (("ix_run_status ",) if what == "silent" else ())
    for plan, statement in plans:
        words = plan.split()
        if words[:2] in (["SEARCH", "run"], ["SCAN", "run"]) and "heartbeat = 1" not in statement:
            assert any(index in plan for index in allowed), statement
