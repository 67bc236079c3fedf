from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.errors import PermissionDenied
from jupyter_mlops.core.records import NewRun, Reason, ReasonKind, RunChange, RunStatus
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker
from jupyter_mlops.tracker.process import this_runner


@pytest.fixture
def tracker(database_url: str, tmp_path: Path) -> Iterator[EmbeddedTracker]:
    with connect(database_url, artifacts=tmp_path) as tracker:
        yield cast(EmbeddedTracker, tracker)


def new_run(tracker: EmbeddedTracker, *, driven: bool = True) -> str:
    experiment = tracker.experiments.ensure("churn")
    runner = this_runner() if driven else None
    return tracker.runs.create(NewRun(experiment_id=experiment.experiment_id, runner=runner)).run_id


def test_a_silent_runner_is_lost_and_goes_on_when_it_is_heard_again(tracker: EmbeddedTracker) -> None:
    run_id = new_run(tracker)
    assert tracker.end_silent_runs(60) == []
    # Nobody has been heard in the future.
    assert tracker.end_silent_runs(-60) == [run_id]
    lost = tracker.runs.get(run_id)
    assert lost.status is RunStatus.FAILED
    assert lost.reason is not None
    assert lost.reason.kind is ReasonKind.RUNNER_LOST
    assert tracker.end_silent_runs(-60) == []
    tracker.runs.heartbeat(run_id)
    found = tracker.runs.get(run_id)
    assert (found.status, found.reason, found.end_time) == (RunStatus.RUNNING, None, None)
    assert [entry.action for entry in tracker.audit(limit=2)] == ["run.reopen", "run.lost"]


def test_what_ended_or_has_no_runner_is_left_alone(tracker: EmbeddedTracker) -> None:
    ended = new_run(tracker)
    tracker.runs.change(ended, RunChange(status=RunStatus.FINISHED))
    by_program = new_run(tracker, driven=False)
    assert tracker.end_silent_runs(-60) == []
    for run_id, status in ((ended, RunStatus.FINISHED), (by_program, RunStatus.RUNNING)):
        tracker.runs.heartbeat(run_id)
        assert tracker.runs.get(run_id).status is status


def test_what_was_killed_for_sure_stays_so(tracker: EmbeddedTracker) -> None:
    run_id = new_run(tracker)
    reason = Reason(kind=ReasonKind.RUNNER_LOST, message="the runner of this run was killed or crashed")
    tracker.runs.change(run_id, RunChange(status=RunStatus.FAILED, reason=reason))
    tracker.runs.heartbeat(run_id)
    assert tracker.runs.get(run_id).status is RunStatus.FAILED


def test_it_is_for_the_service(tracker: EmbeddedTracker) -> None:
    with pytest.raises(PermissionDenied, match="admin"):
        tracker.acting_for(Principal("ada")).end_silent_runs(60)
