"""What MLflow asks for in one call happens as a whole, or not at all, in each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from jupyter_mlops.core.errors import InvalidValue, MLOpsError, PermissionDenied, QuotaExceeded
from jupyter_mlops.core.policy import Policy
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.records import ModelVersion, NewRun, RunStatus
from jupyter_mlops.service.mlflow import runs, versions
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker


@pytest.fixture
def tracker(database_url: str, tmp_path: Path) -> Iterator[EmbeddedTracker]:
    with connect(database_url, artifacts=tmp_path) as tracker:
        assert isinstance(tracker, EmbeddedTracker)
        yield tracker


def transition(tracker: EmbeddedTracker, version: str, stage: str, archive: bool = False) -> None:
    asked = versions.Transition(name="m", version=version, stage=stage, archive_existing_versions=archive)
    versions.transition(tracker, asked)


def all_versions(tracker: EmbeddedTracker) -> list[ModelVersion]:
    return [tracker.models.version("m", number) for number in (1, 2)]


def test_a_stage_whose_move_is_refused_midway_moves_nothing(tracker: EmbeddedTracker) -> None:
    tracker.models.create("m")
    for _ in range(2):
        tracker.models.refer("m", "s3://bucket/model")
    transition(tracker, "1", "Production")
    transition(tracker, "2", "Staging")
    tracker.policies.set(Policy(protected=("staging",), checks=()), model="m")
    before, moves = all_versions(tracker), tracker.models.alias_history("m")
    # Production may be moved; but Staging, which it would leave, may not.
    with pytest.raises(PermissionDenied, match="m@staging is protected"):
        transition(tracker, "2", "Production", archive=True)
    assert all_versions(tracker) == before
    assert tracker.models.alias_history("m") == moves
    tracker.policies.set(Policy(protected=(), checks=()), model="m")
    for _ in range(2):
        # As by a client that heard no answer.
        transition(tracker, "2", "Production", archive=True)
    stages = [versions.answer(each).current_stage for each in all_versions(tracker)]
    assert stages == ["Archived", "Production"]
    assert len(tracker.models.alias_history("m")) == len(moves) + 2


def update(tracker: EmbeddedTracker, asked: runs.Update) -> None:
    for call in runs.update(tracker, asked):
        tracker.writer.submit(call)


@pytest.mark.parametrize(
    ("more", "error"), [({"run_name": "x" * 10_000}, InvalidValue), ({"run_name": "new"}, QuotaExceeded)]
)
def test_a_run_whose_update_is_refused_keeps_its_status_and_its_name(
    tracker: EmbeddedTracker, more: dict[str, str], error: type[MLOpsError]
) -> None:
    experiment = tracker.experiments.create("e")
    run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id, name="old", status=RunStatus.SCHEDULED))
    tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
    tracker.quotas.set(experiment.owner, Quota(running=1))
    asked = msgspec.convert({"run_id": run.run_id, "status": "RUNNING", **more}, runs.Update)
    with pytest.raises(error):
        update(tracker, asked)
    found = tracker.runs.get(run.run_id)
    assert (found.name, found.status) == ("old", RunStatus.SCHEDULED)
