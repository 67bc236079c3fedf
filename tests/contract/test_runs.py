from __future__ import annotations

import io
import json
from collections.abc import Callable

import msgspec
import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import (
    AlreadyExists,
    Conflict,
    InvalidValue,
    NotFound,
    PermissionDenied,
)
from jupyter_mlops.core.ids import is_id, new_id
from jupyter_mlops.core.records import (
    Batch,
    Dataset,
    Experiment,
    Input,
    Lifecycle,
    Metric,
    MetricSummary,
    NewRun,
    Param,
    Progress,
    Reason,
    ReasonKind,
    Run,
    RunChange,
    RunKind,
    Runner,
    RunStatus,
    StreamPosition,
    Tag,
    View,
)
from jupyter_mlops.core.run_files import LOCK
from jupyter_mlops.tracker import evidence
from jupyter_mlops.tracker.protocol import Tracker

Start = Callable[..., Run]

EVERYTHING = Batch(
    metrics=(Metric("auc", 0.5, 10, 1), Metric("auc", 0.75, 20, 2)),
    params=(Param("lr", 0.1, "0.1"), Param("api_key", "[redacted]", "[redacted]", redacted=True)),
    tags=(Tag("team", "blue"),),
    inputs=(Input(Dataset("train", "d1", "local", "train.csv", "{}", "{}", 100), "training", (Tag("a", "b"),)),),
)
RUNNER = Runner(host="h", boot_id="b", pid=7, started=1.5, kernel_pid=8, kernel_started=2.5)


def test_a_new_run_holds_what_was_given(tracker: Tracker, experiment: Experiment) -> None:
    parent = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id, kind=RunKind.SWEEP))
    run_id = new_id()
    run = tracker.runs.create(
        NewRun(
            experiment_id=experiment.experiment_id,
            kind=RunKind.NOTEBOOK,
            run_id=run_id,
            name="first",
            status=RunStatus.SCHEDULED,
            start_time=123,
            parent_run_id=parent.run_id,
            source="churn.ipynb",
            hidden_state="cell 3 was edited",
            runner=RUNNER,
            batch=EVERYTHING,
        )
    )
    assert run == Run(
        run_id=run_id,
        experiment_id=experiment.experiment_id,
        name="first",
        kind=RunKind.NOTEBOOK,
        user=tracker.principal.name,
        status=RunStatus.SCHEDULED,
        created=run.created,
        start_time=123,
        parent_run_id=parent.run_id,
        source="churn.ipynb",
        hidden_state="cell 3 was edited",
        runner=RUNNER,
        heartbeat=run.created,
        params=(Param("api_key", "[redacted]", "[redacted]", redacted=True), Param("lr", 0.1, "0.1")),
        metrics=(MetricSummary("auc", 0.75, 20, 2, 2, 0.5, 0.75),),
        tags=EVERYTHING.tags,
        inputs=EVERYTHING.inputs,
    )
    assert tracker.runs.get(run_id) == run
    assert tracker.runs.search([experiment.experiment_id]).items[-1] == run


def test_a_heartbeat_is_on_record(tracker: Tracker, start: Start) -> None:
    run = start()
    assert run.heartbeat == run.created
    while tracker.runs.get(run.run_id).heartbeat == run.created:  # until the clock has gone on
        tracker.runs.heartbeat(run.run_id)
    (found,) = tracker.runs.search().items
    assert found.heartbeat is not None
    assert found.heartbeat > run.created
    assert msgspec.structs.replace(found, heartbeat=run.created) == run


def test_what_is_not_given_is_made_up(start: Start) -> None:
    first, second = start(), start()
    assert is_id(first.run_id)
    assert first.run_id < second.run_id
    assert first.name
    assert (first.status, first.kind) == (RunStatus.RUNNING, RunKind.SESSION)
    assert abs(first.start_time - first.created) < 1000
    assert first.end_time is None


def test_creating_a_run_again_gives_the_run_as_it_is(tracker: Tracker, start: Start) -> None:
    run_id = new_id()
    start(run_id=run_id, name="one", batch=EVERYTHING)
    tracker.runs.log(run_id, Batch(tags=(Tag("later", "yes"),)))
    again = start(run_id=run_id, name="two", batch=Batch(params=(Param("other", 1, "1"),)))
    assert again == tracker.runs.get(run_id)
    assert again.name == "one"
    assert Tag("later", "yes") in again.tags
    assert "other" not in {param.key for param in again.params}
    other = tracker.experiments.create("other")
    with pytest.raises(AlreadyExists, match=run_id):
        start(run_id=run_id, experiment_id=other.experiment_id)


@pytest.mark.parametrize("run_id", ["0", "x" * 32, "A" * 32, "0" * 31 + "\0", "../" + "0" * 29])
def test_an_id_that_is_none_is_refused(tracker: Tracker, start: Start, run_id: str) -> None:
    with pytest.raises(InvalidValue, match="32 hex digits"):
        start(run_id=run_id)
    with pytest.raises(NotFound):
        tracker.runs.get(run_id)
    with pytest.raises(NotFound):
        tracker.runs.log(run_id, Batch(tags=(Tag("a", "b"),)))


def test_a_run_needs_an_active_experiment_and_an_existing_parent(
    tracker: Tracker, experiment: Experiment, start: Start
) -> None:
    with pytest.raises(NotFound, match="experiment"):
        start(experiment_id=new_id())
    with pytest.raises(NotFound, match="parent"):
        start(parent_run_id=new_id())
    tracker.experiments.delete(experiment.experiment_id)
    with pytest.raises(Conflict, match="deleted"):
        start()
    assert tracker.runs.search(view=View.ALL).items == ()


def test_a_refused_creation_leaves_nothing(tracker: Tracker, start: Start) -> None:
    with pytest.raises(InvalidValue, match="lr"):
        start(batch=Batch(params=(Param("lr", 1, "1"), Param("lr", 2, "2"))))
    assert tracker.runs.search(view=View.ALL).items == ()


def test_changes_leave_the_rest_as_it_is(tracker: Tracker, start: Start) -> None:
    run = start(name="before", runner=RUNNER, batch=EVERYTHING)
    changed = tracker.runs.change(run.run_id, RunChange(name="after", progress=Progress(done=1, total=3, failed=1)))
    assert changed.name == "after"
    assert changed.progress == Progress(done=1, total=3, failed=1)
    assert (changed.params, changed.runner, changed.status) == (run.params, RUNNER, RunStatus.RUNNING)
    hidden = tracker.runs.change(run.run_id, RunChange(hidden_state="out of order"))
    assert (hidden.name, hidden.hidden_state, hidden.progress) == ("after", "out of order", changed.progress)
    assert tracker.runs.get(run.run_id) == hidden


def test_ending_sets_the_time_once_and_reopening_clears_it(tracker: Tracker, start: Start) -> None:
    run = start()
    lost = Reason(kind=ReasonKind.RUNNER_LOST, message="gone")
    failed = tracker.runs.change(run.run_id, RunChange(status=RunStatus.FAILED, reason=lost))
    assert failed.reason == lost
    assert failed.end_time is not None
    assert failed.end_time >= run.created
    again = tracker.runs.change(run.run_id, RunChange(status=RunStatus.FAILED))
    assert (again.end_time, again.reason) == (failed.end_time, lost)
    reopened = tracker.runs.change(run.run_id, RunChange(status=RunStatus.RUNNING))
    assert (reopened.end_time, reopened.reason) == (None, None)
    finished = tracker.runs.change(run.run_id, RunChange(status=RunStatus.FINISHED, end_time=77))
    assert finished.end_time == 77
    assert tracker.runs.change(run.run_id, RunChange(end_time=78)).end_time == 78


def test_a_reason_keeps_its_details(tracker: Tracker, start: Start) -> None:
    reason = Reason(
        kind=ReasonKind.CELL_ERROR, message="ValueError: é", cell=3, source="raise", traceback="Traceback\n  …"
    )
    run = start()
    tracker.runs.change(run.run_id, RunChange(status=RunStatus.FAILED, reason=reason))
    assert tracker.runs.get(run.run_id).reason == reason


def test_unknown_runs_are_not_found(tracker: Tracker) -> None:
    unknown = new_id()
    for call in (
        lambda: tracker.runs.get(unknown),
        lambda: tracker.runs.log(unknown, Batch(tags=(Tag("a", "b"),))),
        lambda: tracker.runs.change(unknown, RunChange(name="x")),
        lambda: tracker.runs.heartbeat(unknown),
        lambda: tracker.runs.delete(unknown),
        lambda: tracker.runs.restore(unknown),
        lambda: tracker.runs.delete_tag(unknown, "a"),
        lambda: tracker.runs.history(unknown, "a"),
        lambda: tracker.runs.sampled(unknown, "a", 5),
        lambda: tracker.runs.comment(unknown, "text"),
        lambda: tracker.runs.comments(unknown),
        lambda: tracker.runs.children(unknown),
        lambda: tracker.runs.resolve(unknown),
    ):
        with pytest.raises(NotFound, match=unknown):
            call()


def test_a_deleted_run_is_found_only_when_asked_for(tracker: Tracker, experiment: Experiment, start: Start) -> None:
    run, kept = start(name="doomed"), start(name="kept")
    tracker.runs.delete(run.run_id)
    tracker.runs.delete(run.run_id)
    assert tracker.runs.get(run.run_id).lifecycle is Lifecycle.DELETED

    def found(view: View) -> set[str]:
        return {item.name for item in tracker.runs.search([experiment.experiment_id], view=view).items}

    assert (found(View.ACTIVE), found(View.DELETED), found(View.ALL)) == ({"kept"}, {"doomed"}, {"doomed", "kept"})
    assert [item.run_id for item in tracker.runs.active()] == [kept.run_id]
    with pytest.raises(NotFound):
        tracker.runs.resolve("doomed")
    for call in (
        lambda: tracker.runs.log(run.run_id, EVERYTHING),
        lambda: tracker.runs.change(run.run_id, RunChange(name="x")),
        lambda: tracker.runs.comment(run.run_id, "x"),
        lambda: tracker.runs.delete_tag(run.run_id, "team"),
    ):
        with pytest.raises(Conflict, match="deleted"):
            call()
    tracker.runs.restore(run.run_id)
    tracker.runs.restore(run.run_id)
    assert tracker.runs.get(run.run_id) == run
    actions = [entry.action for entry in tracker.audit() if entry.target == run.run_id]
    assert actions == ["run.restore", "run.delete"]


def test_deletion_takes_the_descendants_and_restoring_brings_back_just_those(tracker: Tracker, start: Start) -> None:
    root = start()
    child, deleted_before = start(parent_run_id=root.run_id), start(parent_run_id=root.run_id)
    grandchild = start(parent_run_id=child.run_id)
    tracker.runs.delete(deleted_before.run_id)
    tracker.runs.delete(root.run_id)

    def active() -> set[str]:
        return {run.run_id for run in tracker.runs.search().items}

    assert active() == set()
    tracker.runs.restore(root.run_id)
    assert active() == {root.run_id, child.run_id, grandchild.run_id}
    tracker.runs.delete(root.run_id)
    tracker.runs.restore(child.run_id)
    assert active() == {child.run_id, grandchild.run_id}


def test_an_experiment_takes_its_runs_along(tracker: Tracker, experiment: Experiment, start: Start) -> None:
    before, run = start(), start()
    tracker.runs.delete(before.run_id)
    tracker.experiments.delete(experiment.experiment_id)
    assert tracker.runs.get(run.run_id).lifecycle is Lifecycle.DELETED
    with pytest.raises(Conflict, match="experiment"):
        tracker.runs.restore(run.run_id)
    tracker.experiments.restore(experiment.experiment_id)
    assert [item.run_id for item in tracker.runs.search().items] == [run.run_id]


def test_children_and_active_runs(tracker: Tracker, start: Start) -> None:
    parent = start(kind=RunKind.SWEEP)
    children = [start(parent_run_id=parent.run_id, start_time=number) for number in range(3)]
    start(parent_run_id=children[0].run_id)
    assert list(tracker.runs.children(parent.run_id)) == children
    tracker.runs.change(children[0].run_id, RunChange(status=RunStatus.FINISHED))
    tracker.runs.change(children[1].run_id, RunChange(status=RunStatus.SCHEDULED))
    tracker.runs.delete(children[2].run_id)
    active = {run.run_id for run in tracker.runs.active()}
    assert {parent.run_id, children[1].run_id} <= active
    assert not {children[0].run_id, children[2].run_id} & active


def test_a_run_is_named_by_id_prefix_or_name(tracker: Tracker, start: Start) -> None:
    ids = ["0123" + "0" * 28, "0124" + "0" * 28]
    first, second = (start(run_id=run_id, name=name) for run_id, name in zip(ids, ("one", "two"), strict=True))
    assert tracker.runs.resolve(first.run_id) == first
    assert tracker.runs.resolve("0123") == first
    assert tracker.runs.resolve("two") == second
    with pytest.raises(NotFound, match="012"):
        tracker.runs.resolve("012")
    with pytest.raises(NotFound, match="four"):
        tracker.runs.resolve("four")
    third = start(run_id="01235" + "0" * 27, name="two")
    for text in ("0123", "two"):
        with pytest.raises(InvalidValue, match=third.run_id):
            tracker.runs.resolve(text)
    assert tracker.runs.resolve("01230") == first


def test_names_are_looked_up_in_one_experiment_if_asked(tracker: Tracker, experiment: Experiment, start: Start) -> None:
    other = tracker.experiments.create("other")
    here, there = start(name="same"), start(name="same", experiment_id=other.experiment_id)
    with pytest.raises(InvalidValue, match=there.run_id):
        tracker.runs.resolve("same")
    assert tracker.runs.resolve("same", experiment_id=experiment.experiment_id) == here
    assert tracker.runs.resolve("same", experiment_id=other.experiment_id) == there
    with pytest.raises(NotFound):
        tracker.runs.resolve(here.run_id, experiment_id=other.experiment_id)


def test_a_name_of_hex_digits_and_a_prefix_are_both_meant(tracker: Tracker, start: Start) -> None:
    run = start(run_id="abcd" + "0" * 28, name="one")
    named = start(name="abcd")
    with pytest.raises(InvalidValue, match=f"{named.run_id}.*{run.run_id}|{run.run_id}.*{named.run_id}"):
        tracker.runs.resolve("abcd")


def test_comments_come_in_order(tracker: Tracker, start: Start) -> None:
    run = start()
    texts = ["first", "zweiter 🎉", "x" * 5000]
    written = [tracker.runs.comment(run.run_id, text) for text in texts]
    assert tracker.runs.comments(run.run_id) == tuple(written)
    assert [comment.text for comment in written] == texts
    assert {comment.user for comment in written} == {tracker.principal.name}
    for text in ("", "  ", "a\0b"):
        with pytest.raises(InvalidValue, match="comment"):
            tracker.runs.comment(run.run_id, text)


def test_renaming_is_on_record(tracker: Tracker, start: Start) -> None:
    run = start(name="before")
    tracker.runs.change(run.run_id, RunChange(name="after"))
    entry = tracker.audit(limit=1)[0]
    assert (entry.action, entry.target, entry.user) == ("run.rename", run.run_id, tracker.principal.name)
    assert entry.detail == {"from": "before", "to": "after"}
    with pytest.raises(InvalidValue, match="run name"):
        tracker.runs.change(run.run_id, RunChange(name=""))


def test_a_repeated_position_is_acknowledged_and_not_applied(tracker: Tracker, start: Start) -> None:
    stream = new_id()
    assert tracker.runs.watermark(stream) == 0
    run_id = new_id()
    start(run_id=run_id, name="one")
    new = NewRun(experiment_id=tracker.runs.get(run_id).experiment_id, run_id=new_id(), name="two")
    assert tracker.runs.create(new, StreamPosition(stream, 1)).name == "two"
    tracker.runs.change(run_id, RunChange(name="three"), StreamPosition(stream, 2))
    assert tracker.runs.watermark(stream) == 2
    assert tracker.runs.change(run_id, RunChange(name="four"), StreamPosition(stream, 2)).name == "three"
    assert tracker.runs.create(new, StreamPosition(stream, 1)).name == "two"
    tracker.runs.log(run_id, EVERYTHING, StreamPosition(stream, 1))
    assert tracker.runs.get(run_id).params == ()
    assert tracker.runs.watermark(stream) == 2


def test_a_refused_write_does_not_advance_its_stream(tracker: Tracker, start: Start) -> None:
    run = start(batch=EVERYTHING)
    with pytest.raises(InvalidValue, match="lr"):
        tracker.runs.log(run.run_id, Batch(params=(Param("lr", 0.2, "0.2"),)), StreamPosition("s", 1))
    assert tracker.runs.watermark("s") == 0


def test_others_see_and_change_nothing(tracker: Tracker, start: Start, open_tracker: Callable[..., Tracker]) -> None:
    run = start(name="secret")
    stranger = open_tracker(Principal("stranger"))
    assert stranger.runs.search().items == ()
    assert stranger.experiments.search().items == ()
    for call in (
        lambda: stranger.runs.get(run.run_id),
        lambda: stranger.runs.resolve("secret"),
        lambda: stranger.runs.log(run.run_id, EVERYTHING),
        lambda: stranger.runs.change(run.run_id, RunChange(name="mine")),
        lambda: stranger.runs.delete(run.run_id),
        lambda: stranger.runs.search([run.experiment_id]),
        lambda: stranger.runs.create(NewRun(experiment_id=run.experiment_id)),
        lambda: stranger.experiments.find("churn"),
    ):
        with pytest.raises(NotFound):
            call()
    assert tracker.runs.get(run.run_id) == run


def test_groups_share_and_scopes_limit(tracker: Tracker, open_tracker: Callable[..., Tracker]) -> None:
    experiment = tracker.experiments.create("shared", owner="group:team")
    writer = open_tracker(Principal("ann", frozenset({"team"})))
    reader = open_tracker(Principal("bob", frozenset({"team"}), Scope.READ))
    run = writer.runs.create(NewRun(experiment_id=experiment.experiment_id))
    assert run.user == "ann"
    assert reader.runs.get(run.run_id) == run
    assert reader.runs.search().items == (run,)
    assert reader.runs.active() == ()
    for call in (
        lambda: reader.runs.log(run.run_id, EVERYTHING),
        lambda: reader.runs.change(run.run_id, RunChange(name="x")),
        lambda: reader.runs.heartbeat(run.run_id),
        lambda: reader.runs.delete(run.run_id),
        lambda: reader.runs.comment(run.run_id, "x"),
        lambda: reader.experiments.delete(experiment.experiment_id),
        lambda: reader.experiments.create("mine"),
    ):
        with pytest.raises(PermissionDenied):
            call()
    with pytest.raises(PermissionDenied):
        writer.experiments.create("theirs", owner="group:others")


def test_data_sets_lead_to_their_runs(tracker: Tracker, start: Start) -> None:
    data = Dataset("train", "d1", rows=100)
    first = start(batch=Batch(inputs=(Input(data, "training"),)))
    second = start(batch=Batch(inputs=(Input(data, "testing"), Input(Dataset("other", "d2")))))
    uses = tracker.datasets.uses("d1")
    assert [(use.run_id, use.context, use.dataset) for use in uses] == [
        (second.run_id, "testing", data),
        (first.run_id, "training", data),
    ]
    assert tracker.datasets.uses("none") == ()
    tracker.runs.delete(first.run_id)
    assert [use.run_id for use in tracker.datasets.uses("d1")] == [second.run_id]


def test_the_audit_is_read_backwards_in_pages(tracker: Tracker, start: Start) -> None:
    run = start(name="0")
    for number in range(1, 6):
        tracker.runs.change(run.run_id, RunChange(name=str(number)))
    newest = tracker.audit(limit=2)
    older = tracker.audit(limit=3, before=newest[-1].number)
    names = [entry.detail["to"] for entry in (*newest, *older)]
    assert names == ["5", "4", "3", "2", "1"]
    with pytest.raises(InvalidValue, match="limit"):
        tracker.audit(limit=0)


def test_a_closed_tracker_says_so(open_tracker: Callable[..., Tracker], start: Start) -> None:
    run = start()
    closed = open_tracker()
    closed.runs.log(run.run_id, EVERYTHING)
    closed.close()
    closed.close()
    for call in (lambda: closed.runs.get(run.run_id), lambda: closed.runs.log(run.run_id, EVERYTHING)):
        with pytest.raises(Conflict, match="closed"):
            call()


def test_texts_that_are_none_are_refused_by_name(tracker: Tracker, start: Start) -> None:
    run = start()
    reason = Reason(kind=ReasonKind.ERROR, message="lone \ud800")
    for call, what in (
        (lambda: start(source="a\0b"), "source"),
        (lambda: start(hidden_state="\udcff"), "hidden state"),
        (lambda: tracker.runs.change(run.run_id, RunChange(hidden_state="\0")), "hidden state"),
        (lambda: tracker.runs.change(run.run_id, RunChange(status=RunStatus.FAILED, reason=reason)), "reason"),
        (lambda: tracker.runs.log(run.run_id, Batch(), StreamPosition("a\0", 1)), "stream"),
        (lambda: tracker.runs.log(run.run_id, Batch(), StreamPosition("a", 0)), "stream"),
        (lambda: tracker.runs.delete_tag(run.run_id, "a\0"), "tag"),
    ):
        with pytest.raises(InvalidValue, match=what):
            call()
    assert tracker.runs.get(run.run_id) == run
    # Terminals and programs print such things, so that a reason has to take them.
    odd = Reason(kind=ReasonKind.CELL_ERROR, message="\0 \x1b[0m 🎉", traceback="\0")
    assert tracker.runs.change(run.run_id, RunChange(status=RunStatus.FAILED, reason=odd)).reason == odd


def test_runs_are_compared_with_what_their_files_say(tracker: Tracker, start: Callable[..., Run]) -> None:
    runs = [start(Batch(params=(Param("depth", depth, f"{depth}"), Param("seed", 1, "1")))) for depth in (3, 5)]
    for run, version in zip(runs, ("1.8", "1.9"), strict=True):
        tracker.artifacts.put(
            run.run_id, "environment/requirements.txt", io.BytesIO(f"scikit-learn=={version}".encode())
        )
    comparison = tracker.compare([run.run_id for run in runs])
    assert [run.run_id for run in comparison.runs] == [run.run_id for run in runs]
    assert {(row.group, row.name): row.values for row in comparison.rows if row.differs and row.group != "run"} == {
        ("params", "depth"): (3, 5),
        ("packages", "scikit-learn"): ("1.8", "1.9"),
    }
    with pytest.raises(NotFound):
        tracker.compare([runs[0].run_id, new_id()])
    with pytest.raises(InvalidValue, match="twice"):
        tracker.compare([runs[0].run_id] * 2)


def test_what_is_no_lock_file_is_not_read(
    tracker: Tracker, start: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody who writes to a run may store anything under its name."""
    monkeypatch.setattr(evidence, "LARGEST_LOCK", 100)
    exact, larger, folder = start(), start(), start()
    lines = b"numpy==2.0\n".ljust(100)
    for run, path, content in (
        (exact, LOCK, lines),
        (larger, LOCK, lines + b"\n"),
        (folder, f"{LOCK}/file", lines),
    ):
        tracker.artifacts.put(run.run_id, path, io.BytesIO(content))
    for run, packages in ((exact, ["2.0"]), (larger, []), (folder, [])):
        found = tracker.compare([run.run_id])
        assert [row.values[0] for row in found.rows if row.group == "packages"] == packages


def test_the_code_of_two_runs_notebooks_is_compared(tracker: Tracker, start: Callable[..., Run]) -> None:
    first, second, bare = start(), start(), start()
    for run, code in ((first, "depth = 3"), (second, "depth = 5")):
        cells = [{"cell_type": "code", "source": code, "outputs": [{"output_type": "stream", "text": run.run_id}]}]
        document = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})
        tracker.artifacts.put(run.run_id, "notebook/source.ipynb", io.BytesIO(document.encode()))
    found = tracker.compare_notebooks(first.run_id, second.run_id)
    assert [cell["source"] for cell in found.base["cells"]] == ["depth = 3"]
    assert [(step["op"], step["key"]) for step in found.diff] == [("patch", "cells")]
    assert tracker.compare_notebooks(first.run_id, first.run_id).diff == []
    with pytest.raises(InvalidValue, match=f"{bare.run_id} has no notebook"):
        tracker.compare_notebooks(first.run_id, bare.run_id)
