"""When the executed notebook is saved, and what a recorder tells of what is not stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import pytest
from jupyter_core.utils import ensure_event_loop
from nbformat.v4 import new_code_cell, new_notebook

from jupyter_mlops.core.errors import StorageFull
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Batch, NewRun, RunChange, RunStatus, Tag
from jupyter_mlops.recording.recorder import NOTICE_TAG, Recorder, RunFolder
from jupyter_mlops.recording.redactor import Redactor
from jupyter_mlops.recording.state import _PAUSE, _REPLAYED_SECONDS, RecordingState
from jupyter_mlops.tracker.deadletters import dead_letters
from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.replay import replay_folder
from jupyter_mlops.tracker.spool import SpoolWriter
from jupyter_mlops.tracker.spoolfile import Entry, Log

SECONDS = 0.01
"""What a save takes."""


class SlowSaves:
    """Of a recorder, what a state needs."""

    def __init__(self) -> None:
        self.count = 0

    def save_executed(self, notebook: Any) -> bytes:
        self.count += 1
        until = time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            pass
        return b""

    def progress(self, _: object) -> None:
        pass


def test_a_save_that_waits_is_given_up_at_the_end() -> None:
    saves = SlowSaves()
    notebook = new_notebook(cells=[new_code_cell("a"), new_code_cell("b")], metadata={"papermill": {}})
    state = RecordingState(notebook, cast("Recorder", saves), Redactor({}), progress_bar=False)
    state.notebook_start()
    for index, cell in enumerate(notebook.cells):
        state.cell_start(cell, index)
        state.cell_complete(cell, index)
    state.notebook_complete()
    saved = saves.count

    # The loop is that of the next run, too.
    wait(2 * _PAUSE * SECONDS)
    assert saves.count == saved


def test_what_shared_cells_gave_is_saved_once_with_what_another_gives() -> None:
    saves = SlowSaves()
    notebook = new_notebook(cells=[new_code_cell("a") for _ in range(3)], metadata={"papermill": {}})
    state = RecordingState(notebook, cast("Recorder", saves), Redactor({}), progress_bar=False)
    state.replayed, state.is_stored_at_once = {0}, True
    state.notebook_start()
    counts = []
    for index, cell in enumerate(notebook.cells):
        state.cell_start(cell, index)
        state.cell_complete(cell, index)
        counts.append(saves.count)
    # The last cell's is stored with the end.
    assert counts == [0, 1, 1]
    wait(2 * _REPLAYED_SECONDS)
    assert saves.count == 1


def wait(seconds: float) -> None:
    """Let the loop run, as it does while a cell executes. Its timers go off in their order."""
    loop = ensure_event_loop()
    later = loop.create_future()
    loop.call_later(seconds, later.set_result, None)
    loop.run_until_complete(later)


@pytest.fixture
def recorder(tracker: Tracker) -> Iterator[Recorder]:
    """That of a run which goes on."""
    run_id = new_id()
    tracker.runs.create(NewRun(run_id=run_id, experiment_id=tracker.experiments.ensure("recorders").experiment_id))
    with RunFolder(run_id) as folder:
        yield Recorder(tracker, run_id, folder)


def test_what_was_refused_before_the_end_is_kept_and_told_at_the_end(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.put("../outside.txt", b"content")
    recorder.store()
    assert recorder.finish(RunChange(status=RunStatus.FINISHED)).status is RunStatus.FINISHED
    assert "not all that this run logged could be stored" in caplog.text
    ((letter,),) = dead_letters(recorder.folder.spool).values()
    assert letter.entry["path"] == "../outside.txt"


def test_what_the_kernel_logged_comes_before_the_end(
    tracker: Tracker, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in "log", "change":
        called = getattr(tracker.runs, name)
        monkeypatch.setattr(tracker.runs, name, partial(_noted, calls, name, called))
    recorder.put("first.txt", b"first")
    of_the_kernel = SpoolWriter(recorder.folder.spool)
    of_the_kernel.append(Log(recorder.run_id, Batch(tags=(Tag("last", "word"),))))
    of_the_kernel.close()
    run = recorder.finish(RunChange(status=RunStatus.FINISHED))
    assert calls == ["log", "change"]
    assert ("last", "word") in {(tag.key, tag.value) for tag in run.tags}


def test_the_run_that_an_end_gives_is_not_read_again(
    tracker: Tracker, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(tracker.runs, "get", partial(_noted, calls, "get", get := tracker.runs.get))
    recorder.log(tags=[Tag("last", "word")])
    run = recorder.finish(RunChange(status=RunStatus.FINISHED))
    assert calls == []
    assert run == get(recorder.run_id)
    assert (run.status, [tag.value for tag in run.tags]) == (RunStatus.FINISHED, ["word"])


def test_a_notice_without_room_on_the_disk_is_in_the_run_that_an_end_gives(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = SpoolWriter.append

    def full(spool: SpoolWriter, entry: Entry) -> None:
        if isinstance(entry, Log):
            raise StorageFull("no room")
        append(spool, entry)

    monkeypatch.setattr(SpoolWriter, "append", full)
    recorder.notice("something went wrong")
    run = recorder.finish(RunChange(status=RunStatus.FINISHED))
    assert run.status is RunStatus.FINISHED
    ((key, told),) = ((tag.key, tag.value) for tag in run.tags)
    assert (key, told.splitlines()[0]) == (NOTICE_TAG, "something went wrong")


def test_an_end_that_another_process_has_stored_is_read(
    tracker: Tracker, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = recorder._spool.close

    def close_and_come_second() -> None:
        close()
        assert replay_folder(recorder.folder.spool, tracker).applied == 2
        tracker.runs.change(recorder.run_id, RunChange(name="renamed"))

    monkeypatch.setattr(recorder._spool, "close", close_and_come_second)
    recorder.log(tags=[Tag("last", "word")])
    run = recorder.finish(RunChange(status=RunStatus.FINISHED))
    assert (run.status, run.name, [tag.value for tag in run.tags]) == (RunStatus.FINISHED, "renamed", ["word"])


def test_what_is_stored_after_the_end_is_in_the_run_that_it_gives(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a process that outlives its kernel."""
    close = recorder._spool.close

    def close_and_log() -> None:
        close()
        other = SpoolWriter(recorder.folder.spool)
        other.append(Log(recorder.run_id, Batch(tags=(Tag("last", "word"),))))
        other.close()

    monkeypatch.setattr(recorder._spool, "close", close_and_log)
    run = recorder.finish(RunChange(status=RunStatus.FINISHED))
    assert (run.status, [tag.value for tag in run.tags]) == (RunStatus.FINISHED, ["word"])


def _noted(calls: list[str], name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    calls.append(name)
    return function(*arguments)
