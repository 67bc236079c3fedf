"""Calls of one transaction: as if one came after the other, and never apart because there are several."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from jupyter_mlops.core.errors import AlreadyExists, InvalidValue
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import (
    Batch,
    Dataset,
    Input,
    Metric,
    NewRun,
    Param,
    Progress,
    Reason,
    ReasonKind,
    RunChange,
    RunStatus,
    StreamPosition,
    Tag,
)
from jupyter_mlops.store import runs, schema, streams
from jupyter_mlops.store.batches import EVENT_PERIOD_MS, RunWriter
from jupyter_mlops.store.calls import Append, Caller, Change, Create, Heartbeat, Log, RunCall
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.connect import connect
from tests.waiting import until

CALLER = Caller("ada", lambda *_: None, None)


def everything(number: int) -> Batch:
    return Batch(
        metrics=tuple(
            Metric(key, number + step / 10, 1000 + step, step) for key in ("auc", "loss") for step in range(3)
        ),
        params=(Param("lr", number, str(number)), Param("kind", "rf", "rf")),
        tags=(Tag("team", str(number)),),
        inputs=(Input(Dataset("wine", "d" * 8), "training"),),
    )


def test_several_calls_of_each_kind_are_one_transaction(database: Database, database_url: str, tmp_path: Path) -> None:
    with connect(database_url, artifacts=tmp_path) as tracker:
        experiment = tracker.experiments.create("e").experiment_id
        old = [tracker.runs.create(NewRun(experiment_id=experiment)).run_id for _ in range(4)]
    new = [new_id() for _ in range(3)]
    reason = Reason(kind=ReasonKind.ERROR, message="no")
    ends = [RunChange(status=RunStatus.FAILED, reason=reason), RunChange(status=RunStatus.FINISHED, name="done")]
    calls: list[RunCall] = [
        *(
            Create(run_id, f"n{number}", NewRun(experiment_id=experiment, batch=everything(number)), 7, CALLER)
            for number, run_id in enumerate(new)
        ),
        *(Log(run_id, everything(9), CALLER, StreamPosition("s", 1 + number)) for number, run_id in enumerate(old)),
        *(Log(run_id, Batch(metrics=(Metric("auc", 0.5, 5000, 9),)), CALLER) for run_id in old),
        *(Change(run_id, change, CALLER) for run_id, change in zip(old, ends, strict=False)),
        Change(old[2], RunChange(progress=Progress(done=1, total=2)), CALLER),
        *(Heartbeat(run_id, CALLER) for run_id in old),
    ]
    writer = RunWriter(lambda: 5000)
    with database.write() as connection:
        writer.apply(connection, calls)
    with connect(database_url, artifacts=tmp_path) as tracker:
        found = {run_id: tracker.runs.get(run_id) for run_id in (*new, *old)}
        assert len(tracker.runs.history(old[0], "auc").items) == 4
    for number, run_id in enumerate(new):
        assert (found[run_id].name, found[run_id].created) == (f"n{number}", 7)
        assert [(param.key, param.value) for param in found[run_id].params] == [("kind", "rf"), ("lr", number)]
        assert [(item.key, item.count) for item in found[run_id].metrics] == [("auc", 3), ("loss", 3)]
        assert found[run_id].inputs[0].dataset.name == "wine"
    assert [found[run_id].metrics[0].value for run_id in old] == [0.5] * 4
    assert [found[run_id].status.value for run_id in old] == ["FAILED", "FINISHED", "RUNNING", "RUNNING"]
    assert (found[old[0]].reason, found[old[1]].name) == (reason, "done")
    # Creations and changes tell how they left their run, which saves asking.
    told = {call.run_id: call.run for call in calls if isinstance(call, Create | Change)}
    assert told == {run_id: found[run_id] for run_id in told}


def test_what_was_applied_before_tells_nothing(database: Database, database_url: str, tmp_path: Path) -> None:
    with connect(database_url, artifacts=tmp_path) as tracker:
        run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.create("e").experiment_id))
    writer = RunWriter(lambda: 5000)
    first, again = (
        Change(run.run_id, RunChange(name=name), CALLER, StreamPosition("s", 1)) for name in ("once", "twice")
    )
    for call in (first, again):
        with database.write() as connection:
            writer.apply(connection, [call])
    assert first.run is not None
    assert (first.run.name, again.run) == ("once", None)


def test_a_change_comes_after_what_is_logged_with_it(database: Database, two_runs: tuple[str, str]) -> None:
    one, other = two_runs
    end = RunChange(status=RunStatus.FINISHED)
    calls: list[RunCall] = [
        Log(one, Batch(metrics=(Metric("auc", 0.1, 1, 1),), tags=(Tag("phase", "first"),)), CALLER),
        Change(one, end, CALLER, StreamPosition("s", 3), Log(one, everything(1), CALLER)),
        Log(one, Batch(tags=(Tag("phase", "last"),)), CALLER),
        Change(other, end, CALLER, log=Log(other, Batch(tags=(Tag("phase", "last"),)), CALLER)),
    ]
    writer = RunWriter(lambda: 5000)
    committed(database, writer, *calls)
    run, other_run = (call.run for call in calls if isinstance(call, Change))
    assert run is not None
    assert other_run is not None
    assert [(item.key, item.count) for item in run.metrics] == [("auc", 4), ("loss", 3)]
    assert ({tag.key: tag.value for tag in run.tags}, run.status) == ({"phase": "last", "team": "1"}, end.status)
    assert ([tag.value for tag in other_run.tags], other_run.status) == (["last"], end.status)
    assert told(database) == [(one, 5000), (other, 5000)]

    again = Change(one, end, CALLER, StreamPosition("s", 3), Log(one, everything(1), CALLER))
    bad = Change(one, RunChange(name="new"), CALLER, StreamPosition("s", 4), Log(one, everything(2), CALLER))
    committed(database, writer, again)
    with pytest.raises(InvalidValue, match="'lr'"):
        committed(database, writer, bad)
    with database.read() as connection:
        assert streams.watermark(connection, "s", None) == 3
        [found] = runs.load(connection, [one])
    assert found == run


def test_lists_in_tags_grow_in_the_order_of_the_calls(database: Database, database_url: str, tmp_path: Path) -> None:
    with connect(database_url, artifacts=tmp_path) as tracker:
        experiment = tracker.experiments.create("e").experiment_id
        one, other = (tracker.runs.create(NewRun(experiment_id=experiment)).run_id for _ in range(2))
    writer = RunWriter(lambda: 5000)
    for calls in (
        [Log(one, Batch(tags=(Tag("a", '[ 1.0, {"x": 2} ]'), Tag("z", "z"))), CALLER)],
        [
            Append(one, "a", '{"x": 2}', CALLER),
            Append(one, "a", '{"x": 3}', CALLER),
            Append(one, "b", "{}", CALLER),
            Log(one, Batch(tags=(Tag("b", "no list"), Tag("c", "[]"))), CALLER),
            Append(one, "c", "{}", CALLER),
            Append(other, "a", "{}", CALLER),
        ],
    ):
        with database.write() as connection:
            writer.apply(connection, calls)
    with pytest.raises(InvalidValue, match="'b' holds no list"), database.write() as connection:
        writer.apply(connection, [Append(one, "d", "{}", CALLER), Append(one, "b", "{}", CALLER)])
    with connect(database_url, artifacts=tmp_path) as tracker:
        tags = {run: {tag.key: tag.value for tag in tracker.runs.get(run).tags} for run in (one, other)}
    assert tags[one] == {"a": '[1.0,{"x": 2},{"x": 3}]', "b": "no list", "c": "[{}]", "z": "z"}
    assert tags[other] == {"a": "[{}]"}


@pytest.mark.parametrize("is_the_same", [True, False])
def test_of_two_processes_that_create_a_run_at_once_the_later_finds_it(
    database: Database, database_url: str, tmp_path: Path, is_the_same: bool
) -> None:
    with connect(database_url, artifacts=tmp_path) as tracker, ThreadPoolExecutor(1) as pool:
        one, other = (tracker.experiments.create(name).experiment_id for name in ("one", "other"))
        run_id = new_id()
        new = NewRun(experiment_id=one, run_id=run_id, batch=everything(1))
        later = new if is_the_same else NewRun(experiment_id=other, run_id=run_id)
        with database.write() as connection:
            RunWriter(lambda: 7).apply(connection, [Create(run_id, "first", new, 7, CALLER)])
            created = pool.submit(tracker.runs.create, later)
            # SQLite's other writer begins only after this one.
            until(lambda: database.is_sqlite or somebody_waits(database), "that the other one inserts it, too,")
        if is_the_same:
            assert created.result().name == "first"
            assert tracker.runs.get(run_id).metrics[0].count == 3
        else:
            with pytest.raises(AlreadyExists, match="is taken"):
                created.result()


def somebody_waits(database: Database) -> bool:
    """Whether a transaction of PostgreSQL waits for another."""
    with database.read() as connection:
        return bool(connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar())


def told(database: Database) -> list[tuple[str, int]]:
    """Which run told when that it changed."""
    event = schema.event.c
    query = sa.select(event.target, event.at).where(event.kind == "run.changed").order_by(event.id)
    with database.read() as connection:
        return [(row[0], row[1]) for row in connection.execute(query)]


@pytest.fixture
def two_runs(database_url: str, tmp_path: Path) -> tuple[str, str]:
    with connect(database_url, artifacts=tmp_path) as tracker:
        experiment = tracker.experiments.create("e").experiment_id
        one, other = (tracker.runs.create(NewRun(experiment_id=experiment)).run_id for _ in range(2))
    return one, other


def point(run_id: str) -> Log:
    return Log(run_id, Batch(tags=(Tag("a", "b"),)), CALLER)


def committed(database: Database, writer: RunWriter, *calls: RunCall) -> None:
    with database.write() as connection:
        note = writer.apply(connection, calls)
    note()


def test_what_a_transaction_was_to_tell_that_failed_is_told_by_the_next(
    database: Database, two_runs: tuple[str, str]
) -> None:
    one, other = two_runs
    now = 5000
    writer = RunWriter(lambda: now)
    committed(database, writer, point(one))
    now = 5500
    committed(database, writer, point(one))
    now = 6500
    with database.write() as connection:
        writer.apply(connection, [point(other)])
        connection.rollback()
    assert told(database) == [(one, 5000)]
    assert writer.due() == 0
    now = 6600
    committed(database, writer)
    assert told(database) == [(one, 5000), (one, 6600)]
    assert writer.due() is None


def test_a_clock_that_is_set_back_keeps_nothing_untold(database: Database, two_runs: tuple[str, str]) -> None:
    one, _ = two_runs
    now = 9_000_000
    writer = RunWriter(lambda: now)
    committed(database, writer, point(one))
    committed(database, writer, point(one))
    now = 1_000_000
    due = writer.due()
    assert due is not None
    assert due <= EVENT_PERIOD_MS / 1000
    committed(database, writer)
    assert told(database) == [(one, 9_000_000), (one, 1_000_000)]
