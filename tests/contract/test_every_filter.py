"""Whatever the search grammar takes, a tracker answers, and as the grammar's meaning says."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import pytest

from jupyter_mlops.core import values
from jupyter_mlops.core.errors import FilterError
from jupyter_mlops.core.filter_names import ATTRIBUTES, DATASET_KEYS, Entity
from jupyter_mlops.core.filters import Comparison, FieldKind, Operator, parse_filter, parse_order_by
from jupyter_mlops.core.records import Batch, Dataset, Input, Page, Run, RunChange, RunStatus
from jupyter_mlops.tracker.protocol import Tracker

ORDERED: dict[Operator, Callable[[object, object], bool]] = {
    Operator.EQ: lambda a, b: a == b,
    Operator.NE: lambda a, b: a != b,
    Operator.GT: lambda a, b: a > b,  # type: ignore[operator]
    Operator.GE: lambda a, b: a >= b,  # type: ignore[operator]
    Operator.LT: lambda a, b: a < b,  # type: ignore[operator]
    Operator.LE: lambda a, b: a <= b,  # type: ignore[operator]
    Operator.IN: lambda a, b: a in b,  # type: ignore[operator]
    Operator.NOT_IN: lambda a, b: a not in b,  # type: ignore[operator]
    Operator.LIKE: lambda a, b: like(str(a), str(b)),
    Operator.ILIKE: lambda a, b: like(str(a).lower(), str(b).lower()),
}

TEXTS = ["'3'", "'rf'", "'RF'", "'r%'", "'%_F'", "''", "'a%b'", "'FAILED'", "'notebook'"]
NUMBERS = ["3", "2.5", "-1e3", "true", "false"]


def like(text: str, pattern: str) -> bool:
    expression = "".join({"%": ".*", "_": "."}.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def texts_of_filters(field: str, texts: Sequence[str]) -> Iterator[str]:
    for operator in Operator:
        if operator in (Operator.IS_NULL, Operator.IS_NOT_NULL):
            yield f"{field} {operator.value}"
        elif operator in (Operator.IN, Operator.NOT_IN):
            yield from (f"{field} {operator.value} ({text}, 'x')" for text in texts)
        else:
            yield from (f"{field} {operator.value} {text}" for text in (*texts, *NUMBERS))


def accepted(field: str, entity: Entity, texts: Sequence[str] = TEXTS) -> Iterator[tuple[str, Comparison]]:
    for text in texts_of_filters(field, texts):
        try:
            (comparison,) = parse_filter(text, entity)
        except FilterError:
            continue
        yield text, comparison


def present(run: Run, comparison: Comparison) -> list[object]:
    """The values of a run that the comparison is about; no, one or (for data sets) several."""
    field, value = comparison.field, comparison.value
    if field.kind is FieldKind.ATTRIBUTE:
        found = getattr(run, field.key)
        return [] if found is None else [getattr(found, "value", found)]
    if field.kind is FieldKind.METRIC:
        return [metric.value for metric in run.metrics if metric.key == field.key]
    if field.kind is FieldKind.TAG:
        return [tag.value for tag in run.tags if tag.key == field.key]
    if field.kind is FieldKind.DATASET:
        return [item.context if field.key == "context" else getattr(item.dataset, field.key) for item in run.inputs]
    return params_of_type(run, field.key, value)


def params_of_type(run: Run, key: str, value: object) -> list[object]:
    """The typed value of a parameter where it is of ``value``'s type, and its text where that is no number."""
    params = [param for param in run.params if param.key == key]
    if not isinstance(value, bool | float):
        return [param.text for param in params]
    numbers = bool if isinstance(value, bool) else int | float
    return [p.value for p in params if isinstance(p.value, numbers) and isinstance(p.value, bool) is (numbers is bool)]


def passes(run: Run, comparison: Comparison) -> bool:
    found = present(run, comparison)
    if comparison.operator is Operator.IS_NULL:
        return not found
    if comparison.operator is Operator.IS_NOT_NULL:
        return bool(found)
    return any(ORDERED[comparison.operator](value, comparison.value) for value in found)


@pytest.fixture
def some_runs(tracker: Tracker, start: Callable[..., Run]) -> list[Run]:
    kinds: list[object] = ["rf", "RF", "a%b", "", 3, 3.0, "3", 2.5, True, False, None, "true"]
    runs = []
    for number, kind in enumerate(kinds):
        auc = math.nan if number == 7 else number / 2 - 1
        batch = Batch(
            params=(values.param("kind", kind),),
            metrics=(values.metric("auc", auc),) if number % 3 else (),
            tags=(values.tag("kind", kind),) if number % 2 else (),
            inputs=tuple(Input(Dataset(name, f"{name}{number % 2}"), "rf") for name in ("rf", "3")[: number % 3]),
        )
        run = start(batch, name=str(kind) or "3", parent_run_id=runs[0].run_id if number % 4 == 1 else None)
        runs.append(tracker.runs.change(run.run_id, RunChange(status=RunStatus.FAILED)) if number % 5 == 0 else run)
    return [tracker.runs.get(run.run_id) for run in runs]


RUN_FIELDS = [
    *(f"attributes.{attribute.name}" for attribute in ATTRIBUTES[Entity.RUN]),
    *(f"datasets.{key}" for key in DATASET_KEYS),
    "metrics.auc",
    "metrics.none",
    "params.kind",
    "params.none",
    "tags.kind",
]


def test_filters_on_runs(tracker: Tracker, some_runs: list[Run]) -> None:
    asked = 0
    for text, comparison in (pair for field in RUN_FIELDS for pair in accepted(field, Entity.RUN)):
        expected = {run.run_id for run in some_runs if passes(run, comparison)}
        found = tracker.runs.search(filter=text).items
        assert {run.run_id for run in found} == expected, text
        asked += 1
    assert asked > 500


def test_filters_and_orders_on_other_things(tracker: Tracker) -> None:
    searches: dict[Entity, Callable[..., Page[object]]] = {
        Entity.EXPERIMENT: tracker.experiments.search,  # type: ignore[dict-item]
        Entity.MODEL: tracker.models.search,  # type: ignore[dict-item]
        Entity.VERSION: tracker.models.versions,  # type: ignore[dict-item]
    }
    for entity, search in searches.items():
        fields = [*(f"attributes.{attribute.name}" for attribute in ATTRIBUTES[entity]), "tags.team"]
        for text, _ in (pair for field in fields for pair in accepted(field, entity, ["'3'"])):
            search(text)
        for field, direction in product(fields[:-1], ("ASC", "DESC")):
            assert parse_order_by([f"{field} {direction}"], entity)
            search("", [f"{field} {direction}"])


def test_orders_of_runs(tracker: Tracker, some_runs: list[Run]) -> None:
    for field in [field for field in RUN_FIELDS if not field.startswith("datasets.")]:
        for direction in ("ASC", "DESC"):
            found = tracker.runs.search(order_by=[f"{field} {direction}"]).items
            assert sorted(run.run_id for run in found) == [run.run_id for run in some_runs]
            (key,) = parse_order_by([field], Entity.RUN)
            has = [bool(present(run, Comparison(key.field, Operator.IS_NULL, None))) for run in found]
            assert has == sorted(has, reverse=True), f"{field} {direction}: what lacks it comes last"
