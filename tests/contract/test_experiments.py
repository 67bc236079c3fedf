from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from jupyter_mlops.core.errors import AlreadyExists, Conflict, FilterError, InvalidValue, NotFound
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Experiment, Lifecycle, Run, Tag, View
from jupyter_mlops.tracker.protocol import Tracker


def test_an_experiment_holds_what_was_given(tracker: Tracker) -> None:
    created = tracker.experiments.create("churn 🎉", tags={"team": "blue", "a": ""})
    assert created.owner == tracker.principal.name
    assert created.tags == (Tag("a", ""), Tag("team", "blue"))
    assert tracker.experiments.get(created.experiment_id) == created
    assert tracker.experiments.find("churn 🎉") == created
    assert tracker.experiments.ensure("churn 🎉") == created
    assert tracker.audit(limit=1)[0].action == "experiment.create"


def test_a_taken_name_is_refused_also_when_deleted(tracker: Tracker, experiment: Experiment) -> None:
    with pytest.raises(AlreadyExists, match="churn"):
        tracker.experiments.create("churn")
    tracker.experiments.delete(experiment.experiment_id)
    with pytest.raises(AlreadyExists, match="restore"):
        tracker.experiments.create("churn")
    with pytest.raises(Conflict, match="deleted"):
        tracker.experiments.ensure("churn")
    assert tracker.experiments.find("churn").lifecycle is Lifecycle.DELETED


def test_owners_have_names_of_their_own(tracker: Tracker, experiment: Experiment) -> None:
    groups = [tracker.experiments.create("churn", owner=f"group:{name}") for name in ("red", "blue")]
    assert tracker.experiments.ensure("churn", owner="group:red") == groups[0]
    assert tracker.experiments.find("churn") == experiment
    tracker.experiments.rename(experiment.experiment_id, "mine")
    with pytest.raises(InvalidValue, match=r"group:red.*group:blue|group:blue.*group:red"):
        tracker.experiments.find("churn")


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "x" * 501, "line\nbreak"])
def test_a_name_that_is_none_is_refused(tracker: Tracker, experiment: Experiment, name: str) -> None:
    for call in (
        lambda: tracker.experiments.create(name),
        lambda: tracker.experiments.ensure(name),
        lambda: tracker.experiments.rename(experiment.experiment_id, name),
    ):
        with pytest.raises(InvalidValue, match="experiment name"):
            call()


def test_what_does_not_exist_is_not_found(tracker: Tracker) -> None:
    for unknown in (new_id(), "0", "a\0", ""):
        for call in (
            lambda unknown=unknown: tracker.experiments.get(unknown),
            lambda unknown=unknown: tracker.experiments.rename(unknown, "x"),
            lambda unknown=unknown: tracker.experiments.set_tags(unknown, {"a": "b"}),
            lambda unknown=unknown: tracker.experiments.delete_tag(unknown, "a"),
            lambda unknown=unknown: tracker.experiments.delete(unknown),
            lambda unknown=unknown: tracker.experiments.restore(unknown),
        ):
            with pytest.raises(NotFound):
                call()
    with pytest.raises(NotFound, match="nothing"):
        tracker.experiments.find("nothing")


@pytest.mark.at_once
def test_many_who_ensure_at_once_get_the_same(open_tracker: Callable[..., Tracker]) -> None:
    trackers = [open_tracker() for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: trackers[number % 4].experiments.ensure("one"), range(8)))
    assert len({experiment.experiment_id for experiment in found}) == 1
    assert len(trackers[0].experiments.search().items) == 1


def test_renaming(tracker: Tracker, experiment: Experiment) -> None:
    other = tracker.experiments.create("other")
    tracker.experiments.rename(experiment.experiment_id, "better")
    assert tracker.experiments.find("better").experiment_id == experiment.experiment_id
    assert tracker.audit(limit=1)[0].detail == {"from": "churn", "to": "better"}
    tracker.experiments.rename(experiment.experiment_id, "better")
    with pytest.raises(AlreadyExists, match="better"):
        tracker.experiments.rename(other.experiment_id, "better")
    tracker.experiments.delete(other.experiment_id)
    with pytest.raises(Conflict, match="deleted"):
        tracker.experiments.rename(other.experiment_id, "new")


def test_tags(tracker: Tracker, experiment: Experiment) -> None:
    tracker.experiments.set_tags(experiment.experiment_id, {"b": "1", "a": "2"})
    tracker.experiments.set_tags(experiment.experiment_id, {"b": "3"})
    assert tracker.experiments.get(experiment.experiment_id).tags == (Tag("a", "2"), Tag("b", "3"))
    tracker.experiments.delete_tag(experiment.experiment_id, "a")
    assert tracker.experiments.get(experiment.experiment_id).tags == (Tag("b", "3"),)
    with pytest.raises(NotFound, match="'a'"):
        tracker.experiments.delete_tag(experiment.experiment_id, "a")
    with pytest.raises(InvalidValue, match="tag"):
        tracker.experiments.set_tags(experiment.experiment_id, {"ok": "1", "bad": "a\0b"})
    assert tracker.experiments.get(experiment.experiment_id).tags == (Tag("b", "3"),)


def test_deleting_and_restoring(tracker: Tracker, experiment: Experiment) -> None:
    tracker.experiments.delete(experiment.experiment_id)
    tracker.experiments.delete(experiment.experiment_id)
    assert tracker.experiments.search().items == ()
    assert [item.name for item in tracker.experiments.search(view=View.DELETED).items] == ["churn"]
    tracker.experiments.restore(experiment.experiment_id)
    tracker.experiments.restore(experiment.experiment_id)
    assert [item.name for item in tracker.experiments.search().items] == ["churn"]
    actions = [entry.action for entry in tracker.audit()]
    assert actions == ["experiment.restore", "experiment.delete", "experiment.create"]


def test_search(tracker: Tracker) -> None:
    for name, team in (("churn-1", "blue"), ("churn-2", "red"), ("Fraud", "blue")):
        tracker.experiments.create(name, tags={"team": team})

    def names(filter: str = "", order_by: list[str] | None = None) -> list[str]:
        return [experiment.name for experiment in tracker.experiments.search(filter, order_by or ()).items]

    assert names() == ["Fraud", "churn-2", "churn-1"]
    assert names("name LIKE 'churn%'", ["name"]) == ["churn-1", "churn-2"]
    assert names("name LIKE 'f%'") == []
    assert names("name ILIKE 'f%'") == ["Fraud"]
    assert names("tags.team = 'blue'", ["name DESC"]) == ["churn-1", "Fraud"]
    assert names("tags.team = 'blue' AND name != 'Fraud'") == ["churn-1"]
    assert names("name = 'x'' OR 1=1 --'") == []
    with pytest.raises(FilterError):
        names("metrics.auc > 1")


def test_listings_count_active_runs(tracker: Tracker, experiment: Experiment, start: Callable[..., Run]) -> None:
    tracker.experiments.create("empty")
    start(start_time=5)
    tracker.runs.delete(start(start_time=9).run_id)
    listed = {item.name: (item.runs, item.last_run) for item in tracker.experiments.search().items}
    assert listed == {"churn": (1, 5), "empty": (0, None)}


def test_pages_of_experiments(tracker: Tracker) -> None:
    created = [tracker.experiments.create(f"e{number}").name for number in range(7)]
    seen: list[str] = []
    token = None
    while True:
        page = tracker.experiments.search(limit=3, page_token=token)
        seen += [experiment.name for experiment in page.items]
        token = page.next_page_token
        if token is None:
            break
    assert seen == created[::-1]
