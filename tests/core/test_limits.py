"""Quotas and rules of retention: which are ones, whose counts, and what is said of them."""

from __future__ import annotations

import pytest

from jupyter_mlops.core.errors import InvalidValue, QuotaExceeded, TooLarge
from jupyter_mlops.core.quotas import (
    EVERY_GROUP,
    EVERY_USER,
    Quota,
    Usage,
    checked_quota,
    quota_of,
    require_file,
    require_room,
    standing,
)
from jupyter_mlops.core.retention import Retention, checked_retention, retention_of

RULES = {
    "nothing": Retention(),
    "no days": Retention(days=0),
    "too many": Retention(days=10**6),
    "no metric": Retention(days=1, keep_best=1),
    "no number": Retention(days=1, metric="auc"),
    "too many of the best": Retention(days=1, keep_best=10**6, metric="auc"),
    "no name": Retention(days=1, keep_best=1, metric="\n"),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_that_is_none_is_refused(rule: Retention) -> None:
    with pytest.raises(InvalidValue):
        checked_retention(rule)


def test_a_rule_may_name_what_it_ends() -> None:
    for rule in (Retention(days=1), Retention(failed_days=1), Retention(days=1, keep_best=1, metric="auc")):
        assert checked_retention(rule) == rule


@pytest.mark.parametrize("name", Quota.__struct_fields__)
def test_a_quota_is_never_less_than_nothing(name: str) -> None:
    assert checked_quota(Quota(**{name: 0})) == Quota(**{name: 0})
    with pytest.raises(InvalidValue, match=name):
        checked_quota(Quota(**{name: -1}))


def test_an_own_rule_counts_alone() -> None:
    users, groups, own = Quota(runs=1), Quota(runs=2), Quota(bytes=3)
    rules = {EVERY_USER: users, EVERY_GROUP: groups, "ada": own, "group:red": own}
    assert [quota_of(owner, rules) for owner in ("ada", "bo", "group:red", "group:blue")] == [
        ("ada", own),
        (EVERY_USER, users),
        ("group:red", own),
        (EVERY_GROUP, groups),
    ]
    assert quota_of("ada", {EVERY_GROUP: groups}) == (None, Quota())
    kept = {EVERY_USER: Retention(days=1), "ada": Retention(days=2)}
    assert [retention_of(owner, kept) for owner in ("ada", "bo", "group:red")] == [kept["ada"], kept[EVERY_USER], None]


@pytest.mark.parametrize("name", ["bytes", "runs", "points", "running"])
def test_only_what_grew_is_refused(name: str) -> None:
    quota = Quota(**{name: 10})
    require_room("ada", Usage(**{name: 10}), quota, Usage(**{name: 1}))
    require_room("ada", Usage(**{name: 12}), quota, Usage(**{name: -1}))
    with pytest.raises(QuotaExceeded, match=r"'ada' for .* is 10( B)?, of which 10( B)? are used"):
        require_room("ada", Usage(**{name: 11}), quota, Usage(**{name: 1}))


def test_a_file_is_too_large_for_now_or_for_ever() -> None:
    quota = Quota(bytes=100, file_bytes=50)
    require_file("ada", quota, 50, 50, 50)
    with pytest.raises(TooLarge):
        require_file("ada", quota, 0, 51, 51)
    with pytest.raises(QuotaExceeded):
        require_file("ada", quota, 50, 10, 51)


@pytest.mark.parametrize(("used", "told"), [(79, []), (80, ["80 %"]), (100, ["100 %"]), (250, ["250 %"])])
def test_a_warning_comes_in_time(used: int, told: list[str]) -> None:
    found = standing("ada", Usage(runs=used, running=1000), {"ada": Quota(runs=100, running=1)})
    assert [warning.partition("uses ")[2].partition(" of")[0] for warning in found.warnings] == told
