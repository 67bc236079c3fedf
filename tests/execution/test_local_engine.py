"""The local engine: real workers, real kernels, and what happens when they die."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Reason, ReasonKind, RunStatus
from jupyter_mlops.execution.engine import NotebookTask, TaskEvent, load_engine
from jupyter_mlops.execution.local import LocalEngine
from jupyter_mlops.tracker.protocol import Tracker
from tests.waiting import processes_with, until

WAIT = "import time\nwhile wait:\n    time.sleep(0.01)"


def printed(tracker: Tracker, run_id: str) -> str:
    executed = json.loads(b"".join(tracker.artifacts.open(run_id, "notebook/executed.ipynb")))
    return "".join("".join(output.get("text", "")) for cell in executed["cells"] for output in cell["outputs"])


def test_an_unknown_engine_is_refused_with_those_installed() -> None:
    with pytest.raises(InvalidValue, match=r"no engine 'lokal' is installed; installed: .*local"):
        load_engine("lokal")
    assert isinstance(load_engine("local"), LocalEngine)


def test_no_tasks_no_news() -> None:
    assert list(LocalEngine().run([], jobs=3)) == []


def test_jobs_must_be_positive() -> None:
    with pytest.raises(InvalidValue, match="at least 1, not 0"):
        LocalEngine().run([], jobs=0)


@pytest.mark.slow
def test_each_task_ends_once_and_a_failure_disturbs_nobody(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    path = notebook(
        "import os\nprint(os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'])",
        "assert x != 1, 'one is not allowed'",
        parameters="x = 0",
    )
    tasks = [task(path, x=x) for x in range(3)] + [task(path, x=1.5, y=2)]
    events = list(LocalEngine().run(tasks, jobs=1))

    ended = {event.run_id: event for event in events if event.status.ended}
    assert len([event for event in events if event.status.ended]) == len(tasks)
    statuses = [ended[item.run_id].status for item in tasks]
    assert statuses == [RunStatus.FINISHED, RunStatus.FAILED, RunStatus.FINISHED, RunStatus.FAILED]
    assert [tracker.runs.get(item.run_id).status for item in tasks] == statuses
    reason = ended[tasks[1].run_id].reason
    assert reason is not None
    assert reason.kind is ReasonKind.CELL_ERROR
    assert reason.message.endswith("one is not allowed")
    # The last one could not even begin, and is on record all the same.
    unknown = tracker.runs.get(tasks[3].run_id).reason
    assert unknown is not None
    assert "'y'" in unknown.message
    # Imports are paid once: all were done by the same process.
    runners = [tracker.runs.get(item.run_id).runner for item in tasks[:3]]
    assert len({runner.pid for runner in runners if runner is not None}) == 1
    # One job may use all cores; what the user chose stays.
    cores, chosen = printed(tracker, tasks[0].run_id).split()
    assert int(cores) >= 1
    assert chosen == "3"


@pytest.mark.slow
def test_where_memory_is_short_notebooks_run_one_at_a_time(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_mlops.execution.local.LEAST_MEMORY", 1 << 60)
    tasks = [task(notebook("print('begun')")) for _ in range(2)]
    assert sum(event.status.ended for event in LocalEngine().run(tasks, jobs=2)) == 2
    first, second = (tracker.runs.get(item.run_id) for item in tasks)
    assert first.end_time is not None
    assert first.end_time <= second.start_time


@pytest.mark.slow
def test_a_killed_worker_fails_its_task_only_and_leaves_no_kernel(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    path = notebook("print('begun')", WAIT, parameters="wait = False")
    victim, other = task(path, wait=True), task(path)
    ended = {}
    killed = 0
    for event in LocalEngine().run([victim, other], jobs=1):
        if event.status.ended:
            ended[event.run_id] = event
        elif event.run_id == victim.run_id and event.progress is not None and event.progress.done == 2 and not killed:
            runner = until(lambda: tracker.runs.get(victim.run_id).runner, "the run having a runner")
            killed = runner.pid
            os.kill(killed, signal.SIGKILL)

    assert killed
    assert ended[other.run_id].status is RunStatus.FINISHED
    lost = ended[victim.run_id]
    assert lost.status is RunStatus.FAILED
    assert lost.reason is not None
    assert lost.reason.kind is ReasonKind.RUNNER_LOST
    assert "SIGKILL" in lost.reason.message
    assert tracker.runs.get(victim.run_id).reason == lost.reason
    assert processes_with(victim.run_id) == []


@pytest.mark.slow
def test_a_task_is_taken_when_it_can_start_and_what_came_before_was_handled(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    path = notebook("1")
    handled: list[str] = []
    known: list[list[str]] = []

    def tasks() -> Iterator[NotebookTask]:
        for _ in range(3):
            known.append(list(handled))
            yield task(path)

    for event in LocalEngine().run(tasks(), jobs=1):
        if isinstance(event, TaskEvent) and event.status.ended:
            handled.append(event.run_id)
    assert known == [[], handled[:1], handled[:2]]


@pytest.mark.slow
def test_an_error_of_those_who_give_tasks_ends_what_runs(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    going = task(notebook(WAIT, parameters="wait = True"))

    def tasks() -> Iterator[NotebookTask]:
        yield going
        until(lambda: tracker.runs.search(filter=f"attributes.run_id = '{going.run_id}'").items, "the run")
        raise RuntimeError("no more proposals")

    with pytest.raises(RuntimeError, match="no more proposals"):
        list(LocalEngine().run(tasks(), jobs=2))
    assert tracker.runs.get(going.run_id).status is RunStatus.KILLED
    assert processes_with(going.run_id) == []


@pytest.mark.slow
def test_a_task_that_is_stopped_ends_killed_for_that_reason_and_its_worker_goes_on(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    path = notebook("print('begun')", WAIT, parameters="wait = False")
    hopeless, after = task(path, wait=True), task(path)
    reason = Reason(kind=ReasonKind.STOPPED, message="loss is NaN at step 3")
    asked = 0

    def stops() -> dict[str, Reason]:
        """Names the task from the first moment on, before it has even begun, and still when it has ended."""
        nonlocal asked
        asked += 1
        return {hopeless.run_id: reason, "a" * 32: reason}

    events = LocalEngine().run([hopeless, after], jobs=1, stops=stops)
    ended = {event.run_id: event for event in events if isinstance(event, TaskEvent) and event.status.ended}
    assert asked
    stopped = tracker.runs.get(hopeless.run_id)
    assert stopped.status is RunStatus.KILLED
    assert stopped.reason is not None
    assert (stopped.reason.kind, stopped.reason.message) == (reason.kind, reason.message)
    assert ended[hopeless.run_id].reason == stopped.reason
    assert tracker.runs.get(after.run_id).status is RunStatus.FINISHED
    runners = [tracker.runs.get(item.run_id).runner for item in (hopeless, after)]
    assert len({runner.pid for runner in runners if runner is not None}) == 1
    assert processes_with(hopeless.run_id) == []


@pytest.mark.slow
def test_closing_ends_what_runs_as_killed_and_starts_nothing_more(
    tracker: Tracker, notebook: Callable[..., Path], task: Callable[..., NotebookTask]
) -> None:
    path = notebook("print('begun')", WAIT, parameters="wait = True")
    going, waiting = task(path), task(path)
    before = psutil.Process().children()
    events = LocalEngine().run([going, waiting], jobs=1)
    for event in events:
        if event.progress is not None and event.progress.done == 2:
            break
    events.close()

    ended = tracker.runs.get(going.run_id)
    assert ended.status is RunStatus.KILLED
    assert ended.reason is not None
    assert ended.reason.kind is ReasonKind.CANCELLED
    assert tracker.runs.search(filter=f"attributes.run_id = '{waiting.run_id}'").items == ()
    assert processes_with(going.run_id) == []
    left = [child for child in psutil.Process().children() if child not in before]
    assert [child for child in left if "worker" in " ".join(child.cmdline())] == []
