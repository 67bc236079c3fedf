"""Runs side by side."""

from __future__ import annotations

import math

import pytest

from jupyter_mlops.core import values
from jupyter_mlops.core.compare import Comparison, compare, differing_params, metric_keys
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Dataset, Input, MetricSummary, Run, RunKind, RunStatus, Tag


def run(
    name: str,
    params: dict[str, object] | None = None,
    metrics: dict[str, float] | None = None,
    tags: dict[str, str] | None = None,
    inputs: tuple[Input, ...] = (),
) -> Run:
    return Run(
        run_id=f"{ord(name):032x}",
        experiment_id="0" * 32,
        name=name,
        kind=RunKind.NOTEBOOK,
        user="me",
        status=RunStatus.FINISHED,
        created=0,
        start_time=0,
        params=tuple(values.param(key, value) for key, value in (params or {}).items()),
        metrics=tuple(MetricSummary(key, value, 0, 0, 1) for key, value in (metrics or {}).items()),
        tags=tuple(Tag(key, value) for key, value in (tags or {}).items()),
        inputs=inputs,
    )


A = run("a", {"depth": 3, "lr": 0.1, "kind": "rf"}, {"auc": 0.8, "loss": 1.0, "system/cpu": 5.0}, {"team": "x"})
B = run("b", {"depth": 5, "lr": 0.1}, {"auc": 0.9, "system/cpu": 6.0}, {"team": "x", "note": "n"})
C = run("c", {"depth": 5, "lr": 0.1, "seed": 1}, {"auc": 0.9, "f1": math.nan})


def flags(found: Comparison, part: str) -> dict[str, bool]:
    return {row.key: row.differs for row in getattr(found, part)}


def test_what_differs_what_is_the_same_and_what_is_missing() -> None:
    found = compare([A, B, C])
    assert found.runs == (A, B, C)
    assert flags(found, "params") == {"depth": True, "lr": False, "kind": True, "seed": True}
    assert flags(found, "metrics") == {"auc": True, "loss": True, "f1": True}
    assert flags(found, "tags") == {"team": True, "note": True}
    rows = {row.key: row for row in found.params}
    assert [param and param.value for param in rows["depth"].values] == [3, 5, 5]
    assert [param and param.value for param in rows["kind"].values] == ["rf", None, None]
    assert [metric and metric.value for metric in found.metrics[0].values] == [0.8, 0.9, 0.9]
    assert differing_params([A, B, C]) == ["depth", "kind", "seed"]
    assert metric_keys([A, B, C]) == ["auc", "loss", "f1"]


def test_nothing_is_best_unless_asked_for() -> None:
    assert all(row.best == () for row in compare([A, B]).metrics)


@pytest.mark.parametrize(
    ("metric", "maximize", "best"),
    [("auc", True, (1, 2)), ("auc", False, (0,)), ("loss", True, (0,)), ("f1", True, ())],
)
def test_best(metric: str, maximize: bool, best: tuple[int, ...]) -> None:
    rows = {row.key: row for row in compare([A, B, C], best={metric: maximize}).metrics}
    assert rows.pop(metric).best == best
    assert all(row.best == () for row in rows.values())


def test_equal_runs_do_not_differ() -> None:
    twin = run("d", {"seed": 1, "depth": 5, "lr": 0.1}, {"auc": 0.9, "f1": math.nan})
    found = compare([C, twin])
    assert not any(row.differs for row in (*found.params, *found.metrics, *found.tags))
    assert differing_params([C, twin]) == []


def test_one_run_shows_all_of_its_params() -> None:
    assert differing_params([A]) == ["depth", "lr", "kind"]
    assert not any(flags(compare([A]), "params").values())


def test_data_sets_by_context() -> None:
    first = run("a", inputs=(Input(Dataset("churn", "d1"), "training"), Input(Dataset("churn", "d2"), "test")))
    second = run("b", inputs=(Input(Dataset("churn", "d1"), "training"), Input(Dataset("churn", "d3"), "test")))
    found = compare([first, second])
    assert flags(found, "datasets") == {"training: churn": False, "test: churn": True}


def test_refused() -> None:
    with pytest.raises(InvalidValue, match="at least one"):
        compare([])
    with pytest.raises(InvalidValue, match=r"the run a .* is there twice"):
        compare([A, B, A])
    with pytest.raises(InvalidValue, match="no run has a metric 'acu'; did you mean 'auc'"):
        compare([A, B], best={"acu": True})
