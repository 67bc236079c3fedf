"""Quotas: what is counted is what there is, what finds no room leaves nothing, and no room is given twice."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.errors import InvalidValue, NotFound, PermissionDenied, QuotaExceeded, TooLarge
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.quotas import EVERY_GROUP, EVERY_USER, Quota, Standing, Usage
from jupyter_mlops.core.records import Batch, Experiment, Metric, NewRun, Run, RunChange, RunStatus, Tag
from jupyter_mlops.store import schema
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.schema_limits import usage
from jupyter_mlops.tracker.protocol import Tracker
from tests.contract.conftest import Opener
from tests.together import together

RED = Principal("ada", frozenset({"red"}))
Start = Callable[..., Run]


def put(tracker: Tracker, run: Run, path: str, size: int) -> None:
    tracker.artifacts.put(run.run_id, path, io.BytesIO(bytes(size)))


def points(count: int, start: int = 0) -> Batch:
    return Batch(metrics=tuple(Metric("loss", 0.5, step, step) for step in range(start, start + count)))


def used(tracker: Tracker, owner: str) -> Usage:
    """Without how many runs there are at once, which :func:`test_only_so_many_begin_at_once` is about."""
    (found,) = tracker.quotas.standing(owner)
    return msgspec.structs.replace(found.usage, running=0)


def begin(tracker: Tracker, name: str = "churn", owner: str | None = None) -> Run:
    experiment = tracker.experiments.create(name, owner=owner)
    return tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))


def test_what_there_is_is_counted_wherever_it_goes(tracker: Tracker, open_tracker: Opener, tmp_path: Path) -> None:
    ada = open_tracker(RED)
    run = begin(ada)
    assert used(ada, "group:red") == Usage(runs=1)
    ada.runs.log(run.run_id, points(100))
    ada.runs.log(run.run_id, points(100))
    put(ada, run, "a", 10)
    put(ada, run, "a", 30)
    put(ada, run, "copy", 30)
    (tmp_path / "MLmodel").write_bytes(b"flavors: {python_function: {}}")
    ada.artifacts.put_folder(run.run_id, tmp_path, "model")
    assert used(ada, "group:red") == Usage(runs=1, points=200, bytes=90)
    upload = new_id()
    ada.artifacts.put_part(run.run_id, upload, "big", 0, io.BytesIO(b"x" * 5))
    digest = ada.artifacts.put_part(run.run_id, upload, "big", 0, io.BytesIO(b"x" * 5)).digest
    assert used(ada, "group:red").bytes == 95
    ada.artifacts.commit(run.run_id, upload, {"big": digest})
    assert used(ada, "group:red").bytes == 95
    ada.artifacts.delete(run.run_id, "big")
    ada.models.register("churn", run.run_id, "model")
    ada.models.refer("churn", "models:/churn/1")
    ada.models.refer("churn", "s3://elsewhere")
    assert used(ada, "group:red") == Usage(runs=1, points=200, bytes=150)
    # They go along with what is handed over.
    ada.experiments.transfer(run.experiment_id, "group:blue")
    assert [used(tracker, "group:red"), used(tracker, "group:blue")] == [
        Usage(bytes=60),
        Usage(runs=1, points=200, bytes=90),
    ]
    ada.models.delete_version("churn", 2)
    assert used(tracker, "group:red") == Usage(bytes=30)
    ada.models.delete("churn")
    assert used(tracker, "group:red") == Usage()
    # What is deleted counts for as long as it is there.
    tracker.runs.delete(run.run_id)
    assert used(tracker, "group:blue").bytes == 90
    tracker.gc()
    assert used(tracker, "group:blue") == Usage()
    assert tracker.quotas.recount() == 0


def test_nobody_is_given_more_than_they_may_have(tracker: Tracker, open_tracker: Opener) -> None:
    """Else who is at a limit would hand over, share and go on, and fill what others may have."""
    ada = open_tracker(RED)
    run = begin(ada)
    ada.artifacts.put(run.run_id, "model/MLmodel", io.BytesIO(b"flavors: {python_function: {}}".ljust(600)))
    ada.models.register("churn", run.run_id, "model")
    tracker.quotas.set("bo", Quota(bytes=1000))
    tracker.models.transfer("churn", "bo")
    assert "the quota of 'bo' for files is 1 kB, of which 600 B are used" in refusal(
        lambda: ada.experiments.transfer(run.experiment_id, "bo")
    )
    assert ada.experiments.get(run.experiment_id).owner == "group:red"
    tracker.models.transfer("churn", "group:red")
    tracker.quotas.set("bo", Quota(runs=0, bytes=599))
    refusal(lambda: tracker.models.transfer("churn", "bo"))
    refusal(lambda: ada.experiments.transfer(run.experiment_id, "bo"))
    assert used(tracker, "bo") == Usage()
    # What is empty has room anywhere.
    ada.experiments.transfer(ada.experiments.create("empty").experiment_id, "bo")


def test_counters_are_found_again(
    tracker: Tracker, experiment: Experiment, start: Start, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each in a transaction of its own, as if they were large.
    monkeypatch.setattr("jupyter_mlops.store.usage._RUNS_AT_ONCE", 0)
    tracker.experiments.create("other", owner=experiment.owner)
    run = start(points(7))
    put(tracker, run, "model/MLmodel", 0)
    put(tracker, run, "a", 11)
    before = used(tracker, experiment.owner)
    with database.write() as connection:
        connection.execute(usage.update().values(runs=5, bytes=0, points=-3))
        connection.execute(usage.insert(), {"holder": new_id(), "runs": 1, "bytes": 1, "points": 1})
    assert tracker.quotas.recount() == 2
    assert used(tracker, experiment.owner) == before == Usage(runs=1, bytes=11, points=7)
    assert tracker.quotas.recount() == 0


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(QuotaExceeded) as caught:
        call()
    return caught.value.message


def test_what_finds_no_room_leaves_nothing(tracker: Tracker, open_tracker: Opener, tmp_path: Path) -> None:
    ada = open_tracker(RED)
    run = begin(ada)
    put(ada, run, "a", 600)
    tracker.quotas.set("group:red", Quota(bytes=1000, runs=2, points=10))
    told = refusal(lambda: put(ada, run, "b", 401))
    assert told.startswith(
        "the quota of 'group:red' for files is 1 kB, of which 600 B are used: there is no room for this. Delete files, "
    )
    for name in ("MLmodel", "weights"):
        (tmp_path / name).write_bytes(bytes(300))
    refusal(lambda: ada.artifacts.put_folder(run.run_id, tmp_path, "model"))
    upload = new_id()
    ada.artifacts.put_part(run.run_id, upload, "c", 0, io.BytesIO(bytes(300)))
    refusal(lambda: ada.artifacts.put_part(run.run_id, upload, "c", 300, io.BytesIO(bytes(300))))
    ada.artifacts.abandon(run.run_id, upload)
    assert [file.path for file in ada.artifacts.walk(run.run_id)] == ["a"]
    # What takes no more than before has room.
    put(ada, run, "a", 1000)
    put(ada, run, "a", 999)
    put(ada, run, "b", 1)

    ada.runs.log(run.run_id, points(10))
    assert "for metric points is 10" in refusal(lambda: ada.runs.log(run.run_id, points(1, 10)))
    both = Batch(metrics=points(1, 10).metrics, tags=(Tag("half", "written"),))
    refusal(lambda: ada.runs.log(run.run_id, both))
    second = ada.runs.create(NewRun(experiment_id=run.experiment_id))
    third = NewRun(experiment_id=run.experiment_id, run_id=new_id())
    assert "for runs is 2" in refusal(lambda: ada.runs.create(third))
    assert third.run_id is not None
    with pytest.raises(NotFound):
        ada.runs.get(third.run_id)
    assert used(ada, "group:red") == Usage(runs=2, bytes=1000, points=10)
    # Who is over a limit still ends and reads runs, and says of them what takes no room.
    tracker.quotas.set("group:red", Quota(bytes=0, runs=0, points=0))
    assert ada.runs.change(run.run_id, RunChange(status=RunStatus.FINISHED)).status is RunStatus.FINISHED
    ada.runs.log(run.run_id, Batch(tags=(Tag("a", "b"),)))
    ada.runs.heartbeat(run.run_id)
    assert ada.runs.get(run.run_id).tags == (Tag("a", "b"),)
    ada.artifacts.delete(run.run_id, "a")
    ada.runs.delete(second.run_id)
    assert tracker.quotas.recount() == 0


def test_a_version_is_counted_for_the_models_owner(tracker: Tracker, open_tracker: Opener) -> None:
    ada = open_tracker(RED)
    run = begin(ada)
    put(ada, run, "model/weights", 500)
    ada.artifacts.put(run.run_id, "model/MLmodel", io.BytesIO(b"flavors: {python_function: {}}"))
    tracker.quotas.set("group:red", Quota(bytes=1000))
    refusal(lambda: ada.models.register("churn", run.run_id, "model"))
    with pytest.raises(NotFound):
        ada.models.get("churn")


def test_a_file_that_is_too_large_is_so_for_ever(tracker: Tracker, open_tracker: Opener) -> None:
    ada = open_tracker(RED)
    run = begin(ada)
    tracker.quotas.set("group:red", Quota(file_bytes=100))
    put(ada, run, "a", 100)
    put(ada, run, "b", 100)
    with pytest.raises(TooLarge, match="at most 100 B"):
        put(ada, run, "c", 101)
    upload = new_id()
    for name in ("d", "e"):
        ada.artifacts.put_part(run.run_id, upload, name, 0, io.BytesIO(bytes(60)))
    with pytest.raises(TooLarge):
        ada.artifacts.put_part(run.run_id, upload, "e", 60, io.BytesIO(bytes(60)))


@pytest.mark.at_once
def test_only_so_many_begin_at_once(tracker: Tracker, open_tracker: Opener) -> None:
    replicas = [open_tracker(RED) for _ in range(2)]
    running = begin(replicas[0])
    waiting = [
        replicas[0].runs.create(NewRun(experiment_id=running.experiment_id, status=RunStatus.SCHEDULED))
        for _ in range(6)
    ]
    tracker.quotas.set("group:red", Quota(running=3))
    start, end = RunChange(status=RunStatus.RUNNING), RunChange(status=RunStatus.FINISHED)

    def count() -> int:
        (standing,) = tracker.quotas.standing("group:red")
        assert standing.warnings == ()
        return standing.usage.running

    found = together(
        *(
            lambda number=number, run=run: replicas[number % 2].runs.change(run.run_id, start).status
            for number, run in enumerate(waiting)
        )
    )
    refused = [error for error in found if isinstance(error, QuotaExceeded)]
    assert (found.count(RunStatus.RUNNING), len(refused), count()) == (2, 4, 3)
    assert "the quota of 'group:red' for runs at once is 3, of which 3 are used" in refused[0].message
    begun = next(run for run in waiting if tracker.runs.get(run.run_id).status is RunStatus.RUNNING)
    # To say it again takes nothing, and what begins by itself is not held up.
    replicas[0].runs.change(begun.run_id, start)
    replicas[0].runs.create(NewRun(experiment_id=running.experiment_id))
    assert count() == 4
    for run in (running, begun):
        replicas[0].runs.change(run.run_id, end)
    left = next(run for run in waiting if tracker.runs.get(run.run_id).status is RunStatus.SCHEDULED)
    assert replicas[1].runs.change(left.run_id, start).status is RunStatus.RUNNING
    assert count() == 3


def test_whose_quota_counts(tracker: Tracker, open_tracker: Opener) -> None:
    ada = open_tracker(RED)

    def limits(found: Sequence[Standing]) -> dict[str, tuple[str | None, int | None]]:
        return {each.owner: (each.subject, each.quota.runs) for each in found}

    assert limits(ada.quotas.standing()) == {"ada": (None, None), "group:red": (None, None)}
    tracker.quotas.set(EVERY_USER, Quota(runs=5))
    tracker.quotas.set(EVERY_GROUP, Quota(runs=50))
    tracker.quotas.set("group:red", Quota(bytes=1))
    assert limits(ada.quotas.standing()) == {"ada": (EVERY_USER, 5), "group:red": ("group:red", None)}
    assert {rule.subject for rule in tracker.quotas.rules()} == {EVERY_USER, EVERY_GROUP, "group:red"}
    tracker.quotas.set("group:red", None)
    tracker.quotas.set("ada", Quota(runs=6))
    tracker.quotas.set("ada", Quota(runs=7))
    assert limits(ada.quotas.standing()) == {"ada": ("ada", 7), "group:red": (EVERY_GROUP, 50)}
    with pytest.raises(NotFound, match="no quota of its own"):
        tracker.quotas.set("group:red", None)
    for subject, quota in (("", Quota()), ("group:", Quota()), ("ada", Quota(runs=-1))):
        with pytest.raises(InvalidValue):
            tracker.quotas.set(subject, quota)
    with pytest.raises(NotFound):
        ada.quotas.standing("bo")
    with pytest.raises(PermissionDenied):
        ada.quotas.standing(everyone=True)
    assert [entry.action for entry in tracker.audit(limit=2)] == ["quota.set", "quota.set"]
    # Who decides nothing for others sets none.
    with pytest.raises(PermissionDenied):
        ada.quotas.set("ada", None)


def test_everyone_is_seen_by_administrators_the_largest_first(tracker: Tracker, open_tracker: Opener) -> None:
    for name, size in (("ada", 10), ("bo", 30), ("cy", 20)):
        one = open_tracker(Principal(name))
        put(one, begin(one), "a", size)
    found = tracker.quotas.standing(everyone=True)
    assert [(each.owner, each.usage.bytes) for each in found] == [("bo", 30), ("cy", 20), ("ada", 10)]


def test_who_nears_a_limit_is_told(tracker: Tracker, open_tracker: Opener) -> None:
    ada = open_tracker(Principal("ada"))
    run = begin(ada)
    tracker.quotas.set("ada", Quota(bytes=1000, runs=10, points=0))
    put(ada, run, "a", 799)
    (standing,) = ada.quotas.standing()
    assert standing.warnings == ("'ada' uses all of its quota for metric points: 0 of 0",)
    tracker.quotas.set("ada", Quota(bytes=1000))
    put(ada, run, "a", 800)
    (standing,) = ada.quotas.standing()
    assert standing.warnings == ("'ada' uses 80 % of its quota for files: 800 B of 1 kB",)


@pytest.mark.at_once
def test_the_same_room_is_never_given_twice(tracker: Tracker, open_tracker: Opener) -> None:
    """Two services on one database each have a writer, and know of each other by the database alone."""
    begin(open_tracker(RED), "elsewhere")
    tracker.quotas.set("group:red", Quota(bytes=1000, runs=13))
    replicas = [open_tracker(RED) for _ in range(2)]
    runs = [begin(replicas[number % 2], f"churn {number}") for number in range(4)]

    def work(number: int) -> list[str]:
        kept = []
        mine, run = replicas[number % 2], runs[number]
        for turn in range(5):
            with contextlib.suppress(QuotaExceeded):
                put(mine, run, str(turn), 100)
                kept.append("file")
            with contextlib.suppress(QuotaExceeded):
                mine.runs.create(NewRun(experiment_id=run.experiment_id))
                kept.append("run")
        return kept

    kept = [name for part in together(*(lambda number=number: work(number) for number in range(4))) for name in part]
    assert (kept.count("file"), kept.count("run")) == (10, 8)
    assert used(tracker, "group:red") == Usage(runs=13, bytes=1000)
    assert tracker.quotas.recount() == 0


@pytest.mark.at_once
def test_counters_of_many_at_once_are_right(
    tracker: Tracker, open_tracker: Opener, experiment: Experiment, database: Database
) -> None:
    replicas = [open_tracker(), open_tracker()]

    def work(number: int) -> None:
        mine = replicas[number % 2]
        for turn in range(8):
            run = mine.runs.create(NewRun(experiment_id=experiment.experiment_id, batch=points(3)))
            put(mine, run, "a", turn)
            mine.runs.log(run.run_id, points(2, 3))
            if turn % 2:
                mine.runs.delete(run.run_id)

    def count() -> None:
        for _ in range(3):
            tracker.gc()
            tracker.quotas.recount()

    assert together(*(lambda number=number: work(number) for number in range(3)), count) == [None] * 4
    tracker.gc()
    assert used(tracker, experiment.owner) == Usage(runs=12, points=60, bytes=3 * (0 + 2 + 4 + 6))
    assert tracker.quotas.recount() == 0
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(usage)).scalar_one() == 1


def part(tracker: Tracker, run: Run, upload: str, size: int, path: str = "a", offset: int = 0) -> str:
    return tracker.artifacts.put_part(run.run_id, upload, path, offset, io.BytesIO(bytes(size))).digest


def test_what_an_upload_has_brought_takes_room_until_it_is_over(tracker: Tracker, open_tracker: Opener) -> None:
    ada = open_tracker(RED)
    run = begin(ada)
    tracker.quotas.set("group:red", Quota(bytes=1000))
    first, second = new_id(), new_id()
    part(ada, run, first, 600)
    assert used(ada, "group:red").bytes == 600
    told = "the quota of 'group:red' for files is 1 kB, of which 600 B are used: there is no room for this"
    assert told in refusal(lambda: part(ada, run, second, 401))
    assert told in refusal(lambda: part(ada, run, first, 401, offset=600))
    assert told in refusal(lambda: part(ada, run, first, 401, path="b"))
    assert told in refusal(lambda: put(ada, run, "c", 401))
    # Of what is sent again, because its answer did not come, there is no more than before.
    digest = part(ada, run, first, 600)
    part(ada, run, second, 400)
    assert ada.artifacts.put_part(run.run_id, first, "a", 0, io.BytesIO(bytes(600))).digest == digest
    assert used(ada, "group:red").bytes == 1000
    assert tracker.quotas.recount() == 0
    ada.artifacts.abandon(run.run_id, second)
    assert used(ada, "group:red").bytes == 600
    ada.artifacts.commit(run.run_id, first, {"a": digest})
    assert used(ada, "group:red").bytes == 600
    put(ada, run, "c", 400)
    assert tracker.quotas.recount() == 0


def test_a_file_that_is_said_to_be_large_finds_room_for_all_of_it(tracker: Tracker, open_tracker: Opener) -> None:
    ada = open_tracker(RED)
    run = begin(ada)
    first, second = new_id(), new_id()

    def send(upload: str, offset: int, size: int, total: int) -> None:
        ada.artifacts.put_part(run.run_id, upload, "a", offset, io.BytesIO(bytes(size)), total)

    # Of who has no quota, what anybody says is not counted.
    for upload in (first, second):
        send(upload, 0, 1, 10**18 - 1)
        assert used(ada, "group:red").bytes == 1
        ada.artifacts.abandon(run.run_id, upload)
    tracker.quotas.set("group:red", Quota(bytes=1000))
    refusal(lambda: send(first, 0, 1, 1001))
    assert ada.artifacts.parts(run.run_id, first) == ()
    send(first, 0, 100, 700)
    assert used(ada, "group:red").bytes == 700
    told = refusal(lambda: send(second, 0, 100, 301))
    assert "of which 700 B are used" in told
    refusal(lambda: put(ada, run, "b", 301))
    send(second, 0, 100, 300)
    # What it said has room, whatever comes of others; and no more.
    send(first, 100, 600, 700)
    refusal(lambda: send(first, 700, 1, 700))
    assert used(ada, "group:red").bytes == 1000
    assert tracker.quotas.recount() == 0
    ada.artifacts.abandon(run.run_id, second)
    send(first, 700, 1, 0)
    ada.artifacts.commit(run.run_id, first, {"a": hashlib.sha256(bytes(701)).hexdigest()})
    assert used(ada, "group:red").bytes == 701
    with pytest.raises(InvalidValue, match="total"):
        send(second, 0, 1, -1)


def test_a_folder_may_take_the_room_of_what_it_replaces(tracker: Tracker, open_tracker: Opener, tmp_path: Path) -> None:
    ada = open_tracker(RED)
    run = begin(ada)
    tracker.quotas.set("group:red", Quota(bytes=1000))
    for size in (300, 400):
        for name in ("MLmodel", "weights"):
            (tmp_path / name).write_bytes(bytes(size))
        ada.artifacts.put_folder(run.run_id, tmp_path, "model")
        assert used(ada, "group:red").bytes == 2 * size


def test_an_upload_may_take_the_room_of_what_it_replaces_once(tracker: Tracker, open_tracker: Opener) -> None:
    ada = open_tracker(RED)
    run = begin(ada)
    put(ada, run, "a", 900)
    tracker.quotas.set("group:red", Quota(bytes=1000))
    first, second = new_id(), new_id()
    part(ada, run, first, 500)
    part(ada, run, first, 500, offset=500)
    refusal(lambda: part(ada, run, second, 1))
    refusal(lambda: part(ada, run, first, 1, offset=1000))
    ada.artifacts.commit(run.run_id, first, {"a": hashlib.sha256(bytes(1000)).hexdigest()})
    assert used(ada, "group:red").bytes == 1000


def test_open_uploads_go_along_and_are_counted_again(
    tracker: Tracker, open_tracker: Opener, database: Database
) -> None:
    ada = open_tracker(RED)
    run, upload = begin(ada), new_id()
    part(ada, run, upload, 600)
    tracker.quotas.set("bo", Quota(bytes=599))
    refusal(lambda: ada.experiments.transfer(run.experiment_id, "bo"))
    with database.write() as connection:
        connection.execute(schema.upload.update().values(bytes=7))
    assert used(ada, "group:red").bytes == 7
    assert tracker.quotas.recount() == 1
    assert used(ada, "group:red").bytes == 600
    tracker.quotas.set("bo", Quota(bytes=600))
    ada.experiments.transfer(run.experiment_id, "bo")
    assert (used(tracker, "group:red").bytes, used(tracker, "bo").bytes) == (0, 600)


@pytest.mark.at_once
def test_the_same_room_is_never_given_to_two_uploads(tracker: Tracker, open_tracker: Opener) -> None:
    replicas = [open_tracker(RED) for _ in range(2)]
    run = begin(replicas[0])
    tracker.quotas.set("group:red", Quota(bytes=1000))
    uploads = [new_id() for _ in range(4)]

    def work(number: int) -> int:
        kept = 0
        for turn in range(5):
            with contextlib.suppress(QuotaExceeded):
                part(replicas[number % 2], run, uploads[number], 100, str(turn))
                kept += 1
        return kept

    assert sum(together(*(lambda number=number: work(number) for number in range(4)))) == 10
    assert used(tracker, "group:red").bytes == 1000
    assert tracker.quotas.recount() == 0
    ends = together(
        *(
            lambda number=number: replicas[number % 2].artifacts.abandon(run.run_id, uploads[number])
            for number in range(4)
        )
    )
    assert (ends, used(tracker, "group:red").bytes) == ([None] * 4, 0)
