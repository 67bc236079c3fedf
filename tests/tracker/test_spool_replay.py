"""Spools are applied exactly once and in order, whoever replays them and whoever is killed meanwhile."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from jupyter_mlops.core.errors import Conflict, QuotaExceeded, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.records import (
    Batch,
    Dataset,
    Input,
    Metric,
    ModelPoint,
    NewRun,
    Param,
    RunChange,
    Runner,
    RunStatus,
    Series,
    StreamPosition,
    Tag,
)
from jupyter_mlops.tracker import replay as replay_module
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.deadletters import dead_letters
from jupyter_mlops.tracker.embedded import EmbeddedTracker
from jupyter_mlops.tracker.merging import merged
from jupyter_mlops.tracker.process import this_runner
from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.replay import Replayed, Replayer, replay, replay_folder
from jupyter_mlops.tracker.spool import SpoolWriter
from jupyter_mlops.tracker.spoolfile import Change, Create, Entry, Header, Log, PutArtifact, frame, target_of

MAGIC = b"jupyter-mlops spool\n"


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[EmbeddedTracker]:
    with connect(f"sqlite:///{tmp_path}/mlops.db") as tracker:
        assert isinstance(tracker, EmbeddedTracker)
        yield tracker


@pytest.fixture
def run_id(tracker: Tracker) -> str:
    return tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("spooled").experiment_id)).run_id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def points(run_id: str, *steps: int, key: str = "loss") -> Log:
    return Log(run_id, Batch(metrics=tuple(Metric(key, float(s), 1_700_000_000_000 + s, s) for s in steps)))


def param(run_id: str, key: str, value: Any) -> Log:
    return Log(run_id, Batch(params=(Param(key, value, str(value)),)))


def write(folder: Path, *entries: Entry, **options: Any) -> None:
    writer = SpoolWriter(folder, **options)
    for entry in entries:
        writer.append(entry)
    writer.close()


def steps(tracker: Tracker, run_id: str, key: str = "loss") -> list[int]:
    return [point.step for point in tracker.runs.history(run_id, key).items]


def count(tracker: Tracker, run_id: str, key: str = "loss") -> int:
    """Points of a metric as stored; a history shows a point that was stored twice once."""
    return {metric.key: metric.count for metric in tracker.runs.get(run_id).metrics}[key]


def left(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


class Wrapped:
    """A tracker, some of whose operations on runs go through another function first."""

    def __init__(self, tracker: Tracker, **changed: Any) -> None:
        self._tracker = tracker
        self.runs = WrappedRuns(tracker.runs, changed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracker, name)


class WrappedRuns:
    def __init__(self, runs: Any, changed: dict[str, Any]) -> None:
        self._runs = runs
        self._changed = changed

    def log_and_change(self, *arguments: Any) -> Any:
        return self._changed.get("log_and_change", self._runs.log_and_change)(*arguments)

    def __getattr__(self, name: str) -> Any:
        return self._changed.get(name) or getattr(self._runs, name)


class Separate:
    """A tracker that cannot log and change at once, as one that is far away."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self.runs = SeparateRuns(tracker.runs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracker, name)


class SeparateRuns:
    def __init__(self, runs: Any) -> None:
        self.log, self.change, self.watermark = runs.log, runs.change, runs.watermark


def test_a_run_is_made_filled_and_ended_from_its_spool(tracker: Tracker, folder: Path) -> None:
    run_id = new_id()
    writer = SpoolWriter(folder)
    writer.append(Create(NewRun(experiment_id="", run_id=run_id, name="offline"), "fresh"))
    writer.append(param(run_id, "lr", 0.1))
    writer.append(points(run_id, 0))
    writer.put_file(run_id, "notes/a.txt", lambda target: target.write_text("hello"))
    writer.append(points(run_id, 1, 2))
    writer.append(Change(run_id, RunChange(status=RunStatus.FINISHED)))
    writer.close()
    replayed = replay_folder(folder, tracker)
    run = tracker.runs.get(run_id)
    assert replayed == Replayed(applied=6, changed=run)
    assert (run.name, run.status, run.experiment_id) == (
        "offline",
        RunStatus.FINISHED,
        tracker.experiments.find("fresh").experiment_id,
    )
    assert run.params == (Param("lr", 0.1, "0.1"),)
    assert steps(tracker, run_id) == [0, 1, 2]
    assert b"".join(tracker.artifacts.open(run_id, "notes/a.txt")) == b"hello"
    assert left(folder) == []


def test_a_child_run_is_made_in_its_parents_experiment(tracker: Tracker, run_id: str, folder: Path) -> None:
    child = new_id()
    write(folder, Create(NewRun(experiment_id="", run_id=child, parent_run_id=run_id)))
    replay_folder(folder, tracker)
    assert tracker.runs.get(child).experiment_id == tracker.runs.get(run_id).experiment_id


def test_the_file_of_a_living_writer_is_kept_and_read_on(tracker: Tracker, run_id: str, folder: Path) -> None:
    writer = SpoolWriter(folder)
    replayer = Replayer(folder)
    for step in range(5):
        writer.append(points(run_id, step))
        assert replayer.run(tracker).applied == 1
        assert replayer.run(tracker).applied == 0
        assert replay_folder(folder, tracker).applied == 0
    assert count(tracker, run_id) == 5
    writer.close()
    replayer.run(tracker)
    assert left(folder) == []


def test_a_store_is_asked_how_far_it_is_only_when_somebody_else_may_have_sent_something(
    tracker: Tracker, run_id: str, folder: Path
) -> None:
    asked: list[str] = []

    def watermark(stream: str) -> int:
        asked.append(stream)
        return tracker.runs.watermark(stream)

    counting: Any = Wrapped(tracker, watermark=watermark)
    writer, replayer = SpoolWriter(folder), Replayer(folder)
    for step in range(3):
        writer.append(points(run_id, step))
        assert replayer.run(counting).applied == 1
    # It is this process's stream, and nobody had noted that he sends some of it.
    assert not asked

    writer.append(points(run_id, 3))
    assert replay_folder(folder, tracker).applied == 1
    writer.append(points(run_id, 4))
    assert replayer.run(counting).applied == 1
    assert len(asked) == 1
    assert count(tracker, run_id) == 5
    writer.close()


def test_many_small_entries_become_few_writes(tracker: Tracker, run_id: str, folder: Path) -> None:
    sent: list[int] = []

    def log(run: str, batch: Batch, position: StreamPosition) -> None:
        sent.append(len(batch.metrics))
        tracker.runs.log(run, batch, position)

    write(folder, *(points(run_id, step) for step in range(1000)))
    assert replay_folder(folder, Wrapped(tracker, log=log)).applied == 1000  # type: ignore[arg-type]
    assert sent == [1000]
    assert steps(tracker, run_id) == list(range(1000))


def test_merged_entries_do_what_they_would_do_one_by_one(tracker: Tracker, run_id: str, folder: Path) -> None:
    write(
        folder,
        Log(run_id, Batch(tags=(Tag("phase", "first"), Tag("kept", "x")))),
        param(run_id, "lr", 0.1),
        param(run_id, "lr", 0.1),
        Log(run_id, Batch(tags=(Tag("phase", "last"),))),
    )
    assert replay_folder(folder, tracker) == Replayed(applied=4)
    run = tracker.runs.get(run_id)
    assert {tag.key: tag.value for tag in run.tags}.items() >= {("phase", "last"), ("kept", "x")}
    assert len(run.params) == 1


def test_a_merged_batch_leaves_out_nothing_that_a_batch_can_have() -> None:
    metric, dataset = Metric("loss", 0.5, 1_700_000_000_000, 1), Dataset("wine", "d" * 8)
    batch = Batch(
        metrics=(metric,),
        params=(Param("lr", 0.1, "0.1"),),
        tags=(Tag("a", "b"),),
        inputs=(Input(dataset, "training"),),
        series=(Series("auc", bytes(8), bytes(8), bytes(8)),),
        model_points=(ModelPoint(new_id(), metric),),
    )
    assert all(getattr(batch, name) for name in Batch.__struct_fields__)
    assert merged([batch]) == batch


def test_what_is_refused_goes_to_the_dead_letters_and_blocks_nothing(
    tracker: Tracker, run_id: str, folder: Path
) -> None:
    write(
        folder,
        param(run_id, "lr", 0.1),
        points(run_id, 0),
        param(run_id, "lr", 0.2),
        points(run_id, 1),
        points(new_id(), 0),
        points(run_id, 2),
    )
    result = replay_folder(folder, tracker)
    assert (result.applied, result.refused) == (4, 2)
    assert "lr" in result.refusal
    assert steps(tracker, run_id) == [0, 1, 2]
    ((first, second),) = dead_letters(folder).values()
    assert (first.number, second.number) == (3, 5)
    assert "InvalidValue" in first.error
    assert "NotFound" in second.error
    assert first.entry["batch"]["params"][0]["value"] == 0.2
    assert msgspec.msgpack.decode(first.payload, type=Entry) == param(run_id, "lr", 0.2)
    assert left(folder) == [".dead"]


def test_a_refused_last_entry_is_not_tried_again(tracker: Tracker, run_id: str, folder: Path) -> None:
    writer = SpoolWriter(folder)
    writer.append(param(run_id, "lr", 0.1))
    writer.append(param(run_id, "lr", 0.2))
    assert replay_folder(folder, tracker).refused == 1
    assert replay_folder(folder, tracker).refused == 0
    writer.close()
    replay_folder(folder, tracker)
    ((letter,),) = dead_letters(folder).values()
    assert letter.number == 2


def test_the_copy_of_a_refused_file_is_kept(tracker: Tracker, folder: Path) -> None:
    writer = SpoolWriter(folder)
    writer.put_file(new_id(), "model.bin", lambda target: target.write_bytes(b"precious"))
    writer.close()
    assert replay_folder(folder, tracker).refused == 1
    ((letter,),) = dead_letters(folder).values()
    assert (folder / letter.entry["file"]).read_bytes() == b"precious"


def test_a_lost_copy_is_refused_by_name(tracker: Tracker, run_id: str, folder: Path) -> None:
    write(folder, PutArtifact(run_id, "a.txt", "gone.file"), points(run_id, 0))
    result = replay_folder(folder, tracker)
    assert (result.applied, result.refused) == (1, 1)
    assert "'a.txt'" in result.refusal


def test_small_files_travel_in_the_spool_itself_and_are_stored_with_others(
    tracker: Tracker, run_id: str, folder: Path
) -> None:
    writer = SpoolWriter(folder)
    writer.put_content(run_id, "a.txt", b"first")
    writer.put_file(run_id, "b.txt", lambda staged: staged.write_bytes(b"copied"))
    writer.put_content(run_id, "empty.txt", b"")
    writer.put_content(run_id, "a.txt", b"second")
    writer.close()
    assert len(left(folder)) == 2, "the spool, and the copy of one file"
    assert replay_folder(folder, tracker).applied == 4
    found = {file.path: b"".join(tracker.artifacts.open(run_id, file.path)) for file in tracker.artifacts.walk(run_id)}
    assert found == {"a.txt": b"second", "b.txt": b"copied", "empty.txt": b""}
    assert left(folder) == []


def test_a_small_file_that_is_refused_is_kept_with_its_content(tracker: Tracker, folder: Path) -> None:
    writer = SpoolWriter(folder)
    writer.put_content(new_id(), "notes.txt", b"precious")
    writer.close()
    assert replay_folder(folder, tracker).refused == 1
    ((letter,),) = dead_letters(folder).values()
    assert b"precious" in letter.payload


def test_copies_that_were_never_announced_are_removed_with_the_stream(
    tracker: Tracker, run_id: str, folder: Path
) -> None:
    """The writer was killed between the copy and its entry."""
    writer = SpoolWriter(folder)
    writer.append(points(run_id, 0))
    (folder / f"{writer.stream}.{new_id()}.file").write_bytes(b"half")
    writer.close()
    replay_folder(folder, tracker)
    assert left(folder) == []


def test_an_unavailable_tracker_loses_nothing(tracker: Tracker, run_id: str, folder: Path) -> None:
    def refuse(*_: Any) -> None:
        raise Unavailable("the database does not answer")

    write(folder, points(run_id, 0), points(run_id, 1))
    replayer = Replayer(folder)
    with pytest.raises(Unavailable):
        replayer.run(Wrapped(tracker, log=refuse))  # type: ignore[arg-type]
    assert replayer.run(tracker).applied == 2
    assert count(tracker, run_id) == 2


def test_a_lost_answer_does_not_apply_twice(tracker: Tracker, run_id: str, folder: Path) -> None:
    def log(run: str, batch: Batch, position: StreamPosition) -> None:
        tracker.runs.log(run, batch, position)
        raise Unavailable("the answer was lost")

    writer = SpoolWriter(folder)
    writer.append(points(run_id, 0))
    replayer = Replayer(folder)
    with pytest.raises(Unavailable):
        replayer.run(Wrapped(tracker, log=log))  # type: ignore[arg-type]
    writer.append(points(run_id, 1))
    replayer.run(tracker)
    writer.close()
    assert count(tracker, run_id) == 2


def test_a_write_that_arrives_late_does_not_apply_twice(tracker: Tracker, run_id: str, folder: Path) -> None:
    """The first sender gave up (or was killed), but its write still is on its way, and lands after the next one has
    asked for the watermark."""
    on_the_way: list[tuple[str, Batch, StreamPosition]] = []

    def give_up(*call: Any) -> None:
        on_the_way.append(call)
        raise Unavailable("no answer in time")

    def watermark(stream: str) -> int:
        before = tracker.runs.watermark(stream)
        tracker.runs.log(*on_the_way[0])
        return before

    writer = SpoolWriter(folder)
    writer.append(points(run_id, 0))
    writer.append(points(run_id, 1))
    with pytest.raises(Unavailable):
        replay_folder(folder, Wrapped(tracker, log=give_up))  # type: ignore[arg-type]
    writer.append(points(run_id, 2))
    writer.close()
    replay_folder(folder, Wrapped(tracker, watermark=watermark))  # type: ignore[arg-type]
    assert steps(tracker, run_id) == [0, 1, 2]
    assert count(tracker, run_id) == 3
    assert left(folder) == []


@contextlib.contextmanager
def transactions(tracker: EmbeddedTracker) -> Iterator[list[str]]:
    """Grows by one with each transaction that writes."""
    found: list[str] = []

    def commits(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("mlops_writes"):
            found.append("written")

    sa.event.listen(tracker.database.engine, "commit", commits)
    try:
        yield found
    finally:
        sa.event.remove(tracker.database.engine, "commit", commits)


def ended(run_id: str, status: RunStatus = RunStatus.FINISHED, **more: Any) -> Change:
    return Change(run_id, RunChange(status=status, **more))


def test_what_is_logged_last_is_written_with_the_end(tracker: EmbeddedTracker, run_id: str, folder: Path) -> None:
    writer = SpoolWriter(folder)
    for entry in (points(run_id, 0), param(run_id, "lr", 0.1), points(run_id, 1), ended(run_id)):
        writer.append(entry)
    with transactions(tracker) as written:
        assert replay_folder(folder, tracker).applied == 4
    assert len(written) == 1
    assert tracker.runs.watermark(writer.stream) == 4
    run = tracker.runs.get(run_id)
    assert (run.status, [found.key for found in run.params]) == (RunStatus.FINISHED, ["lr"])
    assert (steps(tracker, run_id), count(tracker, run_id)) == ([0, 1], 2)
    writer.close()


def test_a_replay_that_ends_with_a_change_gives_the_run_as_it_is_then(
    tracker: EmbeddedTracker, run_id: str, folder: Path
) -> None:
    write(folder, points(run_id, 0), ended(run_id), ended(run_id, name="again"))
    assert replay_folder(folder, Separate(tracker)).changed == tracker.runs.get(run_id)  # type: ignore[arg-type]
    write(folder, points(run_id, 1), ended(run_id))
    assert replay_folder(folder, tracker).changed == tracker.runs.get(run_id)
    assert replay_folder(folder, tracker).changed is None
    write(folder, ended(run_id), points(run_id, 2))
    assert replay_folder(folder, tracker).changed is None
    write(folder, ended(run_id))
    write(folder, points(run_id, 3))
    assert replay_folder(folder, tracker).changed is None


def test_what_is_told_of_losses_comes_after_the_change_that_a_replay_ends_with(
    tracker: Tracker, run_id: str, folder: Path
) -> None:
    writer = SpoolWriter(folder)
    writer.append(ended(run_id))
    writer.losses.add({run_id: 3})
    writer.close()
    assert replay_folder(folder, tracker) == Replayed(applied=1)
    assert [(tag.key, tag.value) for tag in tracker.runs.get(run_id).tags] == [("mlops.dropped", "3")]


def test_a_change_goes_with_what_was_logged_to_its_own_run_just_before(
    tracker: EmbeddedTracker, run_id: str, folder: Path
) -> None:
    other = tracker.runs.create(NewRun(experiment_id=tracker.runs.get(run_id).experiment_id)).run_id
    write(folder, points(run_id, 0), ended(other), ended(run_id), points(run_id, 1), points(run_id, 2))
    with transactions(tracker) as written:
        assert replay_folder(folder, tracker).applied == 5
    assert len(written) == 4
    assert [tracker.runs.get(each).status for each in (run_id, other)] == [RunStatus.FINISHED] * 2
    assert steps(tracker, run_id) == [0, 1, 2]


def test_who_cannot_log_and_change_at_once_does_both(tracker: Tracker, run_id: str, folder: Path) -> None:
    write(folder, points(run_id, 0), ended(run_id))
    assert replay_folder(folder, Separate(tracker)).applied == 2  # type: ignore[arg-type]
    assert (tracker.runs.get(run_id).status, steps(tracker, run_id)) == (RunStatus.FINISHED, [0])


def test_what_is_refused_of_the_last_values_does_not_cost_the_end(tracker: Tracker, run_id: str, folder: Path) -> None:
    write(folder, param(run_id, "lr", 0.1), points(run_id, 0), param(run_id, "lr", 0.2), ended(run_id))
    result = replay_folder(folder, tracker)
    assert (result.applied, result.refused) == (3, 1)
    ((letter,),) = dead_letters(folder).values()
    assert letter.number == 3
    assert (tracker.runs.get(run_id).status, count(tracker, run_id)) == (RunStatus.FINISHED, 1)


def test_a_change_that_is_refused_does_not_cost_the_last_values(tracker: Tracker, run_id: str, folder: Path) -> None:
    write(folder, points(run_id, 0), points(run_id, 1), ended(run_id, name="\0"))
    result = replay_folder(folder, tracker)
    assert (result.applied, result.refused) == (2, 1)
    ((letter,),) = dead_letters(folder).values()
    assert letter.number == 3
    assert (tracker.runs.get(run_id).status, count(tracker, run_id)) == (RunStatus.RUNNING, 2)


def test_last_values_that_have_no_room_hold_up_the_end_behind_them(tracker: Tracker, run_id: str, folder: Path) -> None:
    owner = tracker.experiments.get(tracker.runs.get(run_id).experiment_id).owner
    write(folder, points(run_id, 0), ended(run_id))
    tracker.quotas.set(owner, Quota(points=0))
    for _ in range(2):
        with pytest.raises(QuotaExceeded):
            replay_folder(folder, tracker)
        assert tracker.runs.get(run_id).status is RunStatus.RUNNING
    tracker.quotas.set(owner, None)
    assert replay_folder(folder, tracker).applied == 2
    assert (tracker.runs.get(run_id).status, count(tracker, run_id)) == (RunStatus.FINISHED, 1)


def test_a_change_that_has_no_room_does_not_hold_up_what_was_logged_before(
    tracker: Tracker, run_id: str, folder: Path
) -> None:
    experiment = tracker.experiments.get(tracker.runs.get(run_id).experiment_id)
    new = NewRun(experiment_id=experiment.experiment_id, status=RunStatus.SCHEDULED)
    waits = tracker.runs.create(new).run_id
    tracker.quotas.set(experiment.owner, Quota(running=1))
    write(folder, points(waits, 0), ended(waits, RunStatus.RUNNING))
    with pytest.raises(QuotaExceeded):
        replay_folder(folder, tracker)
    assert (tracker.runs.get(waits).status, count(tracker, waits)) == (RunStatus.SCHEDULED, 1)
    tracker.quotas.set(experiment.owner, None)
    assert replay_folder(folder, tracker).applied == 1
    assert (tracker.runs.get(waits).status, count(tracker, waits)) == (RunStatus.RUNNING, 1)


def test_values_and_a_change_whose_answer_was_lost_are_not_applied_twice(
    tracker: EmbeddedTracker, run_id: str, folder: Path
) -> None:
    def log_and_change(*arguments: Any) -> None:
        tracker.runs.log_and_change(*arguments)
        raise Unavailable("the answer was lost")

    writer = SpoolWriter(folder)
    writer.append(points(run_id, 0))
    writer.append(Change(run_id, RunChange(hidden_state="a")))
    replayer = Replayer(folder)
    with pytest.raises(Unavailable):
        replayer.run(Wrapped(tracker, log_and_change=log_and_change))  # type: ignore[arg-type]
    tracker.runs.change(run_id, RunChange(hidden_state="b"))
    writer.append(points(run_id, 1))
    writer.append(ended(run_id))
    writer.close()
    assert replayer.run(tracker).applied == 2
    run = tracker.runs.get(run_id)
    assert (run.status, run.hidden_state, count(tracker, run_id)) == (RunStatus.FINISHED, "b", 2)


@pytest.mark.parametrize("first", [1, 2])
def test_values_that_arrive_late_are_not_applied_again_with_a_change(
    tracker: EmbeddedTracker, run_id: str, folder: Path, first: int
) -> None:
    """What was sent, the values or the change with them, ends where it ended before when it is sent again."""
    on_the_way: list[Callable[[], object]] = []

    def giving_up(write: Callable[..., object]) -> Callable[..., object]:
        def give_up(*call: Any) -> None:
            on_the_way.append(lambda: write(*call))
            raise Unavailable("no answer in time")

        return give_up

    def watermark(stream: str) -> int:
        before = tracker.runs.watermark(stream)
        on_the_way[0]()
        return before

    entries = [points(run_id, 0), ended(run_id), points(run_id, 1), Change(run_id, RunChange(name="late"))]
    writer = SpoolWriter(folder)
    for entry in entries[:first]:
        writer.append(entry)
    lost = Wrapped(tracker, log=giving_up(tracker.runs.log), log_and_change=giving_up(tracker.runs.log_and_change))
    with pytest.raises(Unavailable):
        replay_folder(folder, lost)  # type: ignore[arg-type]
    for entry in entries[first:]:
        writer.append(entry)
    writer.close()
    replay_folder(folder, Wrapped(tracker, watermark=watermark))  # type: ignore[arg-type]
    run = tracker.runs.get(run_id)
    assert (run.status, run.name, count(tracker, run_id)) == (RunStatus.FINISHED, "late", 2)
    assert left(folder) == []


def test_files_of_one_process_are_applied_in_order_and_removed_while_it_lives(tracker: Tracker, folder: Path) -> None:
    run_id = new_id()
    writer = SpoolWriter(folder, segment_bytes=500)
    writer.append(Create(NewRun(experiment_id="", run_id=run_id), "rotated"))
    for step in range(50):
        writer.append(points(run_id, step))
    assert len(list(folder.glob("*.spool"))) > 5
    assert replay_folder(folder, tracker) == Replayed(applied=51)
    assert steps(tracker, run_id) == list(range(50))
    assert [path.name for path in folder.glob("*.spool")] == [f"{writer.stream}.spool"]
    writer.close()


def test_what_found_no_room_is_counted_in_the_run(tracker: Tracker, run_id: str, folder: Path) -> None:
    from jupyter_mlops.core.errors import StorageFull

    writer = SpoolWriter(folder, max_bytes=4000)
    dropped = 0
    for step in range(200):
        try:
            writer.append(points(run_id, step))
        except StorageFull:
            dropped += 1
    writer.close()
    replay_folder(folder, tracker)
    tags = {tag.key: tag.value for tag in tracker.runs.get(run_id).tags}
    assert tags["mlops.dropped"] == str(dropped)
    assert count(tracker, run_id) == 200 - dropped


def test_spools_for_other_trackers_and_sessions_are_left_alone(tracker: Tracker, run_id: str, folder: Path) -> None:
    write(folder, points(run_id, 0), target="postgresql://elsewhere/x")
    write(folder, points(run_id, 1), target=target_of(tracker.url), session="mine")
    write(folder, points(run_id, 2), target=target_of(tracker.url), session="other")
    assert Replayer(folder, session="mine").run(tracker).applied == 1
    assert steps(tracker, run_id) == [1]
    replay_folder(folder, tracker)
    assert sorted(steps(tracker, run_id)) == [1, 2]
    assert len(list(folder.glob("*.spool"))) == 1


def foreign(
    folder: Path, writer: Runner, *entries: Entry, version: int = 1, tail: bytes = b"", stream: str | None = None
) -> Path:
    """A spool as another process would have left it."""
    stream = stream or new_id()
    folder.mkdir(exist_ok=True)
    path = folder / f"{stream}.spool"
    head = Header(version, stream, "s", time.time_ns(), "", writer)
    path.write_bytes(MAGIC + b"".join(frame(msgspec.msgpack.encode(item)) for item in (head, *entries)) + tail)
    return path


def gone() -> Runner:
    return msgspec.structs.replace(this_runner(), started=1.0)


def test_the_spool_of_a_dead_writer_is_applied_and_removed(tracker: Tracker, run_id: str, folder: Path) -> None:
    foreign(folder, gone(), points(run_id, 0), points(run_id, 1))
    assert replay_folder(folder, tracker).applied == 2
    assert left(folder) == []


def test_a_stream_whose_note_of_what_was_sent_is_lost_is_not_applied_again(
    tracker: Tracker, run_id: str, folder: Path
) -> None:
    """As when the machine went down: with one more entry, which would make it another write."""
    path = foreign(folder, gone(), points(run_id, 0))
    assert replay_folder(folder, tracker).applied == 1
    foreign(folder, gone(), points(run_id, 0), points(run_id, 1), stream=path.stem)
    assert replay_folder(folder, tracker).applied == 1
    assert steps(tracker, run_id) == [0, 1]
    assert count(tracker, run_id) == 2


def test_a_writer_on_another_host_may_still_live(tracker: Tracker, run_id: str, folder: Path) -> None:
    foreign(folder, msgspec.structs.replace(gone(), host="elsewhere"), points(run_id, 0))
    assert replay_folder(folder, tracker).applied == 1
    assert ".spool" in left(folder)


@pytest.mark.parametrize("tail", [b"\x05", b"\x50\0\0\0abcdhalf"])
def test_a_half_written_record_of_a_dead_writer_is_forgotten(
    tracker: Tracker, run_id: str, folder: Path, tail: bytes
) -> None:
    foreign(folder, gone(), points(run_id, 0), tail=tail)
    assert replay_folder(folder, tracker).applied == 1
    assert left(folder) == []


def test_a_damaged_file_is_kept_for_inspection(tracker: Tracker, run_id: str, folder: Path) -> None:
    foreign(folder, gone(), points(run_id, 0), tail=bytes(100))
    assert replay_folder(folder, tracker).applied == 1
    assert left(folder) == [".damaged"]


def test_a_newer_format_is_said_and_others_are_applied(tracker: Tracker, run_id: str, folder: Path) -> None:
    path = foreign(folder, gone(), points(run_id, 0), version=2)
    foreign(folder, gone(), points(run_id, 1))
    with pytest.raises(Unavailable, match="format 2"):
        replay_folder(folder, tracker)
    assert steps(tracker, run_id) == [1]
    assert path.exists()


def test_who_has_no_room_holds_up_nobody_else(tracker: Tracker, run_id: str, folder: Path) -> None:
    theirs = tracker.experiments.create("theirs", owner="group:full").experiment_id
    full = tracker.runs.create(NewRun(experiment_id=theirs)).run_id
    tracker.quotas.set("group:full", Quota(points=0))
    foreign(folder, gone(), points(full, 0))
    foreign(folder, gone(), points(run_id, 1))
    for _ in range(2):
        with pytest.raises(QuotaExceeded, match="'group:full'"):
            replay_folder(folder, tracker)
        assert steps(tracker, run_id) == [1]
    assert left(folder) == [".sent", ".spool"]
    tracker.quotas.set("group:full", None)
    assert replay_folder(folder, tracker).applied == 1
    assert steps(tracker, full) == [0]


def test_a_file_that_cannot_be_read_is_said_and_others_are_applied(tracker: Tracker, run_id: str, folder: Path) -> None:
    foreign(folder, gone(), points(run_id, 1))
    (folder / f"{new_id()}.spool").mkdir()
    with pytest.raises(Unavailable, match="cannot read the spool"):
        replay_folder(folder, tracker)
    assert steps(tracker, run_id) == [1]


def test_a_stream_whose_position_cannot_be_kept_waits_and_others_are_applied(
    tracker: Tracker, run_id: str, folder: Path
) -> None:
    foreign(folder, gone(), points(run_id, 0))
    (first,) = folder.glob("*.spool")
    first.with_suffix(".sent").mkdir()
    foreign(folder, gone(), points(run_id, 1))
    with pytest.raises(Unavailable, match="cannot replay the spool"):
        replay_folder(folder, tracker)
    assert steps(tracker, run_id) == [1]
    first.with_suffix(".sent").rmdir()
    replay_folder(folder, tracker)
    assert sorted(steps(tracker, run_id)) == [0, 1]


def test_an_unknown_kind_of_entry_is_a_dead_letter(tracker: Tracker, run_id: str, folder: Path) -> None:
    strange = {"type": "hologram", "run_id": run_id}
    foreign(folder, gone(), strange, points(run_id, 0))  # type: ignore[arg-type]
    result = replay_folder(folder, tracker)
    assert (result.applied, result.refused) == (1, 1)


def test_a_file_without_a_header_is_not_yet_a_spool(tracker: Tracker, folder: Path) -> None:
    import os

    folder.mkdir()
    path = folder / f"{new_id()}.spool"
    path.write_bytes(MAGIC[:5])
    assert replay_folder(folder, tracker) == Replayed()
    assert path.exists()
    os.utime(path, (1, 1))
    replay_folder(folder, tracker)
    assert not path.exists()


def test_replaying_nothing_is_fine(tracker: Tracker, folder: Path) -> None:
    assert replay_folder(folder, tracker) == Replayed()
    assert replay(folder / "none.spool", tracker) == Replayed()


def test_a_child_that_is_forked_meanwhile_holds_up_nothing(tracker: Tracker, folder: Path, run_id: str) -> None:
    """It has the descriptor by which its parent locked the stream, for as long as it lives."""
    end, kept = os.pipe()
    children: list[int] = []

    def log(*arguments: Any) -> None:
        if not children:
            child = os.fork()
            if not child:
                os.close(kept)
                os.read(end, 1)
                os._exit(0)
            children.append(child)
        tracker.runs.log(*arguments)

    writer, replayer = SpoolWriter(folder), Replayer(folder)
    try:
        writer.append(points(run_id, 0))
        assert replayer.run(Wrapped(tracker, log=log)).applied == 1  # type: ignore[arg-type]
        writer.append(points(run_id, 1))
        again = threading.Thread(target=replayer.run, args=(tracker,), daemon=True)
        again.start()
        again.join(20)
        assert not again.is_alive()
    finally:
        os.close(kept)
        os.close(end)
        for child in children:
            os.waitpid(child, 0)
    writer.close()
    assert steps(tracker, run_id) == [0, 1]


def test_a_stream_that_a_stopped_process_replays_holds_up_no_other(
    tracker: Tracker, folder: Path, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_module, "_SHORT_PATIENCE_SECONDS", 0.05)
    write(folder, points(run_id, 0))
    (stream,) = folder.glob("*.spool")
    write(folder, points(run_id, 1))
    errors: list[Unavailable] = []

    def replay_all() -> None:
        try:
            replay_folder(folder, tracker)
        except Unavailable as error:
            errors.append(error)

    with stream.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        thread = threading.Thread(target=replay_all, daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
    assert [str(stream) in str(error) for error in errors] == [True]
    assert steps(tracker, run_id) == [1]
    replay_folder(folder, tracker)
    assert sorted(steps(tracker, run_id)) == [0, 1]


def test_what_is_replayed_when_the_tracker_is_closed_is_kept(tracker: Tracker, folder: Path, run_id: str) -> None:
    """As by a server that ends while it stores what others left."""
    other = tracker.runs.create(NewRun(experiment_id=tracker.runs.get(run_id).experiment_id)).run_id
    write(folder, *alternating([run_id, other], 6))
    sent = 0

    def log(*arguments: Any) -> None:
        nonlocal sent
        sent += 1
        if sent == 3:
            tracker.close()
        tracker.runs.log(*arguments)

    with pytest.raises(Conflict, match="closed"):
        replay_folder(folder, Wrapped(tracker, log=log))  # type: ignore[arg-type]
    with connect(tracker.url) as opened:
        assert replay_folder(folder, opened) == Replayed(applied=4)
        assert [steps(opened, each) for each in (run_id, other)] == [[0, 2, 4], [1, 3, 5]]
    assert left(folder) == []


def test_a_folder_that_cannot_be_listed_is_unavailable(
    tracker: Tracker, folder: Path, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a process has too many files open: who replays again and again must not end by it."""
    write(folder, points(run_id, 0))

    def scandir(_: Path) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        with pytest.raises(Unavailable, match="Too many open files"):
            replay_folder(folder, tracker)
    replay_folder(folder, tracker)
    assert steps(tracker, run_id) == [0]


REPLAY = """
    import sys
    from pathlib import Path
    from jupyter_mlops.tracker.connect import connect
    from jupyter_mlops.tracker.replay import replay_folder
    with connect(sys.argv[1]) as tracker:
        print("ready", flush=True)
        sys.stdin.readline()
        replay_folder(Path(sys.argv[2]), tracker)
"""


def replaying(tracker: Tracker, folder: Path) -> subprocess.Popen[str]:
    """Another process, about to replay when it gets a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(REPLAY), tracker.url, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def alternating(runs: list[str], number: int) -> list[Entry]:
    """Entries that cannot be merged."""
    return [points(runs[step % 2], step) for step in range(number)]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import sqlalchemy as sa
    from jupyter_mlops.store.groupcommit import Call
    from jupyter_mlops.tracker.connect import connect
    from jupyter_mlops.tracker.replay import replay_folder

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    with connect(sys.argv[1]) as tracker:
        if sys.argv[3] == "before":
            sa.event.listen(tracker.database.engine, "commit", die)
        else:
            Call.finish = die
        replay_folder(Path(sys.argv[2]), tracker)
"""


@pytest.mark.parametrize(("when", "stored"), [("before", 0), ("after", 3)])
def test_who_is_killed_around_the_commit_of_an_end_leaves_it_to_be_stored_once(
    tracker: Tracker, run_id: str, folder: Path, when: str, stored: int
) -> None:
    writer = SpoolWriter(folder)
    for entry in (points(run_id, 0), points(run_id, 1), ended(run_id)):
        writer.append(entry)
    writer.close()
    command = [sys.executable, "-c", textwrap.dedent(KILLED), tracker.url, str(folder), when]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
    assert tracker.runs.watermark(writer.stream) == stored
    assert replay_folder(folder, tracker).applied == 3 - stored
    assert (tracker.runs.get(run_id).status, count(tracker, run_id)) == (RunStatus.FINISHED, 2)
    assert left(folder) == []


@pytest.mark.slow
def test_replayers_at_once_apply_everything_once(tracker: Tracker, folder: Path) -> None:
    experiment = tracker.experiments.ensure("raced").experiment_id
    runs = [tracker.runs.create(NewRun(experiment_id=experiment)).run_id for _ in range(2)]
    for _ in range(3):
        write(folder, *alternating(runs, 100))
    processes = [replaying(tracker, folder) for _ in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert [count(tracker, run_id) for run_id in runs] == [150, 150]
    assert left(folder) == []


@pytest.mark.slow
def test_killing_replayers_applies_everything_once(tracker: Tracker, folder: Path) -> None:
    experiment = tracker.experiments.ensure("killed").experiment_id
    runs = [tracker.runs.create(NewRun(experiment_id=experiment)).run_id for _ in range(2)]
    write(folder, *alternating(runs, 400))
    stream = next(folder.glob("*.spool")).stem
    for kill_at in (20, 150, 300):
        with replaying(tracker, folder) as process:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            deadline = time.monotonic() + 60
            while tracker.runs.watermark(stream) < kill_at and process.poll() is None:
                assert time.monotonic() < deadline
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert tracker.runs.watermark(stream) >= kill_at
    replay_folder(folder, tracker)
    assert [count(tracker, run_id) for run_id in runs] == [200, 200]
    assert [steps(tracker, run_id) for run_id in runs] == [list(range(0, 400, 2)), list(range(1, 400, 2))]
    assert left(folder) == []
