from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from jupyter_mlops.core import values
from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.records import Batch, Json, Metric, ModelPoint, NewRun, Run, RunChange, RunStatus
from jupyter_mlops.store import events, metrics, schema
from jupyter_mlops.store.batches import CROWD
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.events import Event
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker
from jupyter_mlops.tracker.logged import LoggedModels
from jupyter_mlops.tracker.protocol import Tracker

WAIT = 30.0


@pytest.fixture
def tracker(database_url: str, tmp_path: Path) -> Iterator[Tracker]:
    with connect(database_url, artifacts=tmp_path) as tracker:
        yield tracker


@pytest.fixture
def run(tracker: Tracker) -> Run:
    return tracker.runs.create(NewRun(experiment_id=tracker.experiments.create("e").experiment_id))


def log(tracker: Tracker, run: Run, step: int) -> None:
    tracker.runs.log(run.run_id, Batch(metrics=(Metric("m", 1.0, 1, step),)))


def told(database: Database, run: Run) -> list[str]:
    event = schema.event.c
    query = sa.select(event.kind).where(event.target == run.run_id).order_by(event.id)
    with database.read() as connection:
        return list(connection.execute(query).scalars())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def test_creations_and_changes_are_told_at_once(tracker: Tracker, database: Database, run: Run) -> None:
    assert told(database, run) == ["run.created"]
    tracker.runs.change(run.run_id, RunChange(name="x"))
    tracker.runs.change(run.run_id, RunChange(status=RunStatus.FINISHED))
    assert told(database, run) == ["run.created", "run.changed", "run.changed"]


def test_logging_is_told_now_and_then_and_the_last_of_it_for_sure(
    tracker: Tracker, database: Database, run: Run
) -> None:
    started = time.monotonic()
    for step in range(50):
        last = time.time_ns() // 1_000_000
        log(tracker, run, step)
    wait_until(lambda: changes(database, run)[-1] >= last)
    told_of = len(changes(database, run))
    assert 1 <= told_of <= time.monotonic() - started + 1
    log(tracker, run, 51)
    tracker.close()
    assert len(changes(database, run)) > told_of


def changes(database: Database, run: Run) -> list[int]:
    """When it was told of them."""
    event = schema.event.c
    query = sa.select(event.at).where(event.target == run.run_id, event.kind == "run.changed").order_by(event.id)
    with database.read() as connection:
        return list(connection.execute(query).scalars())


def test_an_event_says_what_decides_who_may_learn_of_it(tracker: Tracker, database: Database, run: Run) -> None:
    tracker.runs.comment(run.run_id, "x")
    tracker.artifacts.put(run.run_id, "m/MLmodel", io.BytesIO(b"flavors: {python_function: {}}"))
    tracker.experiments.transfer(run.experiment_id, "group:red")
    log(tracker, run, 1)
    tracker.runs.change(run.run_id, RunChange(name="x"))
    tracker.models.register("m", run.run_id, "m")
    tracker.models.restrict("m", True)
    tracker.models.set_tags("m", {"a": "b"})
    tracker.models.restrict("m", False)
    me, event = tracker.principal.name, schema.event.c
    query = sa.select(event.target, event.owner, event.experiment_id, event.restricted).order_by(event.id)
    with database.read() as connection:
        found = [tuple(row) for row in connection.execute(query)]
    inside = run.experiment_id
    before, after = (run.run_id, me, inside, False), (run.run_id, "group:red", inside, False)
    assert [each for each in found if each[0] == run.run_id] == [before] * 3 + [after] * (found.count(after))
    assert found.count(after) >= 1
    experiments = [each for each in found if each[0] == inside]
    assert experiments == [(inside, owner, inside, False) for owner in (me, me, "group:red")]
    # Made, a version added, restricted (told to all who saw it), tagged, opened again.
    models = [each for each in found if each[0] == "m"]
    assert models == [("m", "group:red", None, restricted) for restricted in (False, False, False, True, False)]


def test_old_events_are_trimmed(database: Database) -> None:
    now = 10 * events.KEPT_MS
    with database.write() as connection:
        for at in (0, now - events.KEPT_MS - 1, now - events.KEPT_MS, now):
            events.add_events(connection, Event("run.changed", "o", str(at), at))
        events.trim_events(connection, now)
        left = connection.execute(sa.select(schema.event.c.at).order_by(schema.event.c.id)).scalars().all()
    assert left == [now - events.KEPT_MS, now]


def test_very_many_old_events_are_trimmed_by_and_by(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_TRIMMED_AT_ONCE", 3)
    now = 10 * events.KEPT_MS
    left = []
    with database.write() as connection:
        events.add_events(connection, *(Event("run.changed", "o", str(at), at) for at in (*range(7), now)))
        for _ in range(4):
            events.trim_events(connection, now)
            left.append(connection.execute(sa.select(sa.func.count()).select_from(schema.event)).scalar_one())
    assert left == [5, 2, 1, 1]


def chunks(database: Database, run: Run) -> list[int]:
    chunk = schema.metric_chunk.c
    with database.read() as connection:
        query = sa.select(chunk.count).where(chunk.run_id == run.run_id).order_by(chunk.id)
        return list(connection.execute(query).scalars())


def test_small_chunks_are_joined_at_the_end(tracker: Tracker, database: Database, run: Run) -> None:
    large = Batch(metrics=tuple(Metric("m", 1.0, 1, step) for step in range(metrics.MERGED)))
    for step in range(3):
        log(tracker, run, step)
    tracker.runs.log(run.run_id, large)
    for step in range(2):
        log(tracker, run, step)
    assert chunks(database, run) == [1, 1, 1, metrics.MERGED, 1, 1]
    tracker.runs.change(run.run_id, RunChange(status=RunStatus.FINISHED))
    assert chunks(database, run) == [3, metrics.MERGED, 2]


def test_many_small_chunks_are_joined_meanwhile(tracker: Tracker, database: Database, run: Run) -> None:
    for step in range(CROWD + 10):
        log(tracker, run, step)
    assert chunks(database, run) == [CROWD] + [1] * 10


CHANGES_OF_A_LOGGED_MODEL = {
    "finish": lambda models, model_id: models.finish(model_id, "READY"),
    "log_params": lambda models, model_id: models.log_params(model_id, [values.param("depth", 3)]),
    "set_tags": lambda models, model_id: models.set_tags(model_id, {"team": "red"}),
    "delete_tag": lambda models, model_id: models.delete_tag(model_id, "old"),
    "delete": lambda models, model_id: models.delete(model_id),
}


@pytest.mark.parametrize("change", CHANGES_OF_A_LOGGED_MODEL.values(), ids=CHANGES_OF_A_LOGGED_MODEL)
@pytest.mark.parametrize("own", [False, True])
def test_the_run_of_a_logged_model_tells_what_changes_it(
    tracker: Tracker, database: Database, run: Run, change: Callable[[LoggedModels, str], object], own: bool
) -> None:
    of_run = None if own else run.run_id
    model = tracker.logged_models.create(run.experiment_id, run_id=of_run, tags={"old": "x"})
    holder = tracker.runs.get(model.run_id)
    before = told(database, holder)
    change(tracker.logged_models, model.model_id)
    assert told(database, holder) == [*before, "run.changed"]


def test_a_metric_of_a_logged_model_is_told_by_the_run_that_the_model_is_of(
    tracker: Tracker, database: Database, run: Run
) -> None:
    model = tracker.logged_models.create(run.experiment_id, run_id=run.run_id)
    other = tracker.runs.create(NewRun(experiment_id=run.experiment_id))
    before = told(database, run)
    tracker.runs.log(other.run_id, Batch(model_points=(ModelPoint(model.model_id, Metric("auc", 0.9, 1, 0)),)))
    assert told(database, run) == [*before, "run.changed"]
    assert told(database, other) == ["run.created", "run.changed"]
    event = schema.event.c
    with database.read() as connection:
        owners = set(connection.execute(sa.select(event.owner, event.experiment_id)))
    assert owners == {(tracker.principal.name, run.experiment_id)}


def happened_to(database: Database, target: str) -> list[tuple[str, Json]]:
    """What was told of it, with what each event says more."""
    event = schema.event.c
    query = sa.select(event.kind, event.detail_json).where(event.target == target).order_by(event.id)
    with database.read() as connection:
        return [(kind, detail and json.loads(detail)) for kind, detail in connection.execute(query)]


MANY = ("experiment.changed", {"runs": True})


def test_that_the_runs_below_one_were_deleted_or_restored_is_told_once_for_each_experiment(
    tracker: Tracker, database: Database, run: Run
) -> None:
    elsewhere, untouched = (tracker.experiments.create(name).experiment_id for name in ("elsewhere", "untouched"))
    tracker.runs.create(NewRun(experiment_id=untouched))
    for experiment_id in (run.experiment_id, run.experiment_id, elsewhere):
        child = tracker.runs.create(NewRun(experiment_id=experiment_id, parent_run_id=run.run_id))
    below = tracker.runs.create(NewRun(experiment_id=elsewhere, parent_run_id=child.run_id))
    created = ("experiment.created", None)
    for count, change in enumerate((tracker.runs.delete, tracker.runs.restore), 1):
        change(run.run_id)
        assert [kind for kind, _ in happened_to(database, run.run_id)] == ["run.created"] + ["run.changed"] * count
        assert told(database, below) == ["run.created"]
        for experiment_id in (run.experiment_id, elsewhere):
            assert happened_to(database, experiment_id) == [created] + [MANY] * count
        assert happened_to(database, untouched) == [created]


def test_a_run_that_is_deleted_or_restored_alone_tells_of_no_others(
    tracker: Tracker, database: Database, run: Run
) -> None:
    child = tracker.runs.create(NewRun(experiment_id=run.experiment_id, parent_run_id=run.run_id))
    for change in (tracker.runs.delete, tracker.runs.restore):
        change(child.run_id)
    assert told(database, child) == ["run.created", "run.changed", "run.changed"]
    assert happened_to(database, run.experiment_id) == [("experiment.created", None)]


def test_an_experiment_that_is_deleted_or_restored_tells_of_its_runs(
    tracker: Tracker, database: Database, run: Run
) -> None:
    tracker.experiments.rename(run.experiment_id, "other")
    for change in (tracker.experiments.delete, tracker.experiments.restore):
        change(run.experiment_id)
    told_of = [("experiment.created", None), ("experiment.changed", None), MANY, MANY]
    assert happened_to(database, run.experiment_id) == told_of


def test_the_run_of_a_deleted_model_takes_those_below_it_along(tracker: Tracker, database: Database, run: Run) -> None:
    model = tracker.logged_models.create(run.experiment_id)
    tracker.runs.create(NewRun(experiment_id=run.experiment_id, parent_run_id=model.run_id))
    tracker.logged_models.delete(model.model_id)
    assert happened_to(database, run.experiment_id) == [("experiment.created", None), MANY]


def test_a_model_that_is_renamed_is_told_by_both_names(tracker: Tracker, database: Database) -> None:
    tracker.models.create("old")
    tracker.models.update("old", new_name="new")
    assert happened_to(database, "old") == [("model.created", None), ("model.changed", None)]
    assert happened_to(database, "new") == [("model.changed", None)]


def test_a_card_that_is_written_is_told(tracker: Tracker, database: Database) -> None:
    tracker.models.create("m")
    tracker.models.refer("m", "s3://bucket/model")
    before = happened_to(database, "m")
    tracker.models.set_card("m", 1, "for nobody")
    assert happened_to(database, "m") == [*before, ("model.changed", None)]


def test_what_goes_for_good_is_told_once_for_each_experiment(tracker: Tracker, database: Database, run: Run) -> None:
    gone = tracker.experiments.create("gone").experiment_id
    for experiment_id in (gone, gone, run.experiment_id):
        other = tracker.runs.create(NewRun(experiment_id=experiment_id))
    tracker.experiments.delete(gone)
    tracker.runs.delete(other.run_id)
    before = {each: happened_to(database, each) for each in (gone, run.experiment_id)}
    collected = tracker.gc()
    assert (collected.experiments, collected.runs) == (1, 3)
    # Of its runs, and of itself.
    assert happened_to(database, gone) == [*before[gone], MANY, MANY]
    assert happened_to(database, run.experiment_id) == [*before[run.experiment_id], MANY]


def test_whose_an_experiment_was_learns_that_it_was_handed_over_or_went_and_no_more(tracker: Tracker) -> None:
    assert isinstance(tracker, EmbeddedTracker)
    ann, bob = (Principal(name, scope=Scope.READ) for name in ("ann", "bob"))
    kept, gone = (tracker.experiments.create(name, owner="ann").experiment_id for name in ("kept", "gone"))
    feed = tracker.feed()

    def heard(principal: Principal) -> list[tuple[str, str]]:
        return [(each.kind, each.target) for each in feed.visible(principal, news)]

    tracker.experiments.transfer(kept, "bob")
    news = feed.read()
    changed = ("experiment.changed", kept)
    assert (heard(ann), heard(bob)) == ([changed], [changed] * 2)
    run = tracker.runs.create(NewRun(experiment_id=kept))
    tracker.experiments.set_tags(kept, {"a": "b"})
    news = feed.read()
    assert (heard(ann), heard(bob)) == ([], [("run.created", run.run_id), changed])
    tracker.experiments.delete(gone)
    tracker.gc()
    news = feed.read()
    assert (heard(ann), heard(bob)) == ([("experiment.changed", gone)] * 2, [])
