"""Tokens of checks, at a real service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.checks import JOB_PREFIX, TOKEN_PREFIX
from jupyter_mlops.core.credentials import new_token, token_digest
from jupyter_mlops.core.errors import NotFound, PermissionDenied, Unauthenticated
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.service.inprocess import Running, running

JOB = Principal(JOB_PREFIX + "7" * 32, group_scopes=(("red", Scope.READ),), decides=False)


@pytest.fixture
def jobs() -> dict[str, Principal]:
    """The principals of jobs that go on, by the digests of their tokens."""
    return {}


@pytest.fixture
def service(sqlite_url: str, tmp_path: Path, jobs: dict[str, Principal]) -> Iterator[Running]:
    with running(sqlite_url, tmp_path / "artifacts", tmp_path, find_job=jobs.get) as service:
        yield service


def test_it_counts_as_long_as_the_job_goes_on(service: Running, jobs: dict[str, Principal]) -> None:
    token = new_token(TOKEN_PREFIX)
    jobs[token_digest(token)] = JOB
    with RemoteTracker(service.url, token) as tracker:
        assert tracker.principal == JOB
        tracker.experiments.search()
        jobs.clear()
        with pytest.raises(Unauthenticated, match="that of a check"):
            tracker.experiments.search()


def test_another_token_is_none(service: Running, jobs: dict[str, Principal]) -> None:
    jobs[token_digest(new_token(TOKEN_PREFIX))] = JOB
    for token in (new_token(TOKEN_PREFIX), new_token(TOKEN_PREFIX)[:-1], "mlops_check_"):
        with RemoteTracker(service.url, token) as tracker, pytest.raises(Unauthenticated):
            tracker.experiments.search()
    with RemoteTracker(service.url, service.token("ann")) as tracker:
        assert tracker.principal.name == "ann"


def test_it_reads_what_the_group_reads_and_changes_nothing_of_theirs(
    service: Running, jobs: dict[str, Principal]
) -> None:
    token = new_token(TOKEN_PREFIX)
    jobs[token_digest(token)] = JOB
    with (
        RemoteTracker(service.url, service.token("ann", "red")) as ann,
        RemoteTracker(service.url, service.token("bo", "blue")) as bo,
        RemoteTracker(service.url, token) as job,
    ):
        theirs = ann.experiments.create("churn", owner="group:red")
        run = ann.runs.create(NewRun(experiment_id=theirs.experiment_id))
        others = bo.experiments.create("secret", owner="group:blue")

        assert job.runs.get(run.run_id).run_id == run.run_id
        with pytest.raises(NotFound):
            job.experiments.get(others.experiment_id)
        with pytest.raises(PermissionDenied):
            job.runs.comment(run.run_id, "looks fine")
        with pytest.raises(PermissionDenied):
            job.runs.create(NewRun(experiment_id=theirs.experiment_id))
        own = job.experiments.create("mine")
        assert own.owner == JOB.name
        with pytest.raises(PermissionDenied, match="decides nothing"):
            job.experiments.share(own.experiment_id, to_everyone=True)
