"""What a policy may say of checks, and what a notebook says it has checked."""

from __future__ import annotations

import math
from typing import Any

import pytest

from jupyter_mlops.core.checks import SETTINGS, check_settings, cost, logged_checks
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import MetricSummary, Run, RunKind, RunStatus

GOOD: dict[str, dict[str, Any]] = {"metric": {"metric": "auc", "at_least": 0.8}, "notebook": {"run": "a" * 32}}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_typed(name: str) -> None:
    assert isinstance(check_settings(name, GOOD.get(name, {})), SETTINGS[name])


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("format", {"strict": True}, "check 'format' has no setting 'strict'; it has none"),
        ("metric", {"at_least": 1}, "missing required field `metric`"),
        ("metric", {"metric": "auc"}, "give at_least or at_most, or tolerance"),
        ("metric", {"metric": "auc", "tolerance": -1}, "0 or more"),
        ("metric", {"metric": "auc", "at_most": math.nan}, "no number"),
        ("loads", {"exampel": False}, "did you mean 'example'?"),
        ("reproduces", {"tolerance": math.inf}, "0 or more"),
        ("notebook", {"run": 7}, "got `int`"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        check_settings(name, settings)
    assert told in refused.value.message


def test_checks_of_others_judge_their_settings_themselves() -> None:
    assert check_settings("house", {"anything": 1}) is None
    assert sorted(["house", *reversed(SETTINGS)], key=cost) == [*SETTINGS, "house"]


def test_a_logged_check_passes_when_every_point_is_one() -> None:
    def metric(key: str, value: float, low: float | None) -> MetricSummary:
        return MetricSummary(key, value, 1, 0, 2, min=low, max=value)

    run = Run(
        run_id="a" * 32,
        experiment_id="e",
        name="r",
        kind=RunKind.NOTEBOOK,
        user="ann",
        status=RunStatus.FINISHED,
        created=1,
        start_time=1,
        metrics=(
            metric("check/good", 1.0, 1.0),
            metric("check/once", 1.0, 0.0),
            metric("check/nan", math.nan, None),
            metric("check/nan at last", math.nan, 1.0),
            metric("auc", 0.2, 0.2),
        ),
    )
    assert logged_checks(run) == {"good": True, "once": False, "nan": False, "nan at last": False}
