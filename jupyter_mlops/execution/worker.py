"""The process that does notebook tasks one after another, so that imports are paid once for many of them.

``python -m jupyter_mlops.execution.worker FD [FOLDER]`` reads tasks from standard input, one JSON document a line, and
writes :class:`TaskEvent` documents to the file descriptor FD. Where a template listens in FOLDER, kernels are forked
off it. The parent sends a task only while none is in progress, and a :class:`StopTask` to have that one end early;
before the first one it may send a :class:`Preparation`. It closes standard input to end the worker, which cancels a
task in progress. So a parent that dies, however it dies, ends its workers too.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from jupyter_mlops.core.errors import NotFound, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import (
    Batch,
    NewRun,
    Progress,
    Reason,
    ReasonKind,
    Run,
    RunChange,
    RunKind,
    RunStatus,
    Tag,
)
from jupyter_mlops.core.run_fields import reason_text
from jupyter_mlops.execution.engine import NotebookTask, TaskEvent
from jupyter_mlops.execution.patience import PATIENCE_SECONDS, patiently
from jupyter_mlops.recording.cancellation import Stop
from jupyter_mlops.tracker.location import is_service
from jupyter_mlops.tracker.process import is_alive

if TYPE_CHECKING:
    from jupyter_mlops.execution.fork.kernel import Template
    from jupyter_mlops.tracker.protocol import Tracker

S = TypeVar("S", bound=msgspec.Struct)


def encode(record: msgspec.Struct) -> bytes:
    """One line of JSON. Python's own codec, because msgspec's turns NaN and the infinities into null."""
    return json.dumps(msgspec.to_builtins(record)).encode() + b"\n"


def decode(line: bytes, kind: type[S]) -> S:
    return msgspec.convert(json.loads(line), kind)


class Preparation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the tasks to come have in common, as they do, so that a worker has it ready by then."""

    tracking_url: str
    artifacts_url: str | None
    notebook: str
    kernel_name: str | None


class StopTask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to end a task in progress; of no effect when it has ended."""

    run_id: str
    reason: Reason


class Trackers:
    """One open tracker for each store that tasks name."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str | None], Tracker] = {}

    def get(self, named: NotebookTask | Preparation) -> Tracker:
        from jupyter_mlops.tracker.connect import connect

        key = (named.tracking_url, named.artifacts_url)
        if key not in self._open:
            self._open[key] = connect(named.tracking_url, artifacts=named.artifacts_url)
        return self._open[key]

    def close(self) -> None:
        for tracker in self._open.values():
            tracker.close()


def perform(
    task: NotebookTask,
    trackers: Trackers,
    emit: Callable[[TaskEvent], None],
    *,
    stop: Stop | None = None,
    template: Template | None = None,
) -> None:
    """Do one task and emit its events; the last one has an ended status, also when the task cannot even begin. Where
    the task goes on from what ``template`` has executed, it does so."""
    from jupyter_mlops.recording.kernel import Kernel
    from jupyter_mlops.recording.notebook import record_notebook

    def on_progress(progress: Progress) -> None:
        emit(TaskEvent(run_id=task.run_id, status=RunStatus.RUNNING, progress=progress))

    tracker = patiently(lambda: trackers.get(task))
    deadline = time.monotonic() + PATIENCE_SECONDS
    run: Run | None = None
    while run is None:
        try:
            start = Kernel if template is None else template.starter(task)
            run = record_notebook(tracker, task, on_progress=on_progress, stop=stop, start=start)
        except Exception as error:  # noqa: BLE001 - one task's failure must not end the worker; the record tells it
            reason = Reason(kind=ReasonKind.ERROR, message=reason_text(f"{type(error).__name__}: {error}"))
            # Before it had begun, a store that was away says nothing of the task.
            again = isinstance(error, Unavailable) and time.monotonic() < deadline
            run = patiently(partial(_end_badly, tracker, task, reason, again=again))
    emit(TaskEvent(run_id=task.run_id, status=run.status, progress=run.progress, reason=run.reason))


def _end_badly(tracker: Tracker, task: NotebookTask, reason: Reason, *, again: bool) -> Run | None:
    """End the record of a task that this process did and that failed for ``reason``, unless what the run keeps on this
    machine tells another end; None where there is no record yet, and the task is to be done ``again``."""
    from jupyter_mlops.recording.lost import close

    try:
        run = tracker.runs.get(task.run_id)
    except NotFound:
        return None if again else record_failure(tracker, task, reason)
    if run.runner is not None and run.runner.pid == os.getpid() and is_alive(run.runner):
        return close(tracker, run, reason)
    return record_failure(tracker, task, reason)


def prepare(coming: Preparation, trackers: Trackers) -> None:
    """Do beforehand what is done once for many tasks. What goes wrong with it, each of them tells."""
    import nbformat.v4

    from jupyter_mlops.core.redaction import find_secrets
    from jupyter_mlops.recording import execution, kernelsession, notebook  # noqa: F401
    from jupyter_mlops.recording.companions import known_companions
    from jupyter_mlops.recording.kernel import kernel_spec
    from jupyter_mlops.recording.source import executable, read_source

    # Of the check of a cell the first one has the code made.
    nbformat.v4.new_code_cell()
    known_companions()
    with contextlib.suppress(Exception):
        source = read_source(coming.notebook)
        executable(source, {}, kernel=coming.kernel_name)
        kernel_spec(coming.kernel_name or source.kernel)
        for cell in source.cells:
            find_secrets(cell)
        tracker = trackers.get(coming)
        tracker.artifacts.check_location()
        if is_service(coming.tracking_url):
            # The first question has the way to it made.
            tracker.runs.watermark(new_id())
        else:
            from jupyter_mlops.tracker.embedded import EmbeddedTracker
            from jupyter_mlops.tracker.embedded.rehearsal import rehearse

            assert isinstance(tracker, EmbeddedTracker)
            if tracker.database.is_sqlite:
                rehearse(tracker)


def record_failure(tracker: Tracker, task: NotebookTask, reason: Reason) -> Run:
    """End the record of a task FAILED for ``reason``, and begin it where that had not happened."""
    try:
        tracker.runs.get(task.run_id)
    except NotFound:
        tracker.runs.create(
            NewRun(
                run_id=task.run_id,
                experiment_id=task.experiment_id,
                kind=RunKind.NOTEBOOK,
                name=task.name,
                parent_run_id=task.parent_run_id,
                source=task.source or task.notebook,
                submitted_by=task.submitted_by,
                batch=Batch(tags=tuple(Tag(key, value) for key, value in task.tags.items())),
            )
        )
    return tracker.runs.change(task.run_id, RunChange(status=RunStatus.FAILED, reason=reason))


def find_template(folder: Path) -> Template | None:
    from jupyter_mlops.execution.fork.kernel import Template

    try:
        return Template(folder) if Template.listens(folder) else None
    except (OSError, ValueError):  # it ended in between, or before it had told; each point gets a kernel of its own
        return None


def serve(lines: Iterable[bytes], write: Callable[[bytes], Any], fork: Path | None = None) -> None:
    """Do the tasks of ``lines`` in order until they end; their end cancels the task in progress. The folder ``fork`` is
    where a template may be found by the time of the first task."""
    tasks: queue.SimpleQueue[tuple[NotebookTask, Stop] | Preparation | None] = queue.SimpleQueue()

    def read() -> None:
        latest: tuple[str, Stop] | None = None
        for line in lines:
            if not line.endswith(b"\n"):
                # The parent was killed in the middle of it.
                break
            document = json.loads(line)
            if "reason" in document:
                asked = msgspec.convert(document, StopTask)
                if latest is not None and latest[0] == asked.run_id:
                    latest[1].request(asked.reason)
                continue
            if "run_id" not in document:
                tasks.put(msgspec.convert(document, Preparation))
                continue
            task, stop = msgspec.convert(document, NotebookTask), Stop()
            latest = task.run_id, stop
            tasks.put((task, stop))
        tasks.put(None)
        # Cancels a task in progress (the recorder handles it); between tasks it ends the process, as it should.
        os.kill(os.getpid(), signal.SIGTERM)

    def emit(event: TaskEvent) -> None:
        # Nobody reads any more: the end of standard input, which comes with it, cancels the task.
        with contextlib.suppress(BrokenPipeError):
            write(encode(event))

    threading.Thread(target=read, name="tasks", daemon=True).start()
    trackers = Trackers()
    template = None
    while (work := tasks.get()) is not None:
        if isinstance(work, Preparation):
            prepare(work, trackers)
            continue
        task, stop = work
        if fork is not None and template is None:
            template = find_template(fork)
        perform(task, trackers, emit, stop=stop, template=template)
    trackers.close()


if __name__ == "__main__":
    from jupyter_mlops.recording.fastimport import import_runner

    import_runner()
    with open(int(sys.argv[1]), "wb", buffering=0) as events:  # noqa: PTH123 - a descriptor, not a path
        serve(sys.stdin.buffer, events.write, Path(sys.argv[2]) if len(sys.argv) > 2 else None)
