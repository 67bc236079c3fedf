"""Data sets of the same name and digest, of which several say what they know."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.records import Batch, Dataset, Input, NewRun
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker

ADAS = Dataset("train", "v1", "s3", "s3://ada-private/customers.parquet", schema='{"income": "float"}', rows=7)
BOBS = Dataset("train", "v1", "local", "/home/bob/train.csv")


@pytest.fixture
def tracker(database_url: str, tmp_path: Path) -> Iterator[EmbeddedTracker]:
    with connect(database_url, artifacts=tmp_path, principal=Principal("boss", scope=Scope.ADMIN)) as tracker:
        assert isinstance(tracker, EmbeddedTracker)
        yield tracker


def used(tracker: EmbeddedTracker, *datasets: Dataset) -> str:
    """A run of the caller's that used data sets, together in one batch each."""
    experiment = tracker.experiments.ensure("churn").experiment_id
    run = tracker.runs.create(NewRun(experiment_id=experiment))
    for dataset in datasets:
        tracker.runs.log(run.run_id, Batch(inputs=(Input(dataset, "training"),)))
    return run.run_id


def test_each_run_says_what_it_said_and_learns_nothing_of_others(tracker: EmbeddedTracker) -> None:
    ada, bob = (tracker.acting_for(Principal(name)) for name in ("ada", "bob"))
    first, second, bare = used(ada, ADAS), used(bob, BOBS), used(bob, Dataset("train", "v1"))
    assert [each.dataset for each in ada.runs.get(first).inputs] == [ADAS]
    assert [each.dataset for each in bob.runs.get(second).inputs] == [BOBS]
    assert [each.dataset for each in bob.runs.get(bare).inputs] == [Dataset("train", "v1")]
    assert {each.run_id: each.dataset for each in bob.datasets.uses("v1")} == {
        second: BOBS,
        bare: Dataset("train", "v1"),
    }
    assert {each.run_id for each in tracker.datasets.uses("v1")} == {first, second, bare}


def test_what_is_said_again_counts(tracker: EmbeddedTracker) -> None:
    used(tracker, ADAS)
    assert [each.dataset for each in tracker.runs.get(used(tracker, ADAS, BOBS)).inputs] == [BOBS]
    assert [each.dataset for each in tracker.runs.get(used(tracker, BOBS, ADAS)).inputs] == [ADAS]


def test_a_version_keeps_what_its_run_said(tracker: EmbeddedTracker) -> None:
    ada, bob = (tracker.acting_for(Principal(name)) for name in ("ada", "bob"))
    used(ada, ADAS)
    run_id = used(bob, BOBS)
    bob.artifacts.put(run_id, "model/MLmodel", io.BytesIO(b"flavors:\n  python_function:\n    loader_module: m\n"))
    bob.models.register("churn", run_id, "model")
    bob.models.create("copies")
    bob.models.refer("copies", "models:/churn/1")
    bob.runs.delete(run_id)
    found = {each.versions: each.dataset for each in bob.datasets.uses("v1")}
    assert found == {(("churn", 1),): BOBS, (("copies", 1),): BOBS}
