"""What found no room is counted, whichever process lost it and however that process ends."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jupyter_mlops.core.errors import StorageFull
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Batch, Metric, NewRun
from jupyter_mlops.tracker import losses
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.losses import LossCounter, read_losses
from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.replay import replay_folder
from jupyter_mlops.tracker.spool import SpoolWriter
from jupyter_mlops.tracker.spoolfile import Log, target_of


@pytest.fixture
def tracker(sqlite_url: str, tmp_path: Path) -> Iterator[Tracker]:
    with connect(sqlite_url, artifacts=tmp_path / "artifacts") as opened:
        yield opened


@pytest.fixture
def run_id(tracker: Tracker) -> str:
    return tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("e").experiment_id)).run_id


def dropped(tracker: Tracker, run_id: str) -> str | None:
    return {tag.key: tag.value for tag in tracker.runs.get(run_id).tags}.get("mlops.dropped")


def lose(writer: SpoolWriter, run_id: str, count: int) -> None:
    """Log to a spool that is full until so many points are lost."""
    while count:
        try:
            writer.append(Log(run_id, Batch(metrics=(Metric("loss", 0.5, 1_700_000_000_000, 0),))))
        except StorageFull:
            count -= 1


def in_child(work: Callable[[], None]) -> None:
    """Have a forked child do ``work`` and die of SIGKILL."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_processes_of_a_session_count_together(tracker: Tracker, run_id: str, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    writer = SpoolWriter(folder, target=target_of(tracker.url), max_bytes=4000)
    lose(writer, run_id, 3)
    in_child(lambda: lose(writer, run_id, 4))
    replay_folder(folder, tracker)
    assert dropped(tracker, run_id) == "7"
    lose(writer, run_id, 1)
    writer.close()
    replay_folder(folder, tracker)
    assert dropped(tracker, run_id) == "8"
    writer.losses.remove_own()
    assert list(folder.iterdir()) == []


def test_what_a_killed_process_lost_is_told(tracker: Tracker, run_id: str, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    in_child(lambda: lose(SpoolWriter(folder, target=target_of(tracker.url), max_bytes=4000), run_id, 5))
    assert list(folder.glob("*.losses"))
    replay_folder(folder, tracker)
    assert dropped(tracker, run_id) == "5"
    assert list(folder.iterdir()) == []


def test_a_session_of_another_tracker_is_left_alone(tracker: Tracker, run_id: str, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    in_child(lambda: lose(SpoolWriter(folder, target="postgresql://elsewhere/x", max_bytes=4000), run_id, 5))
    replay_folder(folder, tracker)
    assert dropped(tracker, run_id) is None
    assert list(folder.glob("*.losses"))


def test_a_run_that_is_gone_holds_up_nobody(tracker: Tracker, run_id: str, tmp_path: Path) -> None:
    counter = LossCounter(tmp_path / "run.losses", "")
    counter.add({new_id(): 2, run_id: 1})
    replay_folder(tmp_path, tracker)
    assert dropped(tracker, run_id) == "1"


def test_who_logs_does_not_wait_for_a_process_that_was_stopped_as_it_counted(
    run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_PATIENCE_SECONDS", 0.01, raising=False)
    writer = SpoolWriter(tmp_path, max_bytes=4000)
    lose(writer, run_id, 1)
    with writer.losses.path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        thread = threading.Thread(target=lose, args=(writer, run_id, 2), daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
    lose(writer, run_id, 1)
    writer.close()
    found = read_losses(writer.losses.path)
    assert found is not None
    assert found.counts == {run_id: 4}


def test_many_at_once_miss_nothing(tmp_path: Path) -> None:
    counter = LossCounter(tmp_path / "run.losses", "")
    runs = [new_id() for _ in range(3)]

    def count() -> None:
        for number in range(300):
            counter.add({runs[number % 3]: 1})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    in_child(count)
    for thread in threads:
        thread.join()
    found = read_losses(counter.path)
    assert found is not None
    assert found.counts == dict.fromkeys(runs, 500)


def test_more_runs_than_have_a_place_are_counted_all_the_same(tmp_path: Path) -> None:
    counter = LossCounter(tmp_path / "run.losses", "")
    counter.reserve()
    size = counter.path.stat().st_size
    for _ in range(1000):
        counter.add({new_id(): 1})
    found = read_losses(counter.path)
    assert found is not None
    assert sum(found.counts.values()) == 1000
    assert counter.path.stat().st_size == size


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff" * 5000, b"\5\0\0\0abcde"])
def test_a_damaged_file_says_nothing(content: bytes, tracker: Tracker, tmp_path: Path) -> None:
    (tmp_path / "run.losses").write_bytes(content)
    (tmp_path / "link.losses").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.losses")
    assert all(read_losses(path) is None for path in tmp_path.glob("*.losses"))
    replay_folder(tmp_path, tracker)
