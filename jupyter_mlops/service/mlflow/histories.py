"""Histories of metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import LARGEST_PAGE, MetricPoint
from jupyter_mlops.service.mlflow.messages import Answer, Message, invalid, limited, missing, number
from jupyter_mlops.service.mlflow.runs import MetricAnswer, OfRun, named_run
from jupyter_mlops.tracker.embedded import EmbeddedTracker

MOST_BULK = 25_000
MOST_RUNS = 100
MOST_SAMPLED = 2500
"""Points of one run that an interval gives."""


class GetHistory(OfRun, frozen=True, kw_only=True):
    metric_key: str
    page_token: str | None = None
    max_results: int | None = None


class GetBulk(Message, frozen=True, kw_only=True):
    run_id: tuple[str, ...] = ()
    metric_key: str | None = None
    max_results: int = MOST_BULK


class GetInterval(Message, frozen=True, kw_only=True):
    run_ids: tuple[str, ...] = ()
    metric_key: str
    start_step: int | None = None
    end_step: int | None = None
    max_results: int = MOST_SAMPLED


class History(Answer, frozen=True, kw_only=True):
    metrics: tuple[MetricAnswer, ...] = ()
    next_page_token: str | None = None


def get_history(tracker: EmbeddedTracker, asked: GetHistory) -> History:
    key, run_id = asked.metric_key, asked.run
    if asked.max_results is None:
        return History(metrics=tuple(_answers(key, _points(tracker, run_id, key, asked.page_token or None))))
    if asked.max_results <= 0:
        raise invalid(asked.max_results, "max_results", "It must be a positive integer.")
    limit = min(asked.max_results, LARGEST_PAGE)
    with named_run(run_id):
        page = tracker.runs.history(run_id, key, limit=limit, page_token=asked.page_token or None)
    return History(metrics=tuple(_answers(key, page.items)), next_page_token=page.next_page_token)


def get_bulk(tracker: EmbeddedTracker, asked: GetBulk) -> History:
    if not asked.run_id:
        raise InvalidValue("GetMetricHistoryBulk request must specify at least one run_id.")
    if len(asked.run_id) > MOST_RUNS:
        raise InvalidValue(
            f"GetMetricHistoryBulk request cannot specify more than {MOST_RUNS} run_ids. Received "
            f"{len(asked.run_id)} run_ids."
        )
    if asked.metric_key is None:
        raise InvalidValue("GetMetricHistoryBulk request must specify a metric_key.")
    most = min(limited(asked.max_results, "max_results", LARGEST_PAGE), MOST_BULK)
    found: list[MetricAnswer] = []
    for run_id in sorted(set(asked.run_id)):
        points = sorted(_points(tracker, run_id, asked.metric_key), key=lambda point: (point.timestamp, point.step))
        found += _answers(asked.metric_key, points[: most - len(found)], run_id)
        if len(found) >= most:
            break
    return History(metrics=tuple(found))


def get_interval(tracker: EmbeddedTracker, asked: GetInterval) -> History:
    run_ids = [run_id for run_id in asked.run_ids if run_id]
    if not run_ids:
        raise missing("run_ids")
    if len(run_ids) > MOST_RUNS:
        raise InvalidValue(
            f"GetMetricHistoryBulkInterval request must specify at most {MOST_RUNS} run_ids. Received "
            f"{len(run_ids)} run_ids."
        )
    if not 1 <= asked.max_results <= MOST_SAMPLED:
        raise InvalidValue(f"max_results must be between 1 and {MOST_SAMPLED}.")
    start, end = asked.start_step, asked.end_step
    if (start is None) != (end is None):
        raise InvalidValue("If either start step or end step are specified, both must be specified.")
    if start is not None and end is not None and start > end:
        raise InvalidValue(f"end_step must be greater than start_step. Found start_step={start} and end_step={end}.")
    histories = {run_id: _points(tracker, run_id, asked.metric_key) for run_id in run_ids}
    inside = {
        run_id: [point for point in points if start is None or end is None or start <= point.step <= end]
        for run_id, points in histories.items()
    }
    wanted = _steps(inside.values(), asked.max_results)
    found: list[MetricAnswer] = []
    for run_id in sorted(inside):
        ordered = sorted(inside[run_id], key=lambda point: (point.step, point.timestamp))
        chosen = [point for point in ordered if point.step in wanted]
        found += _answers(asked.metric_key, chosen[: MOST_BULK // len(run_ids)], run_id)
    return History(metrics=tuple(found))


def _steps(histories: Iterable[Sequence[MetricPoint]], most: int) -> set[int]:
    """About ``most`` of the steps that there are, evenly spread, with the first and the last of each history."""
    each = [{point.step for point in points} for points in histories if points]
    steps = sorted(set().union(*each))
    if len(steps) <= most:
        return set(steps)
    ends = {end for found in each for end in (min(found), max(found))}
    return {*steps[:: len(steps) // most], *ends}


def _points(tracker: EmbeddedTracker, run_id: str, key: str, token: str | None = None) -> list[MetricPoint]:
    """All points of a history, from the place of ``token`` on."""
    found: list[MetricPoint] = []
    with named_run(run_id):
        while True:
            page = tracker.runs.history(run_id, key, limit=LARGEST_PAGE, page_token=token)
            found += page.items
            token = page.next_page_token
            if token is None:
                return found


def _answers(key: str, points: Sequence[MetricPoint], run_id: str | None = None) -> Iterator[MetricAnswer]:
    for point in points:
        yield MetricAnswer(
            key=key, value=number(point.value), timestamp=point.timestamp, step=point.step, run_id=run_id
        )
