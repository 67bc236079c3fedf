"""What tells runs apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

import msgspec

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import MetricSummary, Param, Run
from jupyter_mlops.core.suggestions import did_you_mean

SYSTEM_METRICS = "system/"
"""What metrics that the recorder itself logs begin with."""

T = TypeVar("T")


class Row(msgspec.Struct, Generic[T], frozen=True):
    """One thing of all compared runs."""

    key: str
    values: tuple[T | None, ...]
    """One for each run, in their order; None where a run has none."""
    differs: bool
    """Not the same in all runs; having none is different from any value."""
    best: tuple[int, ...] = ()
    """Of a metric that was asked for: the places of the best value, several when they are equal."""


class Comparison(msgspec.Struct, frozen=True):
    """Runs side by side. Params, tags and data sets are in the order first logged, metrics those first that most runs
    have."""

    runs: tuple[Run, ...]
    params: tuple[Row[Param], ...]
    """Compared by their text."""
    metrics: tuple[Row[MetricSummary], ...]
    """Compared by their latest value, NaN being the same as NaN; the system's own left out."""
    tags: tuple[Row[str], ...]
    datasets: tuple[Row[str], ...]
    """Digests of the data sets used, by context and name (``training: churn``)."""


def compare(runs: Sequence[Run], *, best: Mapping[str, bool] | None = None) -> Comparison:
    """Put runs side by side.

    Parameters
    ----------
    runs
        At least one, each once.
    best
        The metrics whose best value is to be marked, and whether that is the greatest (True) or the least (False).

    Raises
    ------
    InvalidValue
        There is no run, one is there twice, or no run has a metric named in ``best``.
    """
    if not runs:
        raise InvalidValue("compare: at least one run is needed")
    seen: set[str] = set()
    for run in runs:
        if run.run_id in seen:
            raise InvalidValue(f"compare: the run {run.name} ({run.run_id}) is there twice")
        seen.add(run.run_id)
    goals = best or {}
    keys = metric_keys(runs)
    for key in goals:
        if key not in keys:
            raise InvalidValue(f"compare: no run has a metric {key!r}{did_you_mean(key, keys)}")
    summaries = [{summary.key: summary for summary in run.metrics} for run in runs]
    return Comparison(
        runs=tuple(runs),
        params=tuple(
            _row(key, values, [None if param is None else param.text for param in values])
            for key, values in _columns([{param.key: param for param in run.params} for run in runs])
        ),
        metrics=tuple(_metric_row(key, [found.get(key) for found in summaries], goals.get(key)) for key in keys),
        tags=tuple(
            _row(key, values, values)
            for key, values in _columns([{tag.key: tag.value for tag in run.tags} for run in runs])
        ),
        datasets=tuple(_row(key, values, values) for key, values in _columns([_digests(run) for run in runs])),
    )


def differing_params(runs: Sequence[Run]) -> list[str]:
    """Parameters that tell the runs apart, in the order first logged; all of them where there is one run only."""
    found = _columns([{param.key: param.text for param in run.params} for run in runs])
    return [key for key, texts in found if len(set(texts)) > 1 or len(runs) == 1]


def metric_keys(runs: Sequence[Run]) -> list[str]:
    """Metrics of the runs, those that most have first; the system's own left out."""
    counts: dict[str, int] = {}
    for run in runs:
        for metric in run.metrics:
            if not metric.key.startswith(SYSTEM_METRICS):
                counts[metric.key] = counts.get(metric.key, 0) + 1
    return sorted(counts, key=lambda key: -counts[key])


def _columns(found: Sequence[Mapping[str, T]]) -> Iterable[tuple[str, list[T | None]]]:
    """Each key of any of the mappings, in the order first met, with its value in each."""
    keys = dict.fromkeys(key for mapping in found for key in mapping)
    return [(key, [mapping.get(key) for mapping in found]) for key in keys]


def _row(key: str, values: Sequence[T | None], compared: Sequence[str | None]) -> Row[T]:
    return Row(key, tuple(values), len(set(compared)) > 1)


def _metric_row(key: str, values: Sequence[MetricSummary | None], maximize: bool | None) -> Row[MetricSummary]:
    row = _row(key, values, [None if summary is None else repr(summary.value) for summary in values])
    present = [summary.value for summary in values if summary is not None and not math.isnan(summary.value)]
    if maximize is None or not present:
        return row
    goal = max(present) if maximize else min(present)
    places = tuple(place for place, summary in enumerate(values) if summary is not None and summary.value == goal)
    return msgspec.structs.replace(row, best=places)


def _digests(run: Run) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in run.inputs:
        key = f"{item.context}: {item.dataset.name}" if item.context else item.dataset.name
        found[key] = f"{found[key]}, {item.dataset.digest}" if key in found else item.dataset.digest
    return found
