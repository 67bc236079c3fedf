"""What counts as the same result."""

from __future__ import annotations

import math

import pytest

from jupyter_mlops.core.compare import Evidence, compare
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import MetricSummary, Run, RunKind, RunStatus
from jupyter_mlops.core.reproduction import Agreement, agreement, comparable_metrics, judge


@pytest.mark.parametrize(
    ("recorded", "again", "tolerance", "expected"),
    [
        (1.0, 1.0, 0.0, "equal"),
        (0.0, -0.0, 0.0, "equal"),
        (math.nan, math.nan, 0.0, "equal"),
        (math.inf, math.inf, 0.0, "equal"),
        (math.nan, 1.0, 9.0, "different"),
        (1.0, math.nan, 9.0, "different"),
        (math.inf, 1.0, 9.0, "different"),
        (math.inf, -math.inf, 9.0, "different"),
        (1.0, None, 9.0, "different"),
        (1.0, 1.01, 0.0, "different"),
        (1.0, 1.01, 0.02, "within tolerance"),
        (-1.0, -1.01, 0.02, "within tolerance"),
        (100.0, 101.0, 0.02, "within tolerance"),
        (100.0, 103.0, 0.02, "different"),
        (0.0, 1e-12, 0.5, "different"),
    ],
)
def test_agreement(recorded: float, again: float | None, tolerance: float, expected: str) -> None:
    assert agreement(recorded, again, tolerance).value == expected


def run(run_id: str, **metrics: float) -> Run:
    return Run(
        run_id=run_id * 32,
        experiment_id="e",
        name=f"run-{run_id}",
        kind=RunKind.NOTEBOOK,
        user="ann",
        status=RunStatus.FINISHED,
        created=1,
        start_time=1,
        metrics=tuple(MetricSummary(key.replace("__", "/"), value, 1, 0, 1) for key, value in metrics.items()),
    )


def test_the_worst_metric_decides_and_is_named() -> None:
    compared = compare([run("a", auc=0.9, loss=1.0, system__memory=5.0), run("b", auc=0.9, loss=1.1)])
    found = judge(compared, tolerance=0.05)
    assert found.agreement is Agreement.DIFFERENT
    assert not found.reproduced
    assert found.summary == (
        "different: of 2 metrics 1 different, 1 equal (loss was 1, came out as 1.1); no packages were recorded, "
        "no code was recorded, no data set was recorded"
    )
    assert judge(compared, tolerance=0.2).agreement is Agreement.TOLERATED
    assert judge(compared, only=["auc"]).reproduced


def test_what_differs_beside_the_results_is_told() -> None:
    runs = [run("a", auc=0.9), run("b", auc=0.9)]
    files = [Evidence("n1", {"numpy": "1", "pandas": "2"}), Evidence("n1", {"numpy": "2", "pandas": "2"})]
    surroundings = judge(compare(runs, files)).surroundings
    assert [(one.name, one.recorded, one.again) for one in surroundings.packages or ()] == [("numpy", "1", "2")]
    assert surroundings.code == ()
    assert str(surroundings) == "packages differ, code is the same, no data set was recorded"


def test_without_metrics_nothing_can_agree() -> None:
    with pytest.raises(InvalidValue, match="logged no metric, so"):
        comparable_metrics(run("a", system__memory=5.0))
    with pytest.raises(InvalidValue, match="did you mean 'auc'"):
        comparable_metrics(run("a", auc=0.9), ["auk"])
