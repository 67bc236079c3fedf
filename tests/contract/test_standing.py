"""What each may do about a request and an alias, as they are told beforehand: it is what happens when they try."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.core.policy import Policy
from jupyter_mlops.tracker.protocol import Tracker
from tests.contract.conftest import Opener
from tests.contract.test_promotion import RED, Team


@pytest.fixture
def team(open_tracker: Opener) -> Team:
    return Team(open_tracker)


REQUEST: dict[str, Callable[[Tracker, str], Any]] = {
    "comment": lambda tracker, id: tracker.promotions.comment(id, "hm"),
    "request_changes": lambda tracker, id: tracker.promotions.request_changes(id, reason="hm"),
    "approve": lambda tracker, id: tracker.promotions.approve(id),
    "refresh": lambda tracker, id: tracker.promotions.refresh(id),
    "withdraw": lambda tracker, id: tracker.promotions.withdraw(id),
    "reject": lambda tracker, id: tracker.promotions.reject(id, reason="no"),
}


def refusal(attempt: Callable[[], Any]) -> str | None:
    try:
        attempt()
    except MLOpsError as error:
        return error.message
    return None


@pytest.mark.parametrize("operation", REQUEST)
def test_what_is_said_of_a_request_is_what_happens(team: Team, operation: str) -> None:
    team.version()
    team.version(by=team.cy)
    team.unchecked(approvals=3)
    outsider = team.open(Principal("eve", frozenset({"blue"}), Scope.PROMOTE))
    notebook = team.open(Principal("bo", RED, Scope.PROMOTE, decides=False))
    everybody = {
        "who asks": team.ada,
        "author": team.cy,
        "lead": team.bo,
        "lead's notebook": notebook,
        "another group": outsider,
        "administrator": team.admin,
    }
    for who, tracker in everybody.items():
        request_id = team.ada.promotions.request("churn", 2).request_id
        said = tracker.promotions.evidence(request_id).refused.get(operation)
        happened = refusal(lambda tracker=tracker, id=request_id: REQUEST[operation](tracker, id))  # type: ignore[misc]
        # Beside the request it needs no name.
        told = None if happened is None else happened.removeprefix(f"request {request_id}: ")
        # A service refuses what a whole token lacks before it looks at the request, in words of its own.
        if not (said and told and "lacks" in said and "lacks" in told):
            assert said == (told and told.replace(f"request {request_id}", "it")), who
        refusal(lambda id=request_id: team.admin.promotions.withdraw(id))  # type: ignore[misc]
        closed = tracker.promotions.evidence(request_id).refused
        if operation != "comment":
            assert operation in closed, who


def test_what_is_said_of_an_alias_is_what_happens(team: Team) -> None:
    for _ in range(3):
        team.version()
    team.unchecked()
    notebook = team.open(Principal("bo", RED, Scope.PROMOTE, decides=False))
    standing = team.ada.promotions.standing("churn")
    assert (standing.version, standing.protected, standing.back_to, standing.policy.checks) == (None, True, None, ())
    assert "no version before" in standing.refused["rollback"]
    for version in (1, 2):
        asked = team.ada.promotions.request("churn", version)
        team.bo.promotions.approve(asked.request_id)
    team.ada.models.consume("churn", 2, reference="@production", purpose="billing")
    for tracker, may in ((team.bo, True), (team.ada, False), (notebook, False)):
        standing = tracker.promotions.standing("churn")
        assert (standing.version, standing.back_to) == (2, 1)
        assert [(each.user, each.purpose) for each in standing.consumers] == [("ada", "billing")]
        assert ("rollback" in standing.refused) is not may
        if not may:
            told = refusal(lambda tracker=tracker: tracker.promotions.rollback("churn", "production", reason="x"))  # type: ignore[misc]
            assert told is not None
    assert "override" not in team.admin.promotions.standing("churn").refused
    assert "admin" in team.bo.promotions.standing("churn").refused["override"]
    back = team.bo.promotions.rollback("churn", "production", reason="worse", to=1)
    assert back.version == team.bo.promotions.standing("churn").version == 1


def test_that_nobody_could_approve_is_said_before_it_is_asked(team: Team) -> None:
    team.version()
    team.admin.policies.set(Policy(checks=(), approvers=("ada",)), model="churn")
    said = team.ada.promotions.standing("churn", version=1).refused["request"]
    assert said.startswith("nobody could approve this")
    assert refusal(lambda: team.ada.promotions.request("churn", 1)) == said
    # Of an alias that is not protected, only that it is there already.
    assert "request" not in team.ada.promotions.standing("churn", alias="canary", version=1).refused
    team.ada.models.set_alias("churn", "canary", 1)
    assert "already" in team.ada.promotions.standing("churn", alias="canary", version=1).refused["request"]
    outsider = team.open(Principal("eve", frozenset({"blue"})))
    assert "may read it" in outsider.promotions.standing("churn", version=1).refused["request"]
