"""Rules that stop runs of a sweep: as written, and what breaks them."""

from __future__ import annotations

import math

import pytest

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import MetricSummary
from jupyter_mlops.core.rules import Bound, Idle, NotFinite, Pruner, Rule, broken, parse_rule, parse_rules


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("nan", NotFinite()),
        ("nan:valid/loss", NotFinite("valid/loss")),
        ("loss>1e3", Bound("loss", 1000, above=True)),
        ("auc < -0.5", Bound("auc", -0.5, above=False)),
        ("idle:10m", Idle(600)),
        ("idle:90", Idle(90)),
        ("median", Pruner("median")),
    ],
)
def test_rule(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    "text", ["", "nan:", "idle", "idle:", "loss>", ">1", "loss>nan", "loss>=1", "1<loss<2", "medium"]
)
def test_what_is_no_rule_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"this is no rule; rules are nan, nan:METRIC, METRIC>NUMBER"):
        parse_rule(text)


@pytest.mark.parametrize("text", ["idle:-1s", "idle:0", "idle:soon", "idle:1h30"])
def test_an_idle_time_is_a_length_of_time(text: str) -> None:
    with pytest.raises(InvalidValue, match="no length of time"):
        parse_rule(text)


def test_pruners_need_a_goal_and_there_is_one_of_them() -> None:
    assert len(parse_rules(["nan", "median"], optimizes=True)) == 2
    with pytest.raises(InvalidValue, match="say which with optimize"):
        parse_rules(["nan", "median"], optimizes=False)
    with pytest.raises(InvalidValue, match="median and halving are too many"):
        parse_rules(["median", "halving"], optimizes=True)


def test_what_breaks_a_rule() -> None:
    def latest(**values: float) -> list[MetricSummary]:
        return [MetricSummary(key=key, value=value, timestamp=0, step=3, count=1) for key, value in values.items()]

    assert broken(NotFinite(), latest(a=1, b=-math.inf)) == "b is -∞ at step 3"
    assert broken(NotFinite("a"), latest(a=1, b=math.nan)) is None
    assert broken(NotFinite(), []) is None
    above, below = Bound("a", 2, above=True), Bound("a", 2, above=False)
    assert broken(above, latest(a=2, b=9)) is None
    assert broken(below, latest(a=2, b=0)) is None
    assert broken(above, latest(a=2.5)) == "a is 2.5 at step 3, above 2"
    assert broken(below, latest(a=1.5)) == "a is 1.5 at step 3, below 2"
    assert broken(above, latest(a=math.nan)) is None
