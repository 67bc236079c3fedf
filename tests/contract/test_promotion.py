"""Promotion, through every tracker: who asks, who decides, and that a protected alias moves in no other way."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.checks import CheckJob, CheckResult, Verdict
from jupyter_mlops.core.errors import Conflict, InvalidValue, MLOpsError, NotFound, PermissionDenied, UnsafeModel
from jupyter_mlops.core.policy import CheckRule, Policy, PolicySource
from jupyter_mlops.core.promotion import Promotion, PromotionKind, PromotionState
from jupyter_mlops.core.records import ModelVersion, NewRun
from jupyter_mlops.tracker.protocol import Tracker
from tests.contract.conftest import Opener
from tests.together import together

SAFE = b"flavors: {python_function: {loader_module: mlflow.sklearn, model_path: m.skops}}"
UNSAFE = b"flavors: {python_function: {loader_module: mlflow.sklearn, model_path: m.pkl}}"
RED = frozenset({"red"})
UNCHECKED = Policy(checks=())


class Team:
    """People of the group red, and a worker; ``churn`` is the group's."""

    def __init__(self, open_tracker: Opener) -> None:
        self.open = open_tracker
        self.admin = open_tracker(Principal("boss", scope=Scope.ADMIN))
        self.ada = open_tracker(Principal("ada", RED))
        self.bo = open_tracker(Principal("bo", RED, Scope.PROMOTE))
        self.cy = open_tracker(Principal("cy", RED, Scope.PROMOTE))
        self.worker = open_tracker(Principal("worker", scope=Scope.ADMIN))

    def version(self, by: Tracker | None = None, mlmodel: bytes = SAFE) -> ModelVersion:
        tracker = by or self.ada
        experiment = tracker.experiments.ensure("training", owner="group:red")
        run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
        tracker.artifacts.put(run.run_id, "model/MLmodel", io.BytesIO(mlmodel))
        name = "m.pkl" if mlmodel == UNSAFE else "m.skops"
        tracker.artifacts.put(run.run_id, f"model/{name}", io.BytesIO(run.run_id.encode()))
        return tracker.models.register("churn", run.run_id, "model")

    def versions(self, count: int) -> None:
        for _ in range(count):
            self.version()

    def unchecked(self, **changes: Any) -> Policy:
        """Put a policy without checks into force."""
        policy = msgspec.structs.replace(UNCHECKED, **changes)
        self.admin.policies.set(policy, owner="group:red")
        return policy

    def promoted(self, version: int) -> Promotion:
        request = self.ada.promotions.request("churn", version, reason=f"for {version}")
        return self.bo.promotions.approve(request.request_id)

    def work(self, verdict: Verdict = Verdict.PASSED) -> CheckJob:
        job = self.worker.checks.claim()
        assert job is not None
        self.worker.checks.report(job.job_id, CheckResult(name=job.name, verdict=verdict, summary="looked at it"))
        return job

    def production(self) -> int | None:
        return {alias.alias: alias.version for alias in self.ada.models.get("churn").aliases}.get("production")


@pytest.fixture
def team(open_tracker: Opener) -> Team:
    return Team(open_tracker)


# --- the whole way ---------------------------------------------------------------------------------------------------


def test_a_request_is_checked_and_approved_and_the_alias_moves(team: Team) -> None:
    version = team.version()
    request = team.ada.promotions.request("churn", 1, reason="better")
    assert (request.state, request.champion, request.requester) == (PromotionState.OPEN, None, "ada")
    assert (request.digest, request.run_id, request.authors) == (version.digest, version.run_id, ("ada",))
    assert request.missing == ("the check 'loads' is not done yet", "1 more must approve")
    assert team.bo.promotions.search(state="open").items == (request,)
    approved = team.bo.promotions.approve(request.request_id, reason="fine")
    assert approved.missing == ("the check 'loads' is not done yet",)
    assert team.production() is None
    job = team.work()
    assert (job.request_id, job.model, job.version, job.alias, job.name) == (
        *(request.request_id, "churn", 1, "production", "loads"),
    )
    done = team.ada.promotions.get(request.request_id)
    assert (done.state, done.missing, team.production()) == (PromotionState.PROMOTED, (), 1)
    assert [each.result.verdict for each in done.checks if each.result] == [Verdict.PASSED]
    (move,) = team.ada.models.alias_history("churn")
    assert (move.version, move.replaced, move.reason) == (1, None, "better")
