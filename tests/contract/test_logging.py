from __future__ import annotations

import math
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from jupyter_mlops.core.errors import InvalidValue, MLOpsError, NotFound
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import (
    Batch,
    Dataset,
    Experiment,
    Input,
    Metric,
    MetricSummary,
    NewRun,
    Param,
    Run,
    StreamPosition,
    Tag,
)
from jupyter_mlops.core.redaction import redact_batch
from jupyter_mlops.core.values import LARGEST_INT, SMALLEST_INT, param
from jupyter_mlops.tracker.protocol import Tracker

Start = Callable[..., Run]

FIXED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KEYS = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="/."), min_size=1, max_size=20)
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=200)
INTEGERS = st.integers(SMALLEST_INT, LARGEST_INT)


def same(first: float, second: float) -> bool:
    return math.isnan(first) if math.isnan(second) else struct.pack("<d", first) == struct.pack("<d", second)


def summary(tracker: Tracker, run: Run, key: str) -> MetricSummary:
    return next(metric for metric in tracker.runs.get(run.run_id).metrics if metric.key == key)


@FIXED
@example("loss", math.nan, SMALLEST_INT, 0)
@example("loss", -0.0, LARGEST_INT, LARGEST_INT)
@example("loss", -math.inf, 0, 1)
@example("loss", 5e-324, -1, 1)
@given(KEYS, st.floats(), INTEGERS, st.integers(0, LARGEST_INT))
def test_any_point_comes_back_as_it_was(
    tracker: Tracker, experiment: Experiment, key: str, value: float, step: int, timestamp: int
) -> None:
    metric = Metric(key, value, timestamp, step)
    run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id, batch=Batch(metrics=(metric,))))
    (point,) = tracker.runs.history(run.run_id, key).items
    assert same(point.value, value)
    assert (point.step, point.timestamp) == (step, timestamp)
    kept = summary(tracker, run, key)
    assert same(kept.value, value)
    assert (kept.step, kept.timestamp, kept.count) == (step, timestamp, 1)
    assert kept.min == kept.max == (None if math.isnan(value) else value)


JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


@FIXED
@example("emoji 🎉", "🎉" * 3000)
@example("text", "x" * 6000)
@example("float", math.nan)
@given(KEYS, JSON)
def test_any_param_and_tag_come_back_as_they_were(
    tracker: Tracker, experiment: Experiment, key: str, value: object
) -> None:
    given = param(key, value)
    batch = Batch(params=(given,), tags=(Tag(key, given.text),))
    # Hypothesis knows words of the package, `Token` among them; what has a secret's name is not to come back.
    assume(repr(redact_batch(batch)) == repr(batch))
    run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id, batch=batch))
    read = tracker.runs.get(run.run_id)
    assert repr(read.params) == repr((given,))
    assert read.tags == batch.tags
    tracker.runs.log(run.run_id, batch)
    assert repr(tracker.runs.get(run.run_id)) == repr(read)


@pytest.mark.parametrize(
    ("batch", "complaint"),
    [
        (Batch(params=(Param("a\0b", 1, "1"),)), "parameter key"),
        (Batch(params=(Param("a", "x\0", "x\0"),)), "parameter 'a'"),
        (Batch(params=(Param("a", "x" * 6001, "x" * 6001),)), "6001 characters"),
        (Batch(params=(Param("k" * 251, 1, "1"),)), "251 characters"),
        (Batch(params=(Param("a", 2**70, str(2**70)),)), "parameter 'a'"),
        (Batch(metrics=(Metric("m", "0.5", 1),)), "metric 'm'"),  # type: ignore[arg-type]
        (Batch(metrics=(Metric("m", 0.5, -1),)), "timestamp"),
        (Batch(metrics=(Metric("m", 0.5, 1, 2**63),)), "step"),
        (Batch(metrics=(Metric("", 0.5, 1),)), "metric key"),
        (Batch(tags=(Tag("t", "x" * 8001),)), "tag 't'"),
        (Batch(tags=(Tag("t", "\ud800"),)), "tag 't'"),
        (Batch(inputs=(Input(Dataset("", "d")),)), "data set"),
        (Batch(inputs=(Input(Dataset("n", "d"), "c\0"),)), "context"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(tracker: Tracker, start: Start, batch: Batch, complaint: str) -> None:
    run = start()
    mixed = Batch(
        metrics=(Metric("fine", 1.0, 1), *batch.metrics),
        params=(Param("fine", 1, "1"), *batch.params),
        tags=(Tag("fine", "1"), *batch.tags),
        inputs=batch.inputs,
    )
    with pytest.raises(InvalidValue, match=complaint):
        tracker.runs.log(run.run_id, mixed)
    with pytest.raises(InvalidValue, match=complaint):
        start(batch=mixed)
    assert tracker.runs.get(run.run_id) == run


def test_a_param_never_changes(tracker: Tracker, start: Start) -> None:
    run = start(batch=Batch(params=(Param("lr", 0.1, "0.1"),)))
    tracker.runs.log(run.run_id, Batch(params=(Param("lr", 0.1, "0.1"), Param("depth", 3, "3"))))
    # The text decides, as for MLflow.
    tracker.runs.log(run.run_id, Batch(params=(Param("lr", "0.1", "0.1"),)))
    before = tracker.runs.get(run.run_id)
    assert before.params == (Param("depth", 3, "3"), Param("lr", 0.1, "0.1"))
    clash = Batch(
        metrics=(Metric("m", 1.0, 1),), params=(Param("new", 1, "1"), Param("lr", 0.2, "0.2")), tags=(Tag("t", "1"),)
    )
    with pytest.raises(InvalidValue, match=r"'lr' is '0.1' already and cannot become '0.2'"):
        tracker.runs.log(run.run_id, clash)
    assert tracker.runs.get(run.run_id) == before
    assert tracker.runs.history(run.run_id, "m").items == ()


def test_tags_change_and_go(tracker: Tracker, start: Start) -> None:
    run = start(batch=Batch(tags=(Tag("a", "1"), Tag("b", "1"))))
    tracker.runs.log(run.run_id, Batch(tags=(Tag("a", "2"), Tag("a", "3"))))
    assert tracker.runs.get(run.run_id).tags == (Tag("a", "3"), Tag("b", "1"))
    tracker.runs.delete_tag(run.run_id, "a")
    assert tracker.runs.get(run.run_id).tags == (Tag("b", "1"),)
    with pytest.raises(NotFound, match="'a'"):
        tracker.runs.delete_tag(run.run_id, "a")


def test_the_same_data_set_is_kept_once(tracker: Tracker, start: Start) -> None:
    run = start(batch=Batch(inputs=(Input(Dataset("train", "d", rows=5), "training"),)))
    again = Input(Dataset("train", "d", rows=5), "training", (Tag("split", "a"),))
    tracker.runs.log(run.run_id, Batch(inputs=(again, Input(again.dataset, "testing"))))
    assert tracker.runs.get(run.run_id).inputs == (Input(again.dataset, "testing"), again)
    assert len(tracker.datasets.uses("d")) == 2


POINTS = st.lists(
    st.tuples(
        st.sampled_from([SMALLEST_INT, -1, 0, 1, 2, LARGEST_INT]),
        st.integers(0, 2),
        st.sampled_from([math.nan, -math.inf, -1.0, -0.0, 0.0, 0.5, math.inf]),
    ),
    min_size=1,
    max_size=12,
)


@FIXED
@given(POINTS, st.data())
def test_the_summary_is_of_the_latest_point_however_they_come(
    tracker: Tracker, experiment: Experiment, points: list[tuple[int, int, float]], data: st.DataObject
) -> None:
    run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
    metrics = [Metric("m", value, timestamp, step) for step, timestamp, value in points]
    cut = data.draw(st.integers(0, len(metrics)))
    for part in (metrics[:cut], metrics[cut:]):
        tracker.runs.log(run.run_id, Batch(metrics=tuple(part)))
    kept = summary(tracker, run, "m")
    step, timestamp, value = max(
        points, key=lambda p: (p[0], p[1], not math.isnan(p[2]), 0 if math.isnan(p[2]) else p[2])
    )
    assert (kept.step, kept.timestamp) == (step, timestamp)
    assert kept.value == value or math.isnan(kept.value) is math.isnan(value) is True
    numbers = [value for _, _, value in points if not math.isnan(value)]
    assert (kept.min, kept.max) == (min(numbers, default=None), max(numbers, default=None))
    assert kept.count == len(points)


def test_an_empty_batch_is_harmless_but_needs_its_run(tracker: Tracker, start: Start) -> None:
    run = start()
    tracker.runs.log(run.run_id, Batch(), StreamPosition("s", 4))
    assert tracker.runs.get(run.run_id) == run
    assert tracker.runs.watermark("s") == 4
    with pytest.raises(NotFound):
        tracker.runs.log(new_id(), Batch())


@pytest.mark.at_once
def test_many_threads_log_to_one_run(tracker: Tracker, start: Start) -> None:
    run = start()

    def work(thread: int) -> None:
        for step in range(25):
            metrics = (Metric("shared", float(thread), step, step), Metric(f"own{thread}", float(step), step, step))
            batch = Batch(metrics=metrics, params=(Param("same", 1, "1"),), tags=(Tag(f"t{thread}", str(step)),))
            tracker.runs.log(run.run_id, batch, StreamPosition(f"stream{thread}", step + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    read = tracker.runs.get(run.run_id)
    assert {metric.key: metric.count for metric in read.metrics} == {"shared": 200, **{f"own{t}": 25 for t in range(8)}}
    assert {tag.value for tag in read.tags} == {"24"}
    for thread in range(8):
        history = tracker.runs.history(run.run_id, f"own{thread}").items
        assert [point.step for point in history] == list(range(25))


@pytest.mark.at_once
def test_a_bad_call_hurts_only_itself(tracker: Tracker, start: Start) -> None:
    runs = [start(batch=Batch(params=(Param("lr", 1, "1"),))) for _ in range(6)]
    barrier = threading.Barrier(6)

    def work(number: int) -> list[bool]:
        outcomes = []
        for step in range(15):
            bad = (number + step) % 3 == 0
            params = (Param("lr", 2, "2"),) if bad else ()
            batch = Batch(metrics=(Metric("m", 1.0, step, step),), params=params)
            barrier.wait()
            try:
                tracker.runs.log(new_id() if bad and step % 2 else runs[number].run_id, batch)
                outcomes.append(not bad)
            except MLOpsError:
                outcomes.append(bad)
        return outcomes

    with ThreadPoolExecutor(6) as pool:
        assert all(all(outcomes) for outcomes in pool.map(work, range(6)))
    for number, run in enumerate(runs):
        steps = [point.step for point in tracker.runs.history(run.run_id, "m").items]
        assert steps == [step for step in range(15) if (number + step) % 3]


@pytest.mark.at_once
def test_one_stream_replayed_by_two_at_once_is_applied_once(
    tracker: Tracker, start: Start, open_tracker: Callable[[], Tracker]
) -> None:
    run = start()
    others = [open_tracker() for _ in range(3)]
    barrier = threading.Barrier(3)

    def replay(one: Tracker) -> None:
        for number in range(1, 16):
            barrier.wait()
            one.runs.log(run.run_id, Batch(metrics=(Metric("m", 1.0, number, number),)), StreamPosition("s", number))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(replay, others))
    assert summary(tracker, run, "m").count == 15
    assert tracker.runs.watermark("s") == 15


@pytest.mark.at_once
def test_two_who_log_different_values_of_a_param_have_one_winner(
    tracker: Tracker, start: Start, open_tracker: Callable[[], Tracker]
) -> None:
    others = [open_tracker() for _ in range(2)]
    barrier = threading.Barrier(2)
    for _ in range(10):
        run = start()

        def log(number: int, run: Run = run) -> bool:
            barrier.wait()
            try:
                others[number].runs.log(run.run_id, Batch(params=(Param("p", number, str(number)),)))
            except InvalidValue:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            won = list(pool.map(log, range(2)))
        assert sorted(won) == [False, True]
        assert tracker.runs.get(run.run_id).params[0].text == str(won.index(True))
