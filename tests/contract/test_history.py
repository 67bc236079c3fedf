from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import (
    Batch,
    Experiment,
    Metric,
    MetricPoint,
    NewRun,
    Run,
    RunChange,
    RunStatus,
    Series,
    Tag,
)
from jupyter_mlops.core.values import series
from jupyter_mlops.tracker.protocol import LARGEST_PAGE, Tracker

Start = Callable[..., Run]
Triple = tuple[int, int, float]


def batch(points: Iterable[Triple]) -> Batch:
    return Batch(metrics=tuple(Metric("m", value, timestamp, step) for step, timestamp, value in points))


def history(tracker: Tracker, run: Run, limit: int = LARGEST_PAGE) -> list[MetricPoint]:
    found: list[MetricPoint] = []
    token = None
    while True:
        page = tracker.runs.history(run.run_id, "m", limit=limit, page_token=token)
        assert len(page.items) <= limit
        found += page.items
        token = page.next_page_token
        if token is None:
            return found


def once(points: Iterable[Triple]) -> list[str]:
    """The distinct points in their order; as text, in which NaN equals NaN and -0.0 is not 0.0."""
    return list(dict.fromkeys(repr(MetricPoint(*point)) for point in points))


VALUES = st.sampled_from([math.nan, -math.inf, -0.0, 0.0, 1.5])
POINTS = st.lists(st.tuples(st.integers(-2, 3), st.integers(0, 2), VALUES), max_size=10)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(POINTS, max_size=5), st.integers(1, 8), st.booleans())
def test_points_come_as_logged_and_once(
    tracker: Tracker, experiment: Experiment, batches: list[list[Triple]], limit: int, end: bool
) -> None:
    run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
    for points in batches:
        tracker.runs.log(run.run_id, batch(points))
    if end:
        tracker.runs.change(run.run_id, RunChange(status=RunStatus.FINISHED))
    expected = once(point for points in batches for point in points)
    assert [repr(point) for point in history(tracker, run)] == expected
    assert [repr(point) for point in history(tracker, run, limit)] == expected


def test_a_resent_batch_is_read_once(tracker: Tracker, start: Start) -> None:
    run = start()
    points = [(step, 5, step / 7) for step in range(100)]
    for _ in range(3):
        tracker.runs.log(run.run_id, batch(points))
    assert [tuple(vars_of(point)) for point in history(tracker, run, 30)] == points


def vars_of(point: MetricPoint) -> Triple:
    return point.step, point.timestamp, point.value


def test_page_tokens_survive_what_is_added_and_merged(tracker: Tracker, start: Start) -> None:
    run = start()
    for step in range(40):
        tracker.runs.log(run.run_id, batch([(step, step, step * 0.5)]))
    first = tracker.runs.history(run.run_id, "m", limit=15)
    assert first.next_page_token is not None
    tracker.runs.log(run.run_id, batch([(40, 40, 20.0)]))
    tracker.runs.change(run.run_id, RunChange(status=RunStatus.FINISHED))
    second = tracker.runs.history(run.run_id, "m", limit=15, page_token=first.next_page_token)
    tracker.runs.log(run.run_id, batch([(41, 41, 20.5)]))
    tracker.runs.change(run.run_id, RunChange(status=RunStatus.FINISHED))
    third = tracker.runs.history(run.run_id, "m", limit=15, page_token=second.next_page_token)
    steps = [point.step for page in (first, second, third) for point in page.items]
    assert steps == list(range(42))
    assert third.next_page_token is None


def test_a_long_history_of_small_calls_stays_in_order(tracker: Tracker, start: Start) -> None:
    run = start()
    count = 600
    for step in range(count):
        tracker.runs.log(run.run_id, batch([(-step, 1, 1.0)]))
    assert [point.step for point in history(tracker, run)] == [-step for step in range(count)]
    assert tracker.runs.get(run.run_id).metrics[0].count == count


def test_large_batches_are_read_in_pages(tracker: Tracker, start: Start) -> None:
    run = start()
    for begin in range(0, 30_000, 10_000):
        tracker.runs.log(run.run_id, batch((step, step, step / 3) for step in range(begin, begin + 10_000)))
    read = history(tracker, run, 7000)
    assert [point.step for point in read] == list(range(30_000))
    assert [point.value for point in read] == [step / 3 for step in range(30_000)]


def test_a_metric_never_logged_has_no_points(tracker: Tracker, start: Start) -> None:
    run = start()
    assert tracker.runs.history(run.run_id, "m").items == ()
    assert tracker.runs.sampled(run.run_id, "m", 10) == ()
    with pytest.raises(InvalidValue, match="metric key"):
        tracker.runs.history(run.run_id, "odd\0key")


def test_a_token_belongs_to_one_history(tracker: Tracker, start: Start) -> None:
    run, other = start(), start()
    for one in (run, other):
        tracker.runs.log(one.run_id, batch([(0, 0, 0.0), (1, 1, 1.0)]))
    token = tracker.runs.history(run.run_id, "m", limit=1).next_page_token
    for run_id, key in ((other.run_id, "m"), (run.run_id, "n")):
        with pytest.raises(InvalidValue, match="page_token"):
            tracker.runs.history(run_id, key, page_token=token)


@pytest.mark.parametrize("limit", [0, -5, LARGEST_PAGE + 1])
def test_a_limit_out_of_range_is_refused(tracker: Tracker, start: Start, limit: int) -> None:
    with pytest.raises(InvalidValue, match="limit"):
        tracker.runs.history(start().run_id, "m", limit=limit)
    with pytest.raises(InvalidValue, match="width"):
        tracker.runs.sampled(start().run_id, "m", 0)


@pytest.mark.parametrize("bound", ["first", "last"])
def test_a_step_that_is_none_is_refused(tracker: Tracker, start: Start, bound: str) -> None:
    run = start()
    tracker.runs.log(run.run_id, batch([(0, 0, 0.0)]))
    with pytest.raises(InvalidValue, match=bound):
        tracker.runs.sampled(run.run_id, "m", 10, **{bound: 0.5})  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 3), st.floats(-10, 10) | st.just(math.nan)), max_size=120),
    st.integers(1, 12),
)
def test_samples_keep_first_last_least_and_greatest(
    tracker: Tracker, experiment: Experiment, points: list[Triple], width: int
) -> None:
    run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id, batch=batch(points)))
    sampled = tracker.runs.sampled(run.run_id, "m", width)
    assert len(sampled) <= 4 * width
    steps = [point.step for point in sampled]
    assert steps == sorted(steps)
    logged = history(tracker, run)
    assert {repr(point) for point in sampled} <= {repr(point) for point in logged}
    if not logged:
        return
    assert steps[0] == min(point.step for point in logged)
    assert steps[-1] == max(point.step for point in logged)
    numbers = [point.value for point in logged if not math.isnan(point.value)]
    shown = [point.value for point in sampled if not math.isnan(point.value)]
    assert (min(shown, default=0), max(shown, default=0)) == (min(numbers, default=0), max(numbers, default=0))
    if len(logged) <= 4 * width:
        assert len(sampled) == len(logged)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 3), st.floats(-10, 10) | st.just(math.nan)), max_size=120),
    st.none() | st.integers(-60, 60),
    st.none() | st.integers(-60, 60),
)
def test_a_range_of_steps_is_sampled_as_if_it_were_all(
    tracker: Tracker, experiment: Experiment, points: list[Triple], first: int | None, last: int | None
) -> None:
    inside = [p for p in points if (first is None or p[0] >= first) and (last is None or p[0] <= last)]
    whole, part = (
        tracker.runs.create(NewRun(experiment_id=experiment.experiment_id, batch=batch(some)))
        for some in (points, inside)
    )
    sampled = tracker.runs.sampled(whole.run_id, "m", 5, first=first, last=last)
    assert list(map(repr, sampled)) == list(map(repr, tracker.runs.sampled(part.run_id, "m", 5)))


def test_steps_at_the_ends_of_64_bits_are_sampled(tracker: Tracker, start: Start) -> None:
    run = start()
    ends = [-(2**63), -1, 0, 1, 2, 3, 2**63 - 1]
    tracker.runs.log(run.run_id, batch((step, 0, 1.0) for step in ends))
    steps = [point.step for point in tracker.runs.sampled(run.run_id, "m", 1, first=-(2**63), last=2**63 - 1)]
    assert steps == [-(2**63), 2**63 - 1]


def test_a_series_is_a_history_in_one_piece(tracker: Tracker, start: Start) -> None:
    run = start()
    values = [0.5, math.nan, -0.0, math.inf, 0.25]
    tracker.runs.log(run.run_id, Batch(series=(series("loss", values, steps=[5, 1, 2, -3, 4], timestamps=[9] * 5),)))
    last = series("loss", [7.0], steps=[7])
    tracker.runs.log(run.run_id, Batch(metrics=(Metric("loss", 0.1, 10, 6),), series=(last,)))
    points = tracker.runs.history(run.run_id, "loss").items
    assert [point.step for point in points] == [5, 1, 2, -3, 4, 6, 7]
    assert [repr(point.value) for point in points[:5]] == [repr(value) for value in values]
    (summary,) = tracker.runs.get(run.run_id).metrics
    assert (summary.value, summary.step, summary.count, summary.min, summary.max) == (7.0, 7, 7, -0.0, math.inf)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (Series("loss", b"", b"", b""), "equal length"),
        (Series("loss", bytes(8), bytes(8), bytes(7)), "equal length"),
        (Series("loss", bytes(8), bytes(16), bytes(8)), "equal length"),
        (Series("loss", bytes(8), b"\xff" * 8, bytes(8)), "timestamp"),
        (Series("a//b", bytes(8), bytes(8), bytes(8)), "metric key"),
    ],
)
def test_a_series_that_is_none_is_refused(tracker: Tracker, start: Start, bad: Series, told: str) -> None:
    run = start()
    with pytest.raises(InvalidValue, match=told):
        tracker.runs.log(run.run_id, Batch(series=(bad,), tags=(Tag("a", "b"),)))
    assert tracker.runs.get(run.run_id).tags == ()
