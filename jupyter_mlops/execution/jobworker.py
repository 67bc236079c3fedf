"""The process that does one job: ``python -m jupyter_mlops.execution.jobworker FOLDER``.

It is in a session of its own and needs nobody: whoever started it may be gone when it ends. The values of secret
parameters come by standard input, one JSON object. What it prints is the job's log.
"""

from __future__ import annotations

import fcntl
import json
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import msgspec

from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.core.reasons import headline
from jupyter_mlops.core.records import Json, Run
from jupyter_mlops.execution.engine import TaskEvent, load_engine
from jupyter_mlops.execution.jobs import Job, JobFolder, SweepWork
from jupyter_mlops.execution.sweep import Standing, Sweep
from jupyter_mlops.execution.worker import Trackers, perform
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.process import this_runner


def main(path: Path) -> None:
    """Do the job in the folder ``path``, unless another process is at it."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    # A terminal that the server was started from may go; the server decides about its workers.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    folder = JobFolder(path)
    with folder.lock.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _tell("another process is doing this job")
            return
        folder.begin(this_runner())
        job = folder.job()
        secrets: dict[str, Json] = json.loads(sys.stdin.buffer.readline() or b"{}")
        try:
            if job.sweep is not None:
                _sweep(job, job.sweep, secrets)
            elif job.task is not None:
                _run(job.task, secrets)
        except KeyboardInterrupt:
            # What is not on record then, the server completes.
            _tell("cancelled")
        except MLOpsError as error:
            _tell(error.message)
            sys.exit(1)


def _run(task: NotebookTask, secrets: Mapping[str, Json]) -> None:
    from jupyter_mlops.recording.fastimport import import_runner

    import_runner()
    task = msgspec.structs.replace(task, parameters={**task.parameters, **secrets})
    trackers = Trackers()

    def emit(event: TaskEvent) -> None:
        if event.status.ended:
            _tell(event.status.value.lower() + (f": {headline(event.reason)}" if event.reason else ""))
        elif event.progress is not None:
            _tell(f"{event.progress.done} of {event.progress.total} cells")

    _tell(f"{Path(task.notebook).name} begins")
    perform(task, trackers, emit)
    trackers.close()


def _sweep(job: Job, work: SweepWork, secrets: Mapping[str, Json]) -> None:
    place = work.place
    with connect(place.tracking_url, artifacts=place.artifacts_url) as tracker:
        going = Sweep.load(tracker, tracker.runs.get(job.run_id), secrets=secrets)
        at_once = f", {work.jobs} at once" if work.jobs is not None else ""
        _tell(f"{going.missing} of {going.plan.total} points to run{at_once}")

        def on_event(standing: Standing, child: Run | None) -> None:
            if child is not None:
                why = f": {headline(child.reason)}" if child.reason else ""
                _tell(f"{standing.ended} of {standing.total} points; {child.name} {child.status.value.lower()}{why}")

        engine = load_engine(work.engine, work.cluster)
        going.execute(engine, place, jobs=work.jobs, on_event=on_event, on_remark=_tell)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal calls it
    raise KeyboardInterrupt


def _tell(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    from jupyter_mlops.recording.fastimport import skip_format_checks

    skip_format_checks()
    main(Path(sys.argv[1]))
