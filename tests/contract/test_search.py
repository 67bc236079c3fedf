from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_mlops.core.errors import FilterError, InvalidValue, NotFound
from jupyter_mlops.core.filters import LONGEST_PATTERN, MOST_KEYS
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import (
    LARGEST_PAGE,
    Batch,
    Dataset,
    Experiment,
    Input,
    Metric,
    NewRun,
    Param,
    Run,
    RunChange,
    RunStatus,
    Tag,
    View,
)
from jupyter_mlops.core.values import param
from jupyter_mlops.tracker.protocol import Tracker

Start = Callable[..., Run]


def logged(
    params: dict[str, object] | None = None, metrics: dict[str, float] | None = None, tags: dict[str, str] | None = None
) -> Batch:
    return Batch(
        params=tuple(param(key, value) for key, value in (params or {}).items()),
        metrics=tuple(Metric(key, value, 1) for key, value in (metrics or {}).items()),
        tags=tuple(Tag(key, value) for key, value in (tags or {}).items()),
    )


def names(tracker: Tracker, filter: str = "", order_by: Sequence[str] = ()) -> str:
    return " ".join(run.name for run in tracker.runs.search(filter=filter, order_by=order_by).items)


@pytest.fixture
def team(start: Start, tracker: Tracker) -> None:
    """Runs a to d, oldest first."""
    start(name="a", start_time=1, batch=logged({"kind": "rf", "depth": 3, "flag": True}, {"auc": 0.9, "loss": 1.0}))
    start(name="b", start_time=2, batch=logged({"kind": "RF", "depth": 10}, {"auc": math.nan}, {"team": "Blue_1"}))
    start(name="c", start_time=3, batch=logged({"kind": "svm", "depth": "10"}, {"auc": 0.5}, {"team": "blue%1"}))
    start(name="d", start_time=4, batch=logged({"flag": False}, {"loss": -math.inf}, {"Ärger": "ÄÖÜ 🎉"}))
    end = tracker.runs.resolve("a").run_id
    tracker.runs.change(end, RunChange(status=RunStatus.FINISHED, end_time=10))


@pytest.mark.usefixtures("team")
@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ("", "d c b a"),
        ("metrics.auc > 0.5", "a"),
        ("metrics.auc >= 0.5", "c a"),
        ("metrics.auc < 0.9", "c"),
        ("metrics.auc <= 0.9 AND metrics.loss = 1", "a"),
        ("metrics.auc != 0.5", "b a"),
        ("metrics.loss < -1e308", "d"),
        ("metrics.auc IS NULL", "d"),
        ("metrics.auc IS NOT NULL", "c b a"),
        ("metrics.nothing > 0", ""),
        ("params.kind = 'rf'", "a"),
        ("params.kind != 'rf'", "c b"),
        ("params.kind LIKE 'r%'", "a"),
        ("params.kind ILIKE 'r%'", "b a"),
        ("params.kind LIKE '_F'", "b"),
        ("params.kind IN ('rf', 'svm')", "c a"),
        ("params.kind NOT IN ('rf', 'svm')", "b"),
        ("params.kind IS NULL", "d"),
        ("params.depth > 5", "b"),
        ("params.depth = 10", "b"),
        ("params.depth = '10'", "c b"),
        ("params.depth != 3", "b"),
        ("params.flag = true", "a"),
        ("params.flag != true", "d"),
        ("params.flag = 'False'", "d"),
        ("tags.team LIKE 'blue%'", "c"),
        ("tags.team ILIKE 'blue%'", "c b"),
        ("tags.team ILIKE '%E_1'", "c b"),
        ("tags.team = 'blue%1'", "c"),
        ("tags.`Ärger` = 'ÄÖÜ 🎉'", "d"),
        ("tags.`Ärger` LIKE 'ÄÖ%'", "d"),
        ("tags.team IS NULL AND metrics.loss IS NOT NULL", "d a"),
        ("status = 'FINISHED'", "a"),
        ("attributes.status IN ('RUNNING')", "d c b"),
        ("run_name = 'a'", "a"),
        ("run_name LIKE '%'", "d c b a"),
        ("attributes.start_time > 2", "d c"),
        ("attributes.start_time >= 2.5", "d c"),
        ("end_time IS NULL", "d c b"),
        ("end_time = 10", "a"),
        ("parent_run_id IS NULL", "d c b a"),
        ("tags.mlflow.user IS NOT NULL AND tags.`mlflow.runName` IS NOT NULL", "d c b a"),
        ("tags.mlflow.user IS NULL", ""),
        ("kind = 'session' AND source = ''", "d c b a"),
        ("params.kind = 'x'' OR ''1''=''1'", ""),
        ("params.kind LIKE '[rs]*'", ""),
        ("params.kind LIKE '\\%'", ""),
    ],
)
def test_filters(tracker: Tracker, filter: str, expected: str) -> None:
    assert names(tracker, filter) == expected


@pytest.mark.usefixtures("team")
@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        (["metrics.auc DESC"], "a c b d"),
        (["metrics.auc"], "c a b d"),
        (["metrics.loss"], "d a c b"),
        (["metrics.loss DESC"], "a d c b"),
        (["params.depth"], "a b c d"),
        (["params.depth DESC"], "b a c d"),
        (["params.kind"], "b a c d"),
        (["params.kind DESC"], "c a b d"),
        (["tags.team"], "b c d a"),
        (["tags.team DESC"], "c b d a"),
        (["run_name"], "a b c d"),
        (["start_time"], "a b c d"),
        (["end_time DESC"], "a d c b"),
        (["end_time"], "a d c b"),
        (["status", "metrics.auc DESC"], "a c b d"),
        (["params.flag", "start_time ASC"], "d a b c"),
        (["metrics.nothing", "run_name"], "a b c d"),
    ],
)
def test_orderings(tracker: Tracker, order_by: list[str], expected: str) -> None:
    assert names(tracker, order_by=order_by) == expected
    assert " ".join(run.name for run in pages(tracker, order_by, limit=1)) == expected
    assert " ".join(run.name for run in pages(tracker, order_by, limit=3)) == expected


def pages(tracker: Tracker, order_by: Sequence[str] = (), limit: int = 2, filter: str = "") -> list[Run]:
    found: list[Run] = []
    token = None
    for _ in range(1000):
        page = tracker.runs.search(filter=filter, order_by=order_by, limit=limit, page_token=token)
        assert len(page.items) <= limit
        found += page.items
        token = page.next_page_token
        if token is None:
            return found
    raise AssertionError("the pages never end")


def test_data_sets_are_searched(tracker: Tracker, start: Start) -> None:
    start(
        name="a", batch=Batch(inputs=(Input(Dataset("train", "d1"), "training"), Input(Dataset("test", "d2"), "test")))
    )
    start(name="b", batch=Batch(inputs=(Input(Dataset("train", "d3"), "training"),)))
    start(name="c")
    assert names(tracker, "datasets.name = 'train'") == "b a"
    assert names(tracker, "dataset.digest = 'd2'") == "a"
    assert names(tracker, "datasets.context LIKE 'train%' AND datasets.digest IN ('d3')") == "b"


def test_experiments_limit_the_search(tracker: Tracker, experiment: Experiment, start: Start) -> None:
    other = tracker.experiments.create("other")
    start(name="a", batch=logged(metrics={"auc": 1.0}))
    start(name="b", experiment_id=other.experiment_id, batch=logged(metrics={"auc": 2.0}))

    def found(*ids: str) -> list[str]:
        return [run.name for run in tracker.runs.search(ids, order_by=["metrics.auc"]).items]

    assert found(experiment.experiment_id) == ["a"]
    assert found(other.experiment_id) == ["b"]
    assert found(other.experiment_id, experiment.experiment_id) == found() == ["a", "b"]
    with pytest.raises(NotFound, match="experiment"):
        found(other.experiment_id, new_id())


def test_children_are_found_by_their_parent(tracker: Tracker, start: Start) -> None:
    parent = start(name="parent")
    start(name="child", parent_run_id=parent.run_id)
    assert names(tracker, f"parent_run_id = '{parent.run_id}'") == "child"
    assert names(tracker, f"run_id = '{parent.run_id}'") == "parent"


def test_runs_added_meanwhile_neither_repeat_nor_hide_others(tracker: Tracker, start: Start) -> None:
    for number in range(6):
        start(name=str(number), batch=logged(metrics={"auc": float(number)}))
    first = tracker.runs.search(order_by=["metrics.auc DESC"], limit=3)
    start(name="best", batch=logged(metrics={"auc": 100.0}))
    start(name="worst", batch=logged(metrics={"auc": -100.0}))
    tracker.runs.delete(first.items[-1].run_id)
    rest = tracker.runs.search(order_by=["metrics.auc DESC"], page_token=first.next_page_token)
    assert [run.name for run in (*first.items, *rest.items)] == ["5", "4", "3", "2", "1", "0", "worst"]


def test_a_page_token_is_bound_to_its_query(tracker: Tracker, experiment: Experiment, start: Start) -> None:
    for number in range(4):
        start(batch=logged({"n": number}, {"auc": float(number)}))
    token = tracker.runs.search(order_by=["metrics.auc"], limit=2).next_page_token
    assert token is not None
    for arguments in (
        {},
        {"order_by": ["metrics.auc DESC"]},
        {"order_by": ["metrics.auc"], "filter": "params.n > 1"},
        {"order_by": ["metrics.auc"], "view": View.ALL},
        {"order_by": ["metrics.auc"], "experiment_ids": [experiment.experiment_id]},
    ):
        with pytest.raises(InvalidValue, match="page_token"):
            tracker.runs.search(page_token=token, **arguments)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="page_token"):
        tracker.experiments.search(page_token=token)
    with pytest.raises(InvalidValue, match="page_token"):
        tracker.runs.history(start().run_id, "auc", page_token=token)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.text(max_size=60), st.binary(max_size=40).map(lambda data: base64.urlsafe_b64encode(data).decode()))
)
def test_made_up_page_tokens_are_refused(tracker: Tracker, text: str) -> None:
    for order_by in ((), ["metrics.auc"]):
        with pytest.raises(InvalidValue, match="page_token"):
            tracker.runs.search(order_by=order_by, page_token=text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_page_tokens_that_were_tampered_with_never_break(
    tracker: Tracker, experiment: Experiment, data: st.DataObject
) -> None:
    while len(tracker.runs.search(limit=3).items) < 3:
        tracker.runs.create(NewRun(experiment_id=experiment.experiment_id, batch=logged({"n": 1}, {"auc": 1.0})))
    order_by = data.draw(st.sampled_from(((), ("metrics.auc",), ("params.n",), ("end_time", "metrics.x DESC"))))
    token = tracker.runs.search(order_by=order_by, limit=1).next_page_token
    assert token is not None
    raw = bytearray(base64.urlsafe_b64decode(token + "=="))
    raw[data.draw(st.integers(8, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(InvalidValue):
        tracker.runs.search(order_by=order_by, page_token=base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="))


@pytest.mark.parametrize("limit", [0, -1, LARGEST_PAGE + 1, 2**70, True, "5"])
def test_a_limit_out_of_range_is_refused(tracker: Tracker, limit: int) -> None:
    with pytest.raises(InvalidValue, match="limit"):
        tracker.runs.search(limit=limit)
    with pytest.raises(InvalidValue, match="limit"):
        tracker.experiments.search(limit=limit)


def test_what_is_not_in_the_grammar_is_refused(tracker: Tracker) -> None:
    for filter in ("metrics.auc >", "metrics.auc = 'x'", "foo = 1", "a' OR 1=1"):
        with pytest.raises(FilterError):
            tracker.runs.search(filter=filter)
    with pytest.raises(FilterError):
        tracker.runs.search(order_by=["metrics.auc SIDEWAYS"])
    with pytest.raises(InvalidValue, match="list"):
        tracker.runs.search("abc")


def test_runs_are_complete_in_long_listings(tracker: Tracker, start: Start) -> None:
    for number in range(30):
        batch = logged({f"p{i}": number * i for i in range(5)}, {"a": number / 3, "b": -0.0}, {"t": str(number)})
        start(batch=batch)
    listed = tracker.runs.search().items
    assert len(listed) == 30
    assert list(listed) == [tracker.runs.get(run.run_id) for run in listed]


VALUES = st.sampled_from([None, math.nan, -math.inf, -1.5, -0.0, 0.0, 1.0, 2.0**60, math.inf])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_ordering_is_as_documented_and_paged_without_gaps(tracker: Tracker, data: st.DataObject) -> None:
    ids = [tracker.experiments.create(new_id()).experiment_id for _ in range(data.draw(st.integers(1, 3)))]
    runs = data.draw(
        st.lists(
            st.tuples(VALUES, VALUES, st.sampled_from([None, "1", "10", "9", "x", "é", "Z"]), st.integers(0, 2)),
            max_size=9,
        )
    )
    for number, (first, second, text, started) in enumerate(runs):
        metrics = {key: value for key, value in (("m", first), ("n", second)) if value is not None}
        params = () if text is None else (Param("p", float(text) if text.isdigit() else text, text),)
        batch = Batch(params=params, metrics=logged(metrics=metrics).metrics)
        tracker.runs.create(NewRun(experiment_id=ids[number % len(ids)], start_time=started, batch=batch))
    keys = data.draw(
        st.lists(st.sampled_from(["metrics.m", "metrics.n", "params.p", "start_time"]), max_size=3, unique=True)
    )
    order_by = [f"{key} {data.draw(st.sampled_from(['ASC', 'DESC']))}" for key in keys]
    whole = tracker.runs.search(ids, order_by=order_by).items
    assert len(whole) == len(runs)
    for before, after in itertools.pairwise(whole):
        assert _place(before, order_by) <= _place(after, order_by)
    paged: list[Run] = []
    token = None
    while True:
        page = tracker.runs.search(ids, order_by=order_by, limit=2, page_token=token)
        paged += page.items
        token = page.next_page_token
        if token is None:
            break
    assert [run.run_id for run in paged] == [run.run_id for run in whole]


def _text_key(text: str, sign: int) -> list[int]:
    # The last number sorts a text after those that begin with it when texts are reversed, before them when not.
    return [*(sign * ord(character) for character in text), -sign]


def _place(run: Run, order_by: list[str]) -> tuple[object, ...]:
    """A key to sort by, as the protocol says it."""
    place: list[object] = []
    for clause in [*order_by, "start_time DESC"]:
        key, direction = clause.split()
        sign = -1 if direction == "DESC" else 1
        if key == "start_time":
            place.append(sign * run.start_time)
        elif key == "params.p":
            text = next((item.text for item in run.params), None)
            number = text is not None and text.isdigit()
            place += [0 if number else 1, sign * float(text) if number and text else 0.0, text is None]
            place.append(_text_key(text or "", sign))
        else:
            value = next((item.value for item in run.metrics if item.key == key[-1]), None)
            rank = 2 if value is None else 1 if math.isnan(value) else 0
            place += [rank, sign * value if value is not None and rank == 0 else 0.0]
    return (*place, _text_key(run.run_id, -1))


def test_no_search_is_too_large_for_a_database(tracker: Tracker, start: Start) -> None:
    run = start(batch=logged({"p0": 1}, {}, {"a": "*"}))
    keys = [f"{kind}.p{number}" for number in range(MOST_KEYS // 2) for kind in ("metrics", "params")]
    assert tracker.runs.search(order_by=keys).items == (run,)
    for character in ("*", "[", "İ", "🎉", "%"):
        tracker.runs.search(filter=f"tags.a ILIKE '{character * LONGEST_PATTERN}'")
