"""What waits for whom, and what each is told of their own, through every tracker."""

from __future__ import annotations

import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.policy import Policy
from jupyter_mlops.tracker.protocol import Tracker
from tests.contract.conftest import Opener
from tests.contract.test_promotion import RED, Team


@pytest.fixture
def team(open_tracker: Opener) -> Team:
    return Team(open_tracker)


def decides(tracker: Tracker) -> list[str]:
    return [each.request_id for each in tracker.promotions.waiting().decide]


def test_a_request_waits_for_those_who_can_give_what_it_lacks(team: Team) -> None:
    team.version()
    team.unchecked(approvals=2)
    request = team.ada.promotions.request("churn", 1)
    (shown,) = team.bo.promotions.waiting().decide
    assert (shown, shown.missing) == (team.bo.promotions.get(request.request_id), ("2 more must approve",))
    notebook = team.open(Principal("bo", RED, Scope.PROMOTE, decides=False))
    assert decides(notebook) == decides(team.cy) == decides(team.admin) == [request.request_id]
    # Who asks, who only writes, who is another group's.
    blue = team.open(Principal("eve", frozenset({"blue"}), Scope.PROMOTE))
    assert [decides(each) for each in (team.ada, team.open(Principal("dee", RED)), blue)] == [[], [], []]
    team.bo.promotions.approve(request.request_id)
    assert (decides(team.bo), decides(team.cy)) == ([], [request.request_id])
    team.cy.promotions.request_changes(request.request_id, reason="which data?")
    assert decides(team.cy) == []
    team.ada.promotions.refresh(request.request_id)
    assert decides(team.bo) == decides(team.cy) == [request.request_id]
    team.ada.promotions.withdraw(request.request_id)
    assert decides(team.cy) == []


def test_a_request_waits_for_nobody_whom_the_policy_does_not_let_or_need(team: Team) -> None:
    team.version(by=team.cy)
    team.unchecked(approvers=("cy", "group:red"))
    request = team.ada.promotions.request("churn", 1)
    # cy is the author of the run.
    assert (decides(team.cy), decides(team.bo)) == ([], [request.request_id])
    team.unchecked(approvers=("dan",))
    assert decides(team.bo) == []
    team.admin.policies.set(Policy(automatic=True), model="churn")
    team.version(by=team.cy)
    automatic = team.ada.promotions.request("churn", 2, alias="champion")
    assert automatic.request_id not in decides(team.bo)


def test_who_is_mentioned_finds_it_until_they_answer(team: Team) -> None:
    team.version()
    request = team.ada.promotions.request("churn", 1)
    team.bo.promotions.comment(request.request_id, "@ada, @dee.x@example.org: which data? (@adam knows)")
    (mention,) = team.ada.promotions.waiting().mentions
    assert (mention.request_id, mention.model, mention.version, mention.user) == (request.request_id, "churn", 1, "bo")
    assert mention.text.startswith("@ada")
    outside = team.open(Principal("dee.x@example.org", frozenset({"blue"})))
    assert [each.at for each in outside.promotions.waiting().mentions] == [mention.at]
    assert [each.promotions.waiting().mentions for each in (team.bo, team.open(Principal("dee")))] == [(), ()]
    team.ada.promotions.comment(request.request_id, "of March; @ada says so")
    assert team.ada.promotions.waiting().mentions == ()
    team.bo.models.restrict("churn", True)
    assert outside.promotions.waiting().mentions == ()


def told(tracker: Tracker, webhook_id: str) -> list[str]:
    return [each.kind for each in reversed(tracker.webhooks.deliveries(webhook_id))]


def test_each_is_told_of_what_concerns_them_by_webhooks_of_their_own(team: Team) -> None:
    team.version()
    eve = team.open(Principal("eve", frozenset({"blue"})))
    kinds = ("consumed.moved", "promotion.mentioned")
    mine = eve.webhooks.create("mailto:eve@example.org", owner="eve", events=kinds).webhook_id
    others = team.ada.webhooks.create("https://ada.example/", owner="ada").webhook_id
    eve.models.consume("churn", 1, reference="@production")
    team.admin.promotions.override("churn", "production", version=1, reason="first")
    request = team.ada.promotions.request("churn", team.version().version)
    team.bo.promotions.comment(request.request_id, "@eve will like it; @eve?")
    team.bo.promotions.comment(request.request_id, "nobody is asked")
    assert told(eve, mine) == ["consumed.moved", "promotion.mentioned"]
    team.admin.promotions.override("churn", "staging", version=2, reason="not the alias that eve loads")
    assert (told(eve, mine), told(team.ada, others)) == (["consumed.moved", "promotion.mentioned"], [])
    # Whether eve may still know of what is restricted is not known here.
    team.bo.models.restrict("churn", True)
    team.admin.promotions.override("churn", "production", version=2, reason="second")
    team.bo.promotions.comment(request.request_id, "@eve")
    assert len(told(eve, mine)) == 2


def test_one_does_not_tell_oneself(team: Team) -> None:
    team.version()
    team.unchecked()
    hook = team.bo.webhooks.create("https://bo.example/", owner="bo").webhook_id
    team.bo.models.consume("churn", 1, reference="@production")
    request = team.ada.promotions.request("churn", 1)
    team.bo.promotions.comment(request.request_id, "@bo")
    team.bo.promotions.approve(request.request_id)
    assert told(team.bo, hook) == []
