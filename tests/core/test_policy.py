from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlops.core.checks import CheckResult, Verdict
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.policy import DEFAULT, UNPROTECTED, CheckRule, Policy, checked_policy, default_for, weakened
from jupyter_mlops.core.promotion import (
    CheckStatus,
    Promotion,
    PromotionState,
    Review,
    ReviewVerdict,
    mentions,
    missing,
    nobody_could,
    restorable,
)
from jupyter_mlops.core.records import AliasMove

RULES = (CheckRule(name="loads"), CheckRule(name="format"), CheckRule(name="metric", settings={"metric": "auc"}))
people = st.sampled_from(["ada", "bo", "cy", "group:red", "group:heads"])
policies = st.builds(
    Policy,
    protected=st.sets(st.sampled_from(["production", "champion"]), min_size=1).map(lambda s: tuple(sorted(s))),
    approvals=st.integers(1, 3),
    approvers=st.sets(people).map(lambda s: tuple(sorted(s))),
    author_may_approve=st.booleans(),
    checks=st.sets(st.sampled_from(range(3))).map(lambda s: tuple(RULES[i] for i in sorted(s))),
    safe_formats=st.booleans(),
    automatic=st.booleans(),
    lifetime_days=st.integers(1, 30),
)
reviews = st.builds(
    Review,
    user=st.sampled_from(["ada", "bo", "cy", "dee"]),
    owners=st.sets(st.sampled_from(["group:red", "group:heads"])).map(lambda s: tuple(sorted(s))),
    verdict=st.sampled_from([ReviewVerdict.APPROVED, ReviewVerdict.CHANGES_REQUESTED]),
    at=st.just(1),
    round=st.sampled_from([1, 2]),
)
statuses = st.builds(
    lambda rule, verdict, own: CheckStatus(
        job_id="j",
        rule=rule,
        result=verdict and CheckResult(name=rule.name, verdict=verdict, summary="", self_reported=own),
    ),
    st.sampled_from(RULES),
    st.sampled_from([None, *Verdict]),
    st.booleans(),
)


def request(policy: Policy, **changes: object) -> Promotion:
    made = Promotion(
        request_id="r",
        state=PromotionState.OPEN,
        model="churn",
        alias="production",
        version=2,
        champion=1,
        requester="ada",
        asked_by="ada",
        authors=("bo",),
        policy=policy,
        created=0,
        updated=0,
        expires=100,
    )
    return msgspec.structs.replace(made, **changes)


@given(policies, policies, st.lists(reviews), st.lists(statuses), st.booleans())
def test_what_meets_a_policy_meets_all_that_demand_less(
    before: Policy, after: Policy, said: list[Review], done: list[CheckStatus], safe: bool
) -> None:
    asked = request(after, reviews=tuple(said), checks=tuple(done), safe=safe)
    if not weakened(before, after) and not missing(asked, [after], 1, 0):
        assert not missing(asked, [before], 1, 0)


@given(policies)
def test_a_policy_demands_no_less_than_itself(policy: Policy) -> None:
    assert weakened(policy, policy) == ()
    assert weakened(UNPROTECTED, policy) == ()
    assert weakened(policy, UNPROTECTED) != ()


@given(policies, st.lists(reviews), st.lists(statuses))
def test_neither_who_asks_nor_the_author_makes_up_for_others(
    policy: Policy, said: list[Review], done: list[CheckStatus]
) -> None:
    own = tuple(msgspec.structs.replace(each, user="ada", verdict=ReviewVerdict.APPROVED) for each in said)
    asked = request(policy, reviews=own, checks=tuple(done))
    if not policy.automatic:
        assert missing(asked, [policy], 1, 0)


def test_nothing_moves_what_is_closed_over_or_stale() -> None:
    free = Policy(automatic=True, checks=RULES[:1])
    passed = CheckStatus(
        job_id="j", rule=RULES[0], result=CheckResult(name="loads", verdict=Verdict.PASSED, summary="")
    )
    asked = request(free, checks=(passed,))
    assert missing(asked, [free], 1, 99) == ()
    assert missing(asked, [free], 1, 100) == ("it has expired: ask again",)
    assert "must be refreshed" in missing(asked, [free], 2, 0)[0]
    assert missing(msgspec.structs.replace(asked, round=2), [free], 1, 0) != ()
    closed = msgspec.structs.replace(asked, state=PromotionState.WITHDRAWN)
    assert missing(closed, [free], 1, 0) == ("it is withdrawn",)


def test_defaults() -> None:
    assert (default_for("group:red"), default_for("ada")) == (DEFAULT, UNPROTECTED)
    assert checked_policy(DEFAULT) == DEFAULT
    messy = Policy(protected=("production", "champion", "production"), approvers=("bo", "ada", "bo"))
    tidy = checked_policy(messy)
    assert (tidy.protected, tidy.approvers) == (("champion", "production"), ("ada", "bo"))
    with pytest.raises(InvalidValue, match="twice"):
        checked_policy(Policy(checks=(RULES[0], RULES[0])))


@pytest.mark.parametrize(
    ("approvers", "approvals", "possible"),
    [((), 1, True), (("group:x",), 2, True), (("cy",), 1, True), (("ada", "bo"), 1, False), (("bo", "cy"), 2, False)],
)
def test_what_nobody_could_approve(approvers: tuple[str, ...], approvals: int, possible: bool) -> None:
    policy = Policy(approvers=approvers, approvals=approvals)
    assert (nobody_could(request(policy), [policy]) is None) is possible


@pytest.mark.parametrize(
    ("approvers", "members", "approvals", "possible"),
    [
        (("group:x",), {"group:x": ["ada", "bo"]}, 1, False),
        (("group:x",), {"group:x": []}, 1, False),
        (("group:x",), {"group:x": ["ada", "cy"]}, 1, True),
        (("group:x",), {"group:x": ["cy"]}, 2, False),
        (("cy", "group:x"), {"group:x": ["cy", "bo"]}, 2, False),
        (("dee", "group:x"), {"group:x": ["cy"]}, 2, True),
        # Of a group that is not known, anybody may be a member.
        (("group:x", "group:y"), {"group:x": []}, 1, True),
        # Who has the right to promote is not said by a group.
        ((), {"group:red": []}, 1, True),
    ],
)
def test_whom_a_group_leaves(
    approvers: tuple[str, ...], members: dict[str, list[str]], approvals: int, possible: bool
) -> None:
    policy = Policy(approvers=approvers, approvals=approvals)
    assert (nobody_could(request(policy), [policy], members) is None) is possible


def test_mentions() -> None:
    assert mentions("@bo, see @cy-2 and @bo; mail a@b.org. @dee.") == ("bo", "cy-2", "dee")


@pytest.mark.parametrize(
    ("moves", "rollbacks", "left"),
    [
        ([], (), []),
        ([1], (), []),
        ([1, 2, 3], (), [1, 2]),
        ([1, 2, 3, 2], (3,), [1]),
        ([1, 2, 3, 2, 1], (3, 4), []),
        ([1, 2, 1], (), [1, 2]),
        ([1, 2, 1, 2], (3,), [1]),
        ([1, 2, None], (), [1, 2]),
        ([1, 2, None, 2], (3,), [1]),
        ([1, 2, 1, 4], (2,), [1]),
    ],
)
def test_where_a_rollback_goes(moves: list[int | None], rollbacks: tuple[int, ...], left: list[int]) -> None:
    made = [
        (number, AliasMove(model="m", alias="a", version=version, replaced=None, user="u", at=0))
        for number, version in enumerate(moves)
    ]
    assert restorable(made, rollbacks) == left
