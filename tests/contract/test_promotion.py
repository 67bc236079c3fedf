"""Promotion, through every tracker: who asks, who decides, and that a protected alias moves in no other way."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.checks import CheckJob, CheckResult, Verdict
from jupyter_mlops.core.errors import Conflict, InvalidValue, MLOpsError, NotFound, PermissionDenied, UnsafeModel
from jupyter_mlops.core.policy import CheckRule, Policy, PolicySource
from jupyter_mlops.core.promotion import Promotion, PromotionKind, PromotionState
from jupyter_mlops.core.records import Batch, Dataset, Input, Metric, ModelVersion, NewRun, Param
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
        self.worker.checks.report(
            job.job_id, job.claim, CheckResult(name=job.name, verdict=verdict, summary="looked at it")
        )
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


def test_a_failed_check_keeps_the_alias_where_it_is_until_it_is_asked_again(team: Team) -> None:
    team.version()
    request = team.ada.promotions.request("churn", 1)
    team.bo.promotions.approve(request.request_id)
    team.work(Verdict.FAILED)
    assert team.ada.promotions.get(request.request_id).missing == ("the check 'loads' failed: looked at it",)
    refreshed = team.ada.promotions.refresh(request.request_id)
    assert (refreshed.round, refreshed.expires) == (2, request.expires)
    team.work()
    assert team.ada.promotions.get(request.request_id).missing == ("1 more must approve",)
    assert team.production() is None
    team.bo.promotions.approve(request.request_id)
    assert team.production() == 1


def test_checks_alone_are_enough_where_the_policy_says_so(team: Team) -> None:
    team.version()
    team.admin.policies.set(Policy(automatic=True), model="churn")
    request = team.ada.promotions.request("churn", 1)
    team.work()
    done = team.ada.promotions.get(request.request_id)
    assert (done.state, done.closed_by, team.production()) == (PromotionState.PROMOTED, None, 1)


def test_what_is_self_reported_does_not_count(team: Team) -> None:
    team.version()
    request = team.ada.promotions.request("churn", 1)
    team.bo.promotions.approve(request.request_id)
    team.ada.checks.self_report(
        request.request_id, CheckResult(name="loads", verdict=Verdict.PASSED, summary="it does", reported_by="worker")
    )
    shown = team.bo.promotions.get(request.request_id)
    reported = [each.result for each in shown.checks if each.result]
    assert [(each.reported_by, each.self_reported) for each in reported] == [("ada", True)]
    assert (shown.missing, team.production()) == (("the check 'loads' is not done yet",), None)


def test_personal_models_are_not_protected(team: Team, open_tracker: Opener) -> None:
    joe = open_tracker(Principal("joe"))
    run = joe.runs.create(NewRun(experiment_id=joe.experiments.ensure("own").experiment_id))
    joe.artifacts.put(run.run_id, "model/MLmodel", io.BytesIO(SAFE))
    joe.models.register("mine", run.run_id, "model")
    done = joe.promotions.request("mine", 1, reason="mine")
    assert (done.state, done.outcome) == (PromotionState.PROMOTED, "the alias is not protected")
    assert joe.models.resolve("mine", "@production").version == 1
    assert joe.policies.get(model="mine").source is PolicySource.NONE
    joe.models.delete_alias("mine", "production")
    joe.models.set_alias("mine", "production", 1)


# --- who decides -----------------------------------------------------------------------------------------------------


def test_nobody_approves_what_they_ask_for_or_have_made(team: Team, open_tracker: Opener) -> None:
    team.unchecked()
    team.version(team.bo)
    own = team.bo.promotions.request("churn", 1)
    everywhere = open_tracker(Principal("bo", frozenset({"red", "blue"}), Scope.PROMOTE))
    for asking in (team.bo, everywhere):
        with pytest.raises(PermissionDenied, match="'bo' asked for it"):
            asking.promotions.approve(own.request_id)
    team.bo.promotions.withdraw(own.request_id)
    request = team.ada.promotions.request("churn", 1)
    with pytest.raises(PermissionDenied, match="'bo' is the author"):
        team.bo.promotions.approve(request.request_id)
    with pytest.raises(PermissionDenied, match="promote"):
        team.ada.promotions.approve(request.request_id)
    assert team.production() is None
    assert team.cy.promotions.approve(request.request_id).state is PromotionState.PROMOTED


def test_the_author_approves_where_the_policy_says_so(team: Team) -> None:
    team.unchecked(author_may_approve=True)
    team.version(team.bo)
    request = team.ada.promotions.request("churn", 1)
    assert team.bo.promotions.approve(request.request_id).state is PromotionState.PROMOTED


def test_who_answers_for_a_service_counts_as_asking(team: Team, open_tracker: Opener) -> None:
    team.unchecked()
    team.version()
    red = (("red", Scope.WRITE),)
    nobody = open_tracker(Principal("service:ci", scope=Scope.NONE, group_scopes=red))
    with pytest.raises(PermissionDenied, match="nobody answers for"):
        nobody.promotions.request("churn", 1)
    service = open_tracker(Principal("service:ci", scope=Scope.NONE, group_scopes=red, acts_for="bo"))
    request = service.promotions.request("churn", 1)
    assert (request.requester, request.asked_by) == ("bo", "service:ci")
    with pytest.raises(PermissionDenied, match="'bo' asked for it"):
        team.bo.promotions.approve(request.request_id)
    assert team.cy.promotions.approve(request.request_id).state is PromotionState.PROMOTED


def test_a_notebook_decides_nothing(team: Team, open_tracker: Opener) -> None:
    team.unchecked()
    team.versions(2)
    team.promoted(1)
    request = team.ada.promotions.request("churn", 2)
    hostile = open_tracker(Principal("bo", RED, Scope.PROMOTE, decides=False))
    boss = open_tracker(Principal("boss", scope=Scope.ADMIN, decides=False))
    for call in (
        lambda: hostile.promotions.approve(request.request_id),
        lambda: hostile.promotions.reject(request.request_id, reason="x"),
        lambda: hostile.promotions.request_changes(request.request_id, reason="x"),
        lambda: hostile.promotions.rollback("churn", "production", reason="x"),
        lambda: hostile.policies.set(Policy(approvals=2), model="churn"),
        lambda: boss.policies.set(Policy(protected=()), model="churn"),
        lambda: boss.promotions.override("churn", "production", version=2, reason="x"),
        boss.checks.claim,
    ):
        with pytest.raises(PermissionDenied):
            call()
    assert (team.production(), team.ada.promotions.get(request.request_id)) == (1, request)


def test_as_many_approve_as_the_policy_says_of_those_it_names(team: Team, open_tracker: Opener) -> None:
    team.unchecked(approvals=2, approvers=("bo", "cy", "group:heads"))
    team.version()
    request = team.ada.promotions.request("churn", 1)
    team.bo.promotions.approve(request.request_id)
    again = team.bo.promotions.approve(request.request_id)
    assert again.missing == ("1 more of bo, cy, group:heads must approve",)
    dee = open_tracker(Principal("dee", RED, Scope.PROMOTE))
    with pytest.raises(PermissionDenied, match="none of them"):
        dee.promotions.approve(request.request_id)
    head = open_tracker(Principal("eve", frozenset({"red", "heads"}), Scope.PROMOTE))
    assert head.promotions.approve(request.request_id).state is PromotionState.PROMOTED


def test_what_nobody_could_approve_says_so_at_once(team: Team) -> None:
    team.unchecked(approvers=("bo",))
    team.version(team.bo)
    with pytest.raises(Conflict, match=r"nobody could approve this.*bo.*policy set"):
        team.ada.promotions.request("churn", 1)
    team.unchecked(safe_formats=True)
    team.version(mlmodel=UNSAFE)
    with pytest.raises(UnsafeModel, match="skops"):
        team.ada.promotions.request("churn", 2)
    assert team.ada.promotions.search().items == ()


# --- states ----------------------------------------------------------------------------------------------------------


def test_requests_end_as_states(team: Team) -> None:
    team.unchecked()
    team.versions(3)
    first = team.ada.promotions.request("churn", 1)
    assert team.ada.promotions.request("churn", 1) == first
    second = team.ada.promotions.request("churn", 2)
    assert team.ada.promotions.get(first.request_id).state is PromotionState.SUPERSEDED
    with pytest.raises(InvalidValue, match="needs one"):
        team.bo.promotions.reject(second.request_id, reason=" ")
    rejected = team.bo.promotions.reject(second.request_id, reason="too slow")
    assert (rejected.state, rejected.outcome, rejected.closed_by) == (PromotionState.REJECTED, "too slow", "bo")
    with pytest.raises(Conflict, match="rejected: too slow"):
        team.bo.promotions.approve(second.request_id)
    third = team.ada.promotions.request("churn", 3)
    with pytest.raises(PermissionDenied, match="only they can withdraw"):
        team.bo.promotions.withdraw(third.request_id)
    assert team.ada.promotions.withdraw(third.request_id).state is PromotionState.WITHDRAWN
    gone = team.ada.promotions.request("churn", 3)
    team.ada.models.delete_version("churn", 3)
    assert team.ada.promotions.get(gone.request_id).outcome == "the candidate was deleted"
    states = [each.state.value for each in team.ada.promotions.search(model="churn").items]
    assert states == ["superseded", "withdrawn", "rejected", "superseded"]
    assert team.production() is None


def test_changes_are_asked_for_and_made(team: Team) -> None:
    team.unchecked()
    team.version()
    request = team.ada.promotions.request("churn", 1)
    team.bo.promotions.request_changes(request.request_id, reason="say why")
    waiting = team.cy.promotions.approve(request.request_id)
    assert waiting.missing == ("bo asks for changes: say why",)
    commented = team.ada.promotions.comment(request.request_id, "see @bo, and mail x@y.org")
    assert [each.mentions for each in commented.comments] == [("bo",)]
    team.ada.promotions.refresh(request.request_id)
    with pytest.raises(Conflict, match="look at it again"):
        team.cy.promotions.approve(request.request_id, round=1)
    assert team.cy.promotions.approve(request.request_id, round=2).state is PromotionState.PROMOTED


def test_of_two_requests_one_wins_and_the_other_is_told(team: Team) -> None:
    team.unchecked()
    team.versions(2)
    first, second = team.ada.promotions.request("churn", 1), team.cy.promotions.request("churn", 2)
    team.bo.promotions.approve(first.request_id)
    with pytest.raises(Conflict, match="points at version 1 now, and pointed at nothing"):
        team.bo.promotions.approve(second.request_id)
    assert "must be refreshed" in team.ada.promotions.get(second.request_id).missing[0]
    team.cy.promotions.refresh(second.request_id)
    team.bo.promotions.approve(second.request_id)
    assert team.production() == 2


# --- policies --------------------------------------------------------------------------------------------------------


def test_an_open_request_is_judged_by_both_policies(team: Team) -> None:
    strict = team.unchecked(approvals=2)
    team.version()
    request = team.ada.promotions.request("churn", 1)
    team.unchecked()
    assert team.bo.promotions.approve(request.request_id).missing == ("1 more must approve",)
    assert team.ada.promotions.get(request.request_id).policy == strict
    later = team.cy.promotions.approve(request.request_id)
    assert later.state is PromotionState.PROMOTED
    team.version()
    loose = team.ada.promotions.request("churn", 2)
    team.bo.policies.set(Policy(approvals=2, checks=(CheckRule(name="format"),)), model="churn")
    waiting = team.bo.promotions.approve(loose.request_id)
    assert waiting.missing == (
        "the check 'format' is not done yet: the policy has it since; refresh the request",
        "1 more must approve",
    )


def test_only_administrators_weaken_a_policy(team: Team) -> None:
    team.version()
    for weaker in (
        Policy(protected=("champion",)),
        Policy(checks=()),
        Policy(author_may_approve=True),
        Policy(automatic=True),
        Policy(lifetime_days=15),
    ):
        with pytest.raises(PermissionDenied, match="would weaken"):
            team.bo.policies.set(weaker, model="churn")
        with pytest.raises(PermissionDenied, match="would weaken"):
            team.bo.policies.set(weaker, owner="group:red")
    stricter = team.bo.policies.set(Policy(approvals=3), model="churn", reason="careful")
    assert team.ada.policies.get(model="churn") == stricter
    with pytest.raises(PermissionDenied, match="would weaken"):
        team.bo.policies.set(None, model="churn")
    team.admin.policies.set(None, model="churn")
    assert team.ada.policies.get(model="churn").source is PolicySource.DEFAULT
    assert [each.policy and each.policy.approvals for each in team.ada.policies.history(model="churn")] == [3, None]
    with pytest.raises(InvalidValue, match="no group"):
        team.admin.policies.set(Policy(), owner="ada")
    with pytest.raises(InvalidValue, match="give model or owner"):
        team.admin.policies.get()
    with pytest.raises(NotFound):
        team.ada.policies.get(owner="group:blue")


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (Policy(approvals=0), "1 to 20"),
        (Policy(lifetime_days=0), "1 to 365"),
        (Policy(automatic=True, checks=()), "without checks"),
        (Policy(approvals=2, approvers=("bo",)), "name more"),
        (Policy(checks=(CheckRule(name="metric", settings={"metric": "auc"}),)), "at_least"),
        (Policy(protected=("a/b",)), "alias"),
    ],
)
def test_an_impossible_policy_is_refused(team: Team, policy: Policy, told: str) -> None:
    with pytest.raises(InvalidValue, match=told):
        team.admin.policies.set(policy, owner="group:red")


# --- no way round ----------------------------------------------------------------------------------------------------


def test_there_is_no_way_round(team: Team) -> None:
    team.unchecked()
    team.versions(2)
    team.promoted(1)
    for tracker in (team.ada, team.bo, team.admin):
        for call in (
            lambda t=tracker: t.models.set_alias("churn", "production", 2),
            lambda t=tracker: t.models.set_alias("churn", "champion", 2),
            lambda t=tracker: t.models.delete_alias("churn", "production"),
        ):
            with pytest.raises(PermissionDenied, match="protected"):
                call()
        for call in (
            lambda t=tracker: t.models.delete("churn"),
            lambda t=tracker: t.models.delete_version("churn", 1),
            lambda t=tracker: t.models.update("churn", new_name="other"),
            lambda t=tracker: t.models.transfer("churn", "ada"),
            lambda t=tracker: t.models.transfer("churn", "group:blue"),
        ):
            with pytest.raises(Conflict):
                call()
    assert (team.production(), len(team.ada.models.alias_history("churn"))) == (1, 1)
    team.ada.models.set_alias("churn", "next", 2)


def test_a_name_that_was_protected_stays_that(team: Team, open_tracker: Opener) -> None:
    team.unchecked()
    team.version()
    for call in (lambda: team.ada.models.transfer("churn", "ada"), lambda: team.bo.models.transfer("churn", "bo")):
        with pytest.raises(PermissionDenied, match="administrators"):
            call()
    team.promoted(1)
    team.admin.promotions.override("churn", "production", version=None, reason="gone")
    for call in (
        lambda: team.ada.models.delete("churn"),
        lambda: team.ada.models.update("churn", new_name="other"),
    ):
        with pytest.raises(PermissionDenied, match="administrators"):
            call()
    team.admin.models.update("churn", new_name="other")


def test_an_alias_comes_with_no_model(team: Team, open_tracker: Opener) -> None:
    team.versions(1)
    run = team.ada.runs.search().items[0]
    team.ada.models.create("own", owner="ada")
    team.ada.models.register("own", run.run_id, "model")
    team.ada.models.set_alias("own", "production", 1)
    with pytest.raises(Conflict, match="own@production"):
        team.ada.models.transfer("own", "group:red")


# --- back, and by force ----------------------------------------------------------------------------------------------


def test_rollbacks_go_back_version_by_version(team: Team) -> None:
    team.unchecked()
    team.versions(4)
    for version in (1, 2, 3):
        team.promoted(version)
    with pytest.raises(InvalidValue, match="needs one"):
        team.bo.promotions.rollback("churn", "production", reason="")
    with pytest.raises(PermissionDenied):
        team.ada.promotions.rollback("churn", "production", reason="x")
    with pytest.raises(Conflict, match="goes back to version 2, not 1"):
        team.bo.promotions.rollback("churn", "production", reason="x", to=1)
    done = team.bo.promotions.rollback("churn", "production", reason="broken", to=2)
    assert (done.kind, done.version, done.champion, team.production()) == (PromotionKind.ROLLBACK, 2, 3, 2)
    team.bo.promotions.rollback("churn", "production", reason="broken, too")
    assert team.production() == 1
    with pytest.raises(Conflict, match="no version before"):
        team.bo.promotions.rollback("churn", "production", reason="x")
    team.promoted(4)
    team.bo.promotions.rollback("churn", "production", reason="x")
    assert team.production() == 1


def test_an_override_is_loud(team: Team) -> None:
    team.versions(2)
    with pytest.raises(PermissionDenied):
        team.bo.promotions.override("churn", "production", version=1, reason="now")
    with pytest.raises(InvalidValue, match="needs one"):
        team.admin.promotions.override("churn", "production", version=1, reason="")
    waiting = team.ada.promotions.request("churn", 2)
    done = team.admin.promotions.override("churn", "production", version=1, reason="outage")
    assert (done.kind, done.closed_by, team.production()) == (PromotionKind.OVERRIDE, "boss", 1)
    assert team.admin.audit(limit=1)[0].action == "promotion.overridden"
    assert "must be refreshed" in team.ada.promotions.get(waiting.request_id).missing[0]
    team.admin.promotions.override("churn", "production", version=None, reason="all of it")
    assert team.production() is None


# --- history ---------------------------------------------------------------------------------------------------------


def test_what_was_production_has_an_answer(team: Team) -> None:
    team.unchecked()
    team.versions(2)
    first, second = team.promoted(1), team.promoted(2)
    team.bo.promotions.rollback("churn", "production", reason="bad")
    team.ada.models.set_alias("churn", "next", 2)
    periods = team.ada.promotions.history("churn", "production")
    assert [(p.move.version, p.promotion and p.promotion.kind.value) for p in periods] == [
        *((1, "request"), (2, "request"), (1, "rollback"))
    ]
    assert [period.until for period in periods] == [periods[1].move.at, periods[2].move.at, None]
    assert periods[0].promotion is not None
    assert periods[0].promotion.request_id == first.request_id
    assert [review.user for review in periods[0].promotion.reviews] == ["bo"]
    (then,) = team.ada.promotions.history("churn", "production", at=periods[1].move.at)
    assert then.promotion is not None
    assert (then.move.version, then.promotion.request_id) == (2, second.request_id)
    assert team.ada.promotions.history("churn", "production", at=periods[0].move.at - 1) == ()
    assert team.ada.promotions.history("churn")[-1].promotion is None


def test_the_history_of_a_deleted_model_is_kept_for_those_whose_it_was(team: Team) -> None:
    team.unchecked()
    team.version()
    request = team.promoted(1)
    team.admin.promotions.override("churn", "production", version=None, reason="retired")
    team.admin.models.delete("churn")
    told = team.admin.promotions.history("churn", "production")
    assert [period.move.version for period in told] == [1, None]
    assert told[0].promotion is not None
    assert (told[0].promotion.request_id, [each.user for each in told[0].promotion.reviews]) == (
        *(request.request_id, ["bo"]),
    )
    assert team.ada.promotions.history("churn", "production") == told
    assert team.ada.promotions.history("churn", at=told[0].move.at) == told[:1]
    assert team.ada.promotions.get(request.request_id) == told[0].promotion
    # To others it is as if it had never been.
    eve = team.open(Principal("eve", frozenset({"blue"})))
    for name in ("churn", "never"):
        with pytest.raises(NotFound, match=f"registered model '{name}' does not exist"):
            eve.promotions.history(name)
    with pytest.raises(NotFound):
        eve.promotions.get(request.request_id)
    # The name may be another's now.
    team.version()
    assert team.ada.promotions.history("churn") == ()
    assert team.ada.promotions.history("churn", deleted=True) == told
    with pytest.raises(NotFound):
        team.ada.promotions.history("never", deleted=True)


def notebook(code: str, outputs: Sequence[str] = ()) -> bytes:
    cell = {"cell_type": "code", "source": [code], "outputs": outputs, "execution_count": 1, "metadata": {}}
    return json.dumps({"cells": [cell], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}).encode()


def test_a_reviewer_has_all_in_one_answer(team: Team, open_tracker: Opener) -> None:
    team.unchecked()
    team.version()
    team.promoted(1)
    champions = team.ada.models.version("churn", 1).run_id
    assert champions is not None
    team.ada.artifacts.put(champions, "notebook/source.ipynb", io.BytesIO(notebook("y = 1", outputs=["secret"])))
    own = team.ada.experiments.create("own", owner="ada")
    dataset = Dataset("users", "d1")
    batch = Batch(params=(Param("depth", 3, "3"),), metrics=(Metric("auc", 0.9, 1),), inputs=(Input(dataset),))
    run = team.ada.runs.create(NewRun(experiment_id=own.experiment_id, source="churn.ipynb", batch=batch))
    team.ada.artifacts.put(run.run_id, "model/MLmodel", io.BytesIO(SAFE))
    team.ada.artifacts.put(run.run_id, "notebook/source.ipynb", io.BytesIO(notebook("x = 1")))
    team.ada.models.register("churn", run.run_id, "model")
    request = team.ada.promotions.request("churn", 2)
    found = team.bo.promotions.evidence(request.request_id)
    assert found.candidate is not None
    assert found.champion is not None
    assert found.candidate.run is not None
    assert (found.candidate.run.run_id, found.candidate.datasets) == (run.run_id, (dataset,))
    assert found.comparison is not None
    assert [(row.name, row.texts) for row in found.comparison.of("params")] == [("depth", (None, "3"))]
    assert found.lineage == (
        *("dataset users (d1)", "notebook churn.ipynb", f"run {run.name} ({run.run_id})"),
        *(f"version 2 ({found.candidate.version.digest})", "alias production"),
    )
    changes = found.notebook_changes
    assert changes is not None
    assert changes.note == ""
    assert [cell["source"] for cell in changes.base["cells"]] == ["y = 1"]
    assert [each["op"] for each in changes.diff] == ["patch"]
    assert "x = 1" in found.notebook_diff
    assert "secret" not in str(changes)
    # Who cannot decide learns no more than before.
    other = open_tracker(Principal("eve", RED)).promotions.evidence(request.request_id)
    assert (other.notebook_diff, other.notebook_changes) == ("", None)
    assert other.candidate is not None
    assert (other.candidate.run, other.candidate.version) == (None, found.candidate.version)


# --- workers ---------------------------------------------------------------------------------------------------------


def test_a_job_is_one_workers(team: Team, open_tracker: Opener) -> None:
    team.version()
    other = open_tracker(Principal("another worker", scope=Scope.NONE, group_scopes=(("red", Scope.ADMIN),)))
    elsewhere = open_tracker(Principal("elsewhere", scope=Scope.NONE, group_scopes=(("blue", Scope.ADMIN),)))
    for bad in (team.ada, team.bo):
        with pytest.raises(PermissionDenied):
            bad.checks.claim()
    assert other.checks.claim() is None
    team.admin.policies.set(
        Policy(checks=(CheckRule(name="loads"), CheckRule(name="format"))), owner="group:red", reason="more"
    )
    request = team.ada.promotions.request("churn", 1)
    assert elsewhere.checks.claim() is None
    assert other.checks.claim(["reproduces"]) is None
    job = other.checks.claim()
    assert job is not None
    assert (job.name, job.request_id, job.attempt) == ("format", request.request_id, 1)
    last = team.worker.checks.claim()
    assert last is not None
    assert (last.name, other.checks.claim()) == ("loads", None)
    result = CheckResult(name="format", verdict=Verdict.PASSED, summary="safe")
    # A claim is known to who made it only; another is none, whose token it may be.
    for tracker, claim in ((team.worker, last.claim), (other, last.claim), (other, "")):
        for call in (
            lambda tracker=tracker, claim=claim: tracker.checks.report(job.job_id, claim, result),
            lambda tracker=tracker, claim=claim: tracker.checks.renew(job.job_id, claim),
        ):
            with pytest.raises(Conflict, match="not this worker's"):
                call()
    assert job.claim not in str(team.admin.promotions.get(request.request_id))
    other.checks.renew(job.job_id, job.claim)
    other.checks.report(job.job_id, job.claim, result)
    with pytest.raises(Conflict, match="not this worker's"):
        other.checks.renew(job.job_id, job.claim)
    team.ada.promotions.withdraw(request.request_id)
    with pytest.raises(Conflict, match="not this worker's"):
        team.worker.checks.report(
            last.job_id, last.claim, CheckResult(name="loads", verdict=Verdict.PASSED, summary="x")
        )


# --- at once ---------------------------------------------------------------------------------------------------------


@pytest.mark.at_once
def test_two_decisions_at_once_have_one_winner(team: Team, open_tracker: Opener) -> None:
    team.unchecked()
    team.versions(4)
    for first, second in ((1, 2), (3, 4)):
        requests = [
            team.ada.promotions.request("churn", first),
            team.open(Principal("ann", RED)).promotions.request("churn", second),
        ]
        moves = len(team.ada.models.alias_history("churn"))
        leads = [open_tracker(Principal(name, RED, Scope.PROMOTE)) for name in ("bo", "cy")]
        answers = together(
            *(
                lambda lead=lead, r=r: lead.promotions.approve(r.request_id)
                for lead, r in zip(leads, requests, strict=True)
            )
        )
        won = [each for each in answers if isinstance(each, Promotion)]
        (lost,) = [each for each in answers if isinstance(each, MLOpsError)]
        assert isinstance(lost, Conflict)
        assert "must be refreshed" in lost.message
        assert [team.production()] == [each.version for each in won]
        assert len(team.ada.models.alias_history("churn")) == moves + 1


@pytest.mark.at_once
def test_everything_at_once_moves_the_alias_as_often_as_it_is_told(team: Team, open_tracker: Opener) -> None:
    team.unchecked()
    team.versions(3)
    team.promoted(1)
    request = team.ada.promotions.request("churn", 2)
    bo, cy = (open_tracker(Principal(name, RED, Scope.PROMOTE)) for name in ("bo", "cy"))
    answers = together(
        lambda: bo.promotions.approve(request.request_id),
        lambda: cy.promotions.reject(request.request_id, reason="no"),
        lambda: team.ada.promotions.withdraw(request.request_id),
        lambda: team.ada.models.delete_version("churn", 2),
    )
    closed = team.ada.promotions.get(request.request_id)
    assert sum(isinstance(each, Promotion) for each in answers) == (closed.state is not PromotionState.SUPERSEDED)
    assert team.production() == (2 if closed.state is PromotionState.PROMOTED else 1)
    assert len(team.ada.promotions.history("churn")) == (2 if closed.state is PromotionState.PROMOTED else 1)
