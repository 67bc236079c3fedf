from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa

from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.errors import PermissionDenied
from jupyter_mlops.core.records import NewRun, Progress, Reason, ReasonKind, RunChange, RunStatus
from jupyter_mlops.store import schema
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


def test_who_watches_is_told_that_it_goes_on(tracker: EmbeddedTracker) -> None:
    run_id = new_run(tracker)
    feed = tracker.feed()
    tracker.end_silent_runs(-60)
    tracker.runs.heartbeat(run_id)
    tracker.runs.heartbeat(run_id)
    assert [news.event.kind for news in feed.read()] == ["run.changed", "run.changed"]


def test_a_runner_is_heard_when_it_begins(tracker: EmbeddedTracker) -> None:
    """However long the run has waited for it."""
    run_id = new_run(tracker, driven=False)
    waited = tracker.runs.get(run_id).heartbeat
    assert waited is not None
    with tracker.database.write() as connection:
        connection.execute(sa.update(schema.run).values(heartbeat=waited - 3_600_000))
    tracker.runs.change(run_id, RunChange(status=RunStatus.RUNNING, runner=this_runner()))
    assert tracker.end_silent_runs(60) == []
    heard = tracker.runs.get(run_id).heartbeat
    assert heard is not None
    tracker.runs.change(run_id, RunChange(progress=Progress(done=1, total=2)))
    assert tracker.runs.get(run_id).heartbeat == heard


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
