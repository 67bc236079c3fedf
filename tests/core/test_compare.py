"""Runs side by side."""

from __future__ import annotations

import math

import msgspec
import pytest

from jupyter_mlops.core import values
from jupyter_mlops.core.compare import Comparison, Evidence, Row, compare, differing_params, metric_keys
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
B = run("b", {"depth": 5, "lr": 0.1}, {"auc": 0.9, "system/cpu": 6.0}, {"team": "x", "mlops.kernel": "r"})
C = run("c", {"depth": 5, "lr": 0.1, "seed": 1}, {"auc": 0.9, "f1": math.nan})


def rows(found: Comparison) -> dict[str, Row]:
    return {f"{row.group}.{row.name}": row for row in found.rows}


def flags(found: Comparison) -> dict[str, bool]:
    return {name: row.differs for name, row in rows(found).items()}


def test_what_differs_what_is_the_same_and_what_is_missing() -> None:
    found = compare([A, B, C])
    assert found.runs == (A, B, C)
    assert flags(found) == {
        "params.depth": True,
        "params.lr": False,
        "params.kind": True,
        "params.seed": True,
        "metrics.auc": True,
        "metrics.loss": True,
        "metrics.f1": True,
        "tags.team": True,
        "run.status": False,
        "run.kernel": True,
        "run.user": False,
    }
    assert rows(found)["params.depth"].values == (3, 5, 5)
    assert rows(found)["params.kind"].values == ("rf", None, None)
    assert rows(found)["metrics.auc"].values == (0.8, 0.9, 0.9)
    assert [row.name for row in found.of("metrics")] == metric_keys([A, B, C]) == ["auc", "loss", "f1"]
    assert differing_params([A, B, C]) == ["depth", "kind", "seed"]


def test_equal_runs_do_not_differ() -> None:
    twin = run("d", {"seed": 1, "depth": 5, "lr": 0.1}, {"auc": 0.9, "f1": math.nan})
    assert not any(flags(compare([C, twin])).values())
    assert differing_params([C, twin]) == []


def test_a_parameter_is_its_text() -> None:
    """As MLflow has it: 1 and 1.0 are two values, and a null is not the same as no parameter at all."""
    assert flags(compare([run("a", {"x": 1}), run("b", {"x": 1.0})]))["params.x"]
    assert flags(compare([run("a", {"x": None}), run("b", {"y": 1})]))["params.x"]


def test_one_run_shows_all_of_its_params() -> None:
    assert differing_params([A]) == ["depth", "lr", "kind"]
    assert not any(flags(compare([A])).values())


def test_data_sets_by_context() -> None:
    first = run("a", inputs=(Input(Dataset("churn", "d1"), "training"), Input(Dataset("churn", "d2"), "test")))
    second = run("b", inputs=(Input(Dataset("churn", "d1"), "training"), Input(Dataset("churn", "d3"), "test")))
    found = compare([first, second])
    assert {row.name: row.differs for row in found.of("inputs")} == {"training: churn": False, "test: churn": True}


def test_what_files_say() -> None:
    found = compare([A, B], [Evidence("n1", {"numpy": "1", "pandas": "2"}), Evidence("n1", {"numpy": "2"})])
    assert not rows(found)["run.notebook"].differs
    assert {row.name: row.values for row in found.of("packages")} == {"numpy": ("1", "2"), "pandas": ("2", None)}


def test_packages_are_compared_where_all_runs_recorded_them() -> None:
    found = compare([A, B], [Evidence("n1", {"numpy": "1"}), Evidence("n2")])
    assert rows(found)["run.notebook"].differs
    assert found.of("packages") == []


def test_as_a_document() -> None:
    document = compare([A, msgspec.structs.replace(B, end_time=2500)]).as_document()
    assert document["runs"] == (A, msgspec.structs.replace(B, end_time=2500))
    assert document["same"]["params.lr"] == 0.1
    assert document["differs"]["params.depth"] == (3, 5)
    assert document["differs"]["run.seconds"] == (None, 2.5)
    assert not document["same"].keys() & document["differs"].keys()


def test_refused() -> None:
    with pytest.raises(InvalidValue, match="at least one"):
        compare([])
    with pytest.raises(InvalidValue, match=r"the run a .* is there twice"):
        compare([A, B, A])
