"""The engine ``local``: worker processes on this machine."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from jupyter_mlops.core.errors import InvalidValue, MLOpsError, NotFound, QuotaExceeded
from jupyter_mlops.core.records import Reason, ReasonKind, Run
from jupyter_mlops.execution.engine import STOPS_SECONDS, NotebookTask, Remark, Stops, TaskEvent, no_stops
from jupyter_mlops.execution.patience import patiently
from jupyter_mlops.execution.worker import Preparation, StopTask, decode, encode, record_failure
from jupyter_mlops.tracker.process import how_ended

if TYPE_CHECKING:
    from jupyter_mlops.tracker.protocol import Tracker

MOST_JOBS = 8
"""Notebooks at once unless told; memory is rarely enough for more."""
CANCEL_SECONDS = 20.0
"""How long workers may take to end their runs as KILLED before they are killed themselves."""
LEAST_MEMORY = 256 << 20
"""Bytes that have to be free before one more notebook is started beside others."""
STDERR_LINES = 5
"""How much of what a dead worker last said goes into the reason of its run."""
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""Each numeric library starts a thread a core unless told; with several kernels on one machine they would fight."""


def available_cpus() -> int:
    """Cores that this process may use: its affinity, bounded by the container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, int(quota) // int(period)))


def default_jobs() -> int:
    """Notebooks at once, when nobody says how many."""
    return min(available_cpus(), MOST_JOBS)


def free_memory() -> int:
    """Bytes that this machine, or container, can still give."""
    import psutil

    free: int = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError):
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
        taken = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        # Files that are kept in memory are given up when somebody needs it.
        for line in Path("/sys/fs/cgroup/memory.stat").read_text(encoding="ascii").splitlines():
            if line.startswith("inactive_file "):
                taken -= int(line.split()[1])
        free = min(free, limit - taken)
    return free


class LocalEngine:
    """At most ``jobs`` worker processes, each in a session of its own, doing one task after another.

    A worker that dies fails only the task it was doing (``runner lost``, its kernel ended) and is replaced. Workers end
    with this process, also when it is killed.
    """

    @property
    def usual_jobs(self) -> int:
        """One a core, :data:`MOST_JOBS` at most."""
        return default_jobs()

    def run(
        self, tasks: Iterable[NotebookTask], *, jobs: int, stops: Stops = no_stops
    ) -> Generator[TaskEvent | Remark, None, None]:
        check_jobs(jobs)
        return _run(iter(tasks), jobs, stops)


def check_jobs(jobs: int) -> None:
    """``InvalidValue`` for a number of notebooks at once that is none."""
    if jobs < 1:
        raise InvalidValue(f"jobs must be at least 1, not {jobs}")


def _run(tasks: Iterator[NotebookTask], jobs: int, stops: Stops) -> Generator[TaskEvent | Remark, None, None]:
    with Workers(environment(jobs)) as workers:
        yield from workers.run(tasks, jobs, stops)


class Workers:
    """Worker processes, started as they are needed. Leaving the context ends them.

    Parameters
    ----------
    environment
        Theirs.
    fork
        The folder where they may find a template to fork kernels off.
    spare
        So many more than notebooks execute at once, which go on while others store what is over.
    """

    def __init__(self, environment: dict[str, str], fork: Path | None = None, *, spare: int = 0) -> None:
        self._environment = environment
        self._fork = fork
        self._spare = spare
        self._workers: set[WorkerProcess] = set()
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._workers)
        self._selector.close()

    def prepare(self, count: int, coming: Preparation) -> None:
        """Start ``count`` more, which make ready for tasks that are to come."""
        for _ in range(count):
            self.add().prepare(coming)

    def add(self) -> WorkerProcess:
        """Start one more."""
        worker = WorkerProcess(self._environment, self._fork)
        self._workers.add(worker)
        self._selector.register(worker.events, selectors.EVENT_READ, worker)
        return worker

    def run(self, tasks: Iterator[NotebookTask], jobs: int, stops: Stops) -> Generator[TaskEvent | Remark, None, None]:
        """As :meth:`Engine.run` has it."""
        more = True
        next_stops = time.monotonic() + STOPS_SECONDS
        while True:
            while more and self._may_begin(jobs):
                task = next(tasks, None)
                if task is None:
                    more = False
                else:
                    self._idle().start(task)
            if not self._busy():
                return
            if not more:
                # They end while others store what is over.
                self._let_go()
            ready = self._selector.select(max(0.0, next_stops - time.monotonic()))
            if time.monotonic() >= next_stops:
                self._stop(stops())
                next_stops = time.monotonic() + STOPS_SECONDS
            for key, _ in ready:
                worker: WorkerProcess = key.data
                line = worker.events.readline()
                if line.endswith(b"\n"):
                    event = decode(line, TaskEvent)
                    worker.note(event)
                    yield event
                    continue
                # End of file, perhaps in the middle of a line: the process is gone.
                self._selector.unregister(worker.events)
                self._workers.remove(worker)
                if worker.task is not None:
                    yield patiently(partial(_lost, worker.task, worker.epitaph()))
                worker.close()

    def _busy(self) -> int:
        return sum(worker.task is not None for worker in self._workers)

    def _may_begin(self, jobs: int) -> bool:
        """Whether one more notebook may execute, and finds memory: what was left when the last one began is looked at
        anew each time, so that the number at once follows what the others take. One may always run."""
        busy = self._busy()
        executing = sum(worker.executes for worker in self._workers)
        return not busy or (executing < jobs and busy < jobs + self._spare and free_memory() >= LEAST_MEMORY)

    def _idle(self) -> WorkerProcess:
        """A worker that has nothing to do; a new one when all have."""
        return next((worker for worker in self._workers if worker.task is None), None) or self.add()

    def _let_go(self) -> None:
        for worker in self._workers:
            if worker.task is None:
                worker.cancel()

    def _stop(self, asked: Mapping[str, Reason]) -> None:
        for worker in self._workers:
            if worker.task is not None and worker.task.run_id in asked:
                worker.stop(asked[worker.task.run_id])


class WorkerProcess:
    """A worker process and the task it is doing."""

    def __init__(self, environment: dict[str, str], fork: Path | None) -> None:
        self.task: NotebookTask | None = None
        self.executes = False
        """Whether the task has cells to execute; else what remains is to store what they left."""
        self._stopping = False
        read, write = os.pipe()
        self.events: IO[bytes] = open(read, "rb", buffering=0)  # noqa: PTH123, SIM115 - a descriptor, kept open
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - kept open
        try:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "jupyter_mlops.execution.worker",
                    str(write),
                    *([] if fork is None else [str(fork)]),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                pass_fds=[write],
                env=environment,
                # Ctrl-C on the terminal reaches only us; we tell the workers.
                start_new_session=True,
            )
        finally:
            os.close(write)

    def prepare(self, coming: Preparation) -> None:
        self._write(encode(coming))

    def start(self, task: NotebookTask) -> None:
        self.task, self.executes, self._stopping = task, True, False
        self._write(encode(task))

    def note(self, event: TaskEvent) -> None:
        """Follow what it tells of its task."""
        assert self.task is not None
        progress = event.progress
        if event.status.ended:
            self.task, self.executes = None, False
        elif progress is not None and progress.done == progress.total and not self.task.decides:
            self.executes = False

    def stop(self, reason: Reason) -> None:
        """Have the task in progress end for ``reason``; said once is enough."""
        assert self.task is not None
        if not self._stopping:
            self._stopping = True
            self._write(encode(StopTask(run_id=self.task.run_id, reason=reason)))

    def news(self) -> Iterator[TaskEvent]:
        """Wait for what it tells; ends with the process."""
        while (line := self.events.readline()).endswith(b"\n"):
            yield decode(line, TaskEvent)

    def _write(self, line: bytes) -> None:
        assert self.process.stdin is not None
        # A worker that has just died is found by the end of its events.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line)
            self.process.stdin.flush()

    def epitaph(self) -> str:
        """How the process ended, with the last lines it wrote to standard error. Waits for its end."""
        how = how_ended(self.process.wait())
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").splitlines()[-STDERR_LINES:]
        return "\n".join([f"The worker process {how}.", *lines])

    def cancel(self) -> None:
        """Ask for the end: a task in progress is cancelled."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def close(self) -> None:
        self.cancel()
        self.process.wait()
        self.events.close()
        self._stderr.close()


def _end(workers: set[WorkerProcess]) -> None:
    """End all workers, orderly at first; see to it that the runs of those that had to be killed end too."""
    for worker in workers:
        worker.cancel()
    deadline = time.monotonic() + CANCEL_SECONDS
    killed = []
    for worker in workers:
        try:
            worker.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.process.kill()
            killed.append(worker)
    for worker in killed:
        if worker.task is not None:
            # A store that is away, for which they may have waited, hears of it from the next to recover.
            with contextlib.suppress(MLOpsError):
                _lost(worker.task, worker.epitaph())
    for worker in workers:
        worker.close()


def _lost(task: NotebookTask, how: str) -> TaskEvent:
    from jupyter_mlops.tracker.connect import connect

    with connect(task.tracking_url, artifacts=task.artifacts_url) as tracker:
        return end_lost(tracker, task, how)


def end_lost(tracker: Tracker, task: NotebookTask, how: str) -> TaskEvent:
    """Bring the record of a task whose worker on this machine died to its end: what it logged is kept, its kernel is
    ended."""
    from jupyter_mlops.recording.lost import recover

    with contextlib.suppress(QuotaExceeded):  # of what others left
        recover(tracker)
    run = _found(tracker, task.run_id)
    # A worker that died after it had brought its run to an end changes nothing about that.
    if run is None or not run.status.ended or (run.reason and run.reason.kind is ReasonKind.RUNNER_LOST):
        run = record_failure(tracker, task, Reason(kind=ReasonKind.RUNNER_LOST, message=how))
    return TaskEvent(run_id=task.run_id, status=run.status, progress=run.progress, reason=run.reason)


def _found(tracker: Tracker, run_id: str) -> Run | None:
    try:
        return tracker.runs.get(run_id)
    except NotFound:
        return None


def environment(jobs: int) -> dict[str, str]:
    """That of workers and kernels of which ``jobs`` run at once."""
    threads = str(max(1, available_cpus() // jobs))
    return {**dict.fromkeys(THREAD_VARIABLES, threads), **os.environ}
