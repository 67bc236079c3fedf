from __future__ import annotations

import io
import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import InvalidValue, NotFound, PermissionDenied
from jupyter_mlops.core.records import Batch, Collected, Dataset, Experiment, Input, Metric, Run
from jupyter_mlops.core.retention import all_collected
from jupyter_mlops.core.values import param, tag
from jupyter_mlops.tracker.protocol import Tracker
from tests.together import together

Start = Callable[..., Run]


def put(tracker: Tracker, run: Run, path: str, content: bytes) -> None:
    tracker.artifacts.put(run.run_id, path, io.BytesIO(content))


def read(tracker: Tracker, run: Run, path: str) -> bytes:
    return b"".join(tracker.artifacts.open(run.run_id, path))


def test_a_deleted_run_goes_with_all_it_has(tracker: Tracker, start: Start) -> None:
    batch = Batch(
        metrics=tuple(Metric("auc", 0.5, step, step) for step in range(1000)),
        params=(param("lr", 0.1),),
        tags=(tag("a", "b"),),
        inputs=(Input(Dataset(name="iris", digest="d1"), "training"),),
    )
    run, other = start(batch), start(batch)
    child = start(parent_run_id=run.run_id)
    tracker.runs.comment(run.run_id, "no good")
    put(tracker, run, "a", b"12345")
    put(tracker, child, "b", b"123")
    put(tracker, other, "c", b"kept")
    tracker.runs.delete(run.run_id)
    expected = Collected(runs=2, blobs=2, bytes=8)
    assert tracker.gc(dry_run=True) == expected
    assert read(tracker, run, "a") == b"12345"
    assert tracker.gc() == expected
    for gone in (run, child):
        with pytest.raises(NotFound):
            tracker.runs.get(gone.run_id)
        with pytest.raises(NotFound):
            tracker.artifacts.walk(gone.run_id)
    assert [use.run_id for use in tracker.datasets.uses("d1")] == [other.run_id]
    assert read(tracker, other, "c") == b"kept"
    assert len(tracker.runs.history(other.run_id, "auc").items) == 1000
    assert tracker.gc() == Collected()


def test_a_deleted_experiment_goes_with_its_runs(tracker: Tracker, experiment: Experiment, start: Start) -> None:
    other = tracker.experiments.create("other")
    kept = start(experiment_id=other.experiment_id)
    put(tracker, start(), "a", b"12345")
    put(tracker, kept, "a", b"12345")
    tracker.experiments.delete(experiment.experiment_id)
    expected = Collected(experiments=1, runs=1)
    assert tracker.gc(dry_run=True) == expected
    assert tracker.gc() == expected
    with pytest.raises(NotFound):
        tracker.experiments.get(experiment.experiment_id)
    assert read(tracker, kept, "a") == b"12345"
    assert tracker.experiments.ensure(experiment.name).experiment_id != experiment.experiment_id


def test_of_very_much_a_call_does_a_part(tracker: Tracker, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_mlops.store.collect._AT_ONCE", 2)
    monkeypatch.setattr("jupyter_mlops.tracker.embedded._context.ANSWER_SECONDS", 0.0)
    for number in range(5):
        run = start()
        put(tracker, run, "a", bytes(number))
        tracker.runs.delete(run.run_id)
    would = tracker.gc(dry_run=True)
    assert would == Collected(runs=5, blobs=5, bytes=10)
    assert tracker.gc() == Collected(runs=2, unfinished=True)
    assert all_collected(tracker.gc) == Collected(runs=3, blobs=5, bytes=10)
    assert tracker.gc(dry_run=True) == Collected()
    # It is on record, whenever anything was done.
    told = [entry.detail for entry in tracker.audit(limit=100) if entry.action == "store.collect"]
    assert sum(detail.get("blobs", 0) for detail in told if isinstance(detail, dict)) == 5


def test_what_was_deleted_lately_stays(tracker: Tracker, experiment: Experiment, start: Start) -> None:
    run = start()
    put(tracker, run, "a", b"12345")
    tracker.experiments.delete(experiment.experiment_id)
    assert tracker.gc(older_than_seconds=3600) == tracker.gc(older_than_seconds=3600, dry_run=True) == Collected()
    tracker.experiments.restore(experiment.experiment_id)
    assert tracker.gc() == tracker.gc(dry_run=True) == Collected()
    assert read(tracker, run, "a") == b"12345"


def test_bytes_go_when_the_last_reference_goes(tracker: Tracker, start: Start) -> None:
    run, other = start(), start()
    put(tracker, run, "a", b"shared")
    put(tracker, run, "b", b"replaced")
    put(tracker, run, "b", b"shared")
    put(tracker, other, "c", b"shared")
    assert tracker.gc() == Collected(blobs=1, bytes=8)
    tracker.artifacts.delete(run.run_id, "a")
    tracker.runs.delete(other.run_id)
    assert tracker.gc() == Collected(runs=1)
    tracker.artifacts.delete(run.run_id, "b")
    assert tracker.gc() == Collected(blobs=1, bytes=6)


def test_bytes_of_a_version_stay_until_it_is_deleted(tracker: Tracker, start: Start) -> None:
    run = start()
    put(tracker, run, "model/MLmodel", b"flavors: {python_function: {}}")
    put(tracker, run, "model/weights", b"precious")
    put(tracker, run, "log", b"123")
    for _ in range(2):
        tracker.models.register("churn", run.run_id, "model")
    tracker.runs.delete(run.run_id)
    assert tracker.gc(dry_run=True) == Collected(runs=1, blobs=1, bytes=3)
    assert tracker.gc() == Collected(runs=1, blobs=1, bytes=3)
    tracker.models.delete_version("churn", 1)
    assert tracker.gc() == Collected()
    assert b"".join(tracker.models.open("churn", 2, "weights")) == b"precious"
    tracker.models.delete("churn")
    assert tracker.gc().blobs == 2


def test_a_version_knows_the_data_sets_of_its_run_after_it(tracker: Tracker, start: Start) -> None:
    data = Dataset("iris", "d1", rows=150)
    run = start(Batch(inputs=(Input(data, "training"), Input(Dataset("other", "d2"), "testing"))))
    put(tracker, run, "model/MLmodel", b"flavors: {python_function: {}}")
    for _ in range(2):
        tracker.models.register("churn", run.run_id, "model")
    [before] = tracker.datasets.uses("d1")
    assert (before.run_id, before.versions) == (run.run_id, (("churn", 1), ("churn", 2)))
    tracker.runs.delete(run.run_id)
    deleted = tracker.datasets.uses("d1")
    tracker.gc()
    uses = tracker.datasets.uses("d1")
    assert deleted == uses
    assert {(use.run_id, use.context, use.dataset) for use in uses} == {(run.run_id, "training", data)}
    assert [use.versions for use in uses] == [(("churn", 2),), (("churn", 1),)]
    tracker.models.delete_version("churn", 2)
    assert [use.versions for use in tracker.datasets.uses("d1")] == [(("churn", 1),)]
    assert [use.versions for use in tracker.datasets.uses("d2")] == [(("churn", 1),)]
    tracker.models.delete("churn")
    assert tracker.datasets.uses("d1") == tracker.datasets.uses("d2") == ()


def test_a_collection_is_on_record(tracker: Tracker, start: Start) -> None:
    tracker.gc()
    assert tracker.audit(limit=1)[0].action != "store.collect"
    tracker.runs.delete(start().run_id)
    tracker.gc(dry_run=True)
    tracker.gc()
    assert [entry.action for entry in tracker.audit(limit=2)] == ["store.collect", "run.delete"]


@pytest.mark.parametrize("age", [-1, float("nan"), float("inf")])
def test_an_age_that_is_none_is_refused(tracker: Tracker, age: float) -> None:
    with pytest.raises(InvalidValue, match="older_than_seconds"):
        tracker.gc(older_than_seconds=age)


def test_only_administrators_collect(open_tracker: Callable[..., Tracker]) -> None:
    ann = open_tracker(Principal("ann", scope=Scope.PROMOTE))
    with pytest.raises(PermissionDenied, match="admin"):
        ann.gc()


# --- at the same time as others --------------------------------------------------------------------------------------


def churn(tracker: Tracker, run: Run, seed: int, rounds: int) -> None:
    """Store and forget a few contents again and again, always with one at ``kept``."""
    chance = random.Random(seed)
    for _ in range(rounds):
        content = f"content {chance.randrange(4)}".encode()
        tracker.artifacts.put(run.run_id, f"{chance.randrange(3)}", io.BytesIO(content))
        tracker.artifacts.put(run.run_id, "kept", io.BytesIO(content))
        assert b"".join(tracker.artifacts.open(run.run_id, "kept")) == content
        for artifact in tracker.artifacts.list(run.run_id):
            if artifact.path != "kept" and chance.random() < 0.6:
                tracker.artifacts.delete(run.run_id, artifact.path)


def collect(tracker: Tracker, rounds: int) -> int:
    return sum(tracker.gc().blobs for _ in range(rounds))


@pytest.mark.at_once
def test_a_collection_never_takes_what_is_stored_meanwhile(tracker: Tracker, start: Start) -> None:
    runs = [start() for _ in range(3)]
    outcomes = together(
        partial(collect, tracker, 15),
        partial(collect, tracker, 15),
        *(partial(churn, tracker, run, seed, 25) for seed, run in enumerate(runs)),
    )
    assert outcomes[2:] == [None] * 3
    assert all(isinstance(freed, int) for freed in outcomes[:2])
    for run in runs:
        for artifact in tracker.artifacts.walk(run.run_id):
            assert read(tracker, run, artifact.path).startswith(b"content ")


@pytest.mark.at_once
def test_registering_and_collecting_at_once(tracker: Tracker, start: Start) -> None:
    for _ in range(5):
        run = start()
        put(tracker, run, "model/MLmodel", b"flavors: {python_function: {}}")
        put(tracker, run, "model/weights", run.run_id.encode())
        tracker.artifacts.put(run.run_id, "log", io.BytesIO(run.run_id[::-1].encode()))
        registered, _, _ = together(
            partial(tracker.models.register, "churn", run.run_id, "model"),
            partial(tracker.runs.delete, run.run_id),
            partial(collect, tracker, 3),
        )
        tracker.gc()
        if not isinstance(registered, Exception):
            weights = b"".join(tracker.models.open("churn", registered.version, "weights"))
            assert weights == run.run_id.encode()


WORKER = """
import sys
from jupyter_mlops.tracker.connect import connect
from tests.contract.test_gc import churn, collect

url, run_id, seed = sys.argv[1:]
with connect(url) as tracker:
    run = tracker.runs.get(run_id)
    if int(seed) == 0:
        print(collect(tracker, 30))
    else:
        churn(tracker, run, int(seed), 40)
"""


@pytest.mark.at_once
@pytest.mark.slow
def test_processes_store_and_collect_at_once(tracker: Tracker, start: Start, database_url: str) -> None:
    runs = [start() for _ in range(3)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, database_url, run.run_id, str(seed)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed, run in enumerate(runs)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
    for run in runs[1:]:
        assert read(tracker, run, "kept").startswith(b"content ")
    tracker.gc()
    for run in runs[1:]:
        assert read(tracker, run, "kept").startswith(b"content ")
