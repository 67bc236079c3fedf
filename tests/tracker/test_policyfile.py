from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.policy import CheckRule, Policy, checked_policy
from jupyter_mlops.tracker.policyfile import policy_yaml, read_policy, unknown_checks
from tests.core.test_policy import policies

EXAMPLE = """\
# of the churn team
protected: [production]
approvals: 2
approvers: ["group:leads", bo]
checks:
  - loads
  - metric: {metric: auc, at_least: 0.8, tolerance: 0.01}
  - fairness: {column: age}
lifetime_days: 7
"""


def test_a_policy_is_read() -> None:
    found = read_policy(EXAMPLE)
    assert found == Policy(
        protected=("production",),
        approvals=2,
        approvers=("bo", "group:leads"),
        checks=(
            CheckRule(name="loads"),
            CheckRule(name="metric", settings={"metric": "auc", "at_least": 0.8, "tolerance": 0.01}),
            CheckRule(name="fairness", settings={"column": "age"}),
        ),
        lifetime_days=7,
    )
    assert list(unknown_checks(found)) == ["fairness"]
    assert read_policy("") == checked_policy(Policy())


@given(policies)
def test_what_is_written_is_read_again(policy: Policy) -> None:
    try:
        tidy = checked_policy(policy)
    except InvalidValue:
        return
    assert read_policy(policy_yaml(tidy)) == tidy


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("approvals: 2\napproval: 3", "line 2: a policy has no 'approval'; did you mean 'approvals'?"),
        ("a: 1\napprovals: two\n", "line 1: .*\nline 2: approvals: Expected `int`, got `str`"),
        ("checks:\n  - loads\n  - metric: {metrics: auc}", "line 3: check 'metric' has no setting 'metrics'"),
        ("checks:\n- loads\n- [a]\n- metric: {metric: auc}", "line 3: expected a name\nline 4: .*at_least"),
        ("approvals: 1\napprovals: 2", "line 2: approvals is there twice"),
        ("\n\nlifetime_days: 1000", "line 3: lifetime_days: 1000 is out of range; 1 to 365"),
        ("- loads", "line 1: a policy is a list of names and values"),
        ("approvals: [", "line 1: this is no YAML"),
        ("protected: !!python/name:os.system", "line 1: this cannot be read"),
        ("checks: loads", "line 1: checks: expected a list"),
        ("checks: [{a: 1, b: 2}]", "line 1: checks: each is a name"),
        ("checks: [{a: 1}]", "its settings are names and values"),
        ("x" * 1_000_001, "no 1000001 characters"),
    ],
)
def test_mistakes_are_told_by_line(text: str, told: str) -> None:
    with pytest.raises(InvalidValue, match=told):
        read_policy(text)


@given(st.text(alphabet="ab:-[]{}\n &*!#|>%@`\"'\t,?0", max_size=40))
def test_any_text_is_a_policy_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidValue):
        read_policy(text)
