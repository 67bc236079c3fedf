"""The queue of submitted jobs: starts their workers, at most so many notebooks at once, and sees each to its end.

All state is in the jobs' folders (:mod:`.jobs`), so that a Jupyter server that was killed loses nothing: its workers go
on, and the next server finds them. Several servers may share the folder: each sees to the jobs submitted through it,
and to those whose server is gone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import msgspec

from jupyter_mlops.core.errors import Conflict, MLOpsError, NotFound, QuotaExceeded
from jupyter_mlops.core.ids import is_id, new_id
from jupyter_mlops.core.records import Json, Reason, ReasonKind, RunChange, RunStatus
from jupyter_mlops.core.run_fields import reason_text
from jupyter_mlops.core.values import short
from jupyter_mlops.execution import jobs
from jupyter_mlops.execution.jobs import End, Job, JobFolder
from jupyter_mlops.recording.cancellation import leave_note, read_note
from jupyter_mlops.recording.lost import close
from jupyter_mlops.tracker.filelock import locked
from jupyter_mlops.tracker.location import make_private
from jupyter_mlops.tracker.process import how_ended, is_alive, this_runner
from jupyter_mlops.tracker.protocol import Tracker

MOST_WAITING = 1000
KEPT = 200
"""Jobs that ended and are still listed."""
ASK_AGAIN_SECONDS = 2.0
"""How long a run that the store does not let begin waits before it asks again."""
KILL_SECONDS = 30.0
"""How long a worker that was asked to end may take."""
_PATIENCE_SECONDS = 60.0
"""How long a turn waits for another server's, which may have been stopped and might never go on."""
LOG_LINES = 5
"""How much of what a dead worker last printed goes into the reason of its run."""


class _State(Enum):
    WAITING = "waiting"
    WORKING = "working"
    GONE = "gone"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A job and how it stands."""

    job: Job
    status: RunStatus
    started: int | None = None
    end: End | None = None
    ahead: int = 0
    """Jobs that wait before it."""
    held_up: str | None = None
    """Why it may not begin yet although it is its turn."""


class _Wait(NamedTuple):
    """Until when a job is held up, on the monotonic clock, and why."""

    until: float
    why: str


class Queue:
    """The jobs in ``folder``; any thread may call.

    Parameters
    ----------
    folder
        Where their folders are.
    limit
        Notebooks at once.
    environment
        Gives the environment of a worker that is to be started.
    """

    def __init__(self, folder: Path, *, limit: int, environment: Callable[[], Mapping[str, str]]) -> None:
        self.folder = folder
        self._limit = limit
        self._environment = environment
        self._me = this_runner()
        self._lock = threading.Lock()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._secrets: dict[str, dict[str, Json]] = {}
        self._adopted: set[str] = set()
        """Jobs whose worker nobody watched for a while."""
        self._waits: dict[str, _Wait] = {}
        """Jobs that are held up, by their runs."""
        self.stopping = False

    # --- what users ask ----------------------------------------------------------------------------------------------

    def new(self) -> JobFolder:
        """A folder for a new job, with an id for its run, to be filled and given to :meth:`submit`.

        Raises
        ------
        Conflict
            Too many wait already, or the server is being stopped.
        Unavailable, StorageFull
            The folder cannot be made.
        """
        if self.stopping:
            raise Conflict("this Jupyter server is being stopped; it takes no more runs")
        waiting = sum(standing.status is RunStatus.SCHEDULED for standing in self.standings())
        if waiting >= MOST_WAITING:
            raise Conflict(f"{waiting} submitted runs wait already, which is the most; wait for some, or cancel them")
        return jobs.new_folder(self.folder, new_id())

    def submit(self, folder: JobFolder, job: Job, secrets: Mapping[str, Json]) -> Standing:
        """Let the job take its turn."""
        folder.claim(self._me)
        folder.save(job)
        with self._lock:
            self._secrets[job.run_id] = dict(secrets)
        jobs.publish(folder)
        return self.get(job.run_id)

    def again(self, run_id: str, job: Job, secrets: Mapping[str, Json], *, reopen: Callable[[], object]) -> Standing:
        """Let a job that ended take its turn once more. ``reopen`` has its record wait; it is called once that is sure,
        and before anybody may begin the job."""
        folder = self._find(run_id)
        with self._turn():
            if not folder.has_ended:
                raise Conflict(f"{job.name} has not ended yet")
            folder.claim(self._me)
            folder.save(job)
            reopen()
            self._secrets[run_id] = dict(secrets)
            folder.reset()
        return self.get(run_id)

    def standings(self) -> list[Standing]:
        """All jobs, newest first."""
        found: list[Standing] = []
        waiting = 0
        for folder in sorted(self._readable(), key=lambda folder: folder[1].submitted):
            standing = self._standing(*folder, waiting)
            waiting += standing.status is RunStatus.SCHEDULED
            found.append(standing)
        return found[::-1]

    def get(self, run_id: str) -> Standing:
        """How a job stands; ``NotFound`` when there is none."""
        self._find(run_id)
        for standing in self.standings():
            if standing.job.run_id == run_id:
                return standing
        raise NotFound(f"there is no submitted run {run_id}")

    def log_of(self, run_id: str) -> Path:
        """The file with what the job's worker printed; it may not be there yet."""
        return self._find(run_id).log

    def notebook_of(self, run_id: str) -> Path:
        """The notebook as it was submitted."""
        return next(self._find(run_id).notebook.iterdir())

    def cancel(self, run_id: str, by: str) -> None:
        """Have a job end KILLED, soon. ``Conflict`` when it has ended."""
        folder = self._find(run_id)
        with self._turn():
            if folder.has_ended:
                raise Conflict(f"{folder.job().name} has ended already")
            leave_note(folder.cancel_note, Reason(kind=ReasonKind.CANCELLED, message=f"cancelled by {by}"))
            self._signal(folder, signal.SIGTERM)

    # --- what the server does ----------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is being done."""
        return next(self._live(), None) is None

    def working_since(self) -> list[int]:
        """When the jobs that are being done began, in milliseconds since the epoch."""
        workers = [folder.worker() for folder, _ in self._live()]
        return [int(worker.started * 1000) for worker in workers if worker is not None and is_alive(worker)]

    def unfinished(self) -> set[str]:
        """The runs of this server's jobs that have not ended: of their ends it tells how their workers ended."""
        return {job.run_id for folder, job in self._live() if self._is_ours(folder)}

    def step(self, tracker: Tracker) -> None:
        """Take note of workers that are gone, and start what may begin. An error of the tracker is for the next step
        to overcome; it is raised when the rest was done."""
        failure: MLOpsError | None = None
        with self._turn():
            used, waiting = 0, []
            for folder, job in self._live():
                state = self._state(folder)
                if not self._is_ours(folder):
                    used += job.slots if state is _State.WORKING else 0
                elif state is _State.WORKING:
                    used += job.slots
                    self._adopted.discard(job.run_id)
                    self._hurry(folder)
                elif state is _State.WAITING and read_note(folder.cancel_note) is None:
                    waiting.append((folder, job))
                else:
                    failure = self._closed(tracker, folder, job) or failure
            for folder, job in sorted(waiting, key=lambda one: one[1].submitted):
                if self.stopping or (used and used + job.slots > self._limit):
                    break
                if not self._has_turn(tracker, job):
                    continue
                failure = self._started(tracker, folder, job) or failure
                used += job.slots
            failure = self._abandoned(tracker) or failure
            self._forget()
        if failure is not None:
            raise failure

    def stop(self, tracker: Tracker, seconds: float) -> None:
        """End what is being done, FAILED because the server is stopped; what waits goes on waiting, for the next
        server. Takes ``seconds`` at most, and a little."""
        self.stopping = True
        reason = Reason(
            kind=ReasonKind.SERVER_STOPPED,
            message="the Jupyter server that it was submitted through was stopped; what was done until then is kept",
        )
        with self._turn():
            ours = [folder for folder, _ in self._live() if self._is_ours(folder)]
            working = [folder for folder in ours if self._state(folder) is _State.WORKING]
            for folder in working:
                leave_note(folder.cancel_note, reason)
                self._signal(folder, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while any(self._state(folder) is _State.WORKING for folder in working) and time.monotonic() < deadline:
            time.sleep(0.05)
        for folder in working:
            self._signal(folder, signal.SIGKILL)
        if working:
            self.step(tracker)

    # --- one job -----------------------------------------------------------------------------------------------------

    def _has_turn(self, tracker: Tracker, job: Job) -> bool:
        """Whether the job may begin, as far as the store limits how many runs its owner does at once: the run is
        RUNNING then. Whose turn it is not is asked for again after a while; others go first."""
        now = time.monotonic()
        wait = self._waits.get(job.run_id)
        if wait is not None and now < wait.until:
            return False
        try:
            tracker.runs.change(job.run_id, RunChange(status=RunStatus.RUNNING))
        except QuotaExceeded as error:
            self._waits[job.run_id] = _Wait(now + ASK_AGAIN_SECONDS, error.message)
            return False
        except MLOpsError:
            # The store is away, or the run is gone: the worker finds out, as it always does.
            pass
        self._waits.pop(job.run_id, None)
        return True

    def _started(self, tracker: Tracker, folder: JobFolder, job: Job) -> MLOpsError | None:
        secrets = self._secrets.get(job.run_id, {})
        lacking = [name for name in job.secrets if name not in secrets]
        if lacking:
            names = ", ".join(lacking)
            message = f"the server it was submitted through is gone, and with it the secret {names}; submit it again"
            return self._ended(tracker, folder, job, Reason(kind=ReasonKind.SERVER_STOPPED, message=message))
        with folder.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "jupyter_mlops.execution.jobworker", str(folder.path)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(self._environment()),
                cwd=folder.path,
                start_new_session=True,
            )
        self._processes[job.run_id] = process
        assert process.stdin is not None
        # One that died at once is found by the next step.
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(secrets).encode() + b"\n")
        self._adopted.discard(job.run_id)
        return None

    def _closed(self, tracker: Tracker, folder: JobFolder, job: Job) -> MLOpsError | None:
        """Bring a job to its end whose worker is gone, or which was cancelled before it had one."""
        reason = read_note(folder.cancel_note)
        if reason is None and job.run_id in self._adopted:
            message = "the Jupyter server that it was submitted through was stopped, and this run with it"
            reason = Reason(kind=ReasonKind.SERVER_STOPPED, message=message)
        elif reason is None:
            reason = Reason(kind=ReasonKind.RUNNER_LOST, message=reason_text(self._epitaph(folder)))
        return self._ended(tracker, folder, job, reason)

    def _ended(self, tracker: Tracker, folder: JobFolder, job: Job, reason: Reason) -> MLOpsError | None:
        try:
            run = tracker.runs.get(job.run_id)
            if not run.status.ended:
                for child in tracker.runs.children(job.run_id):
                    if child.runner is not None and not child.status.ended:
                        if is_alive(child.runner):
                            return None  # it ends by itself, now that its sweep is gone
                        close(tracker, child, reason)
                run = close(tracker, run, reason)
            end = End(status=run.status, reason=run.reason, at=run.end_time or _now())
        except NotFound:
            end = End(status=RunStatus.FAILED, reason=reason, at=_now())
        except MLOpsError as error:
            return error
        folder.finish(end)
        self._processes.pop(job.run_id, None)
        self._secrets.pop(job.run_id, None)
        self._waits.pop(job.run_id, None)
        return None

    def _abandoned(self, tracker: Tracker) -> MLOpsError | None:
        """End the runs of jobs whose making was cut short."""
        reason = Reason(kind=ReasonKind.SERVER_STOPPED, message="the Jupyter server was stopped while it was submitted")
        for run_id, folder in jobs.half_made(self.folder):
            try:
                tracker.runs.change(run_id, RunChange(status=RunStatus.FAILED, reason=reason))
            except NotFound:
                pass
            except MLOpsError as error:
                return error
            folder.remove()
        return None

    def _epitaph(self, folder: JobFolder) -> str:
        process = self._processes.get(folder.run_id)
        code = None if process is None else process.poll()
        how = "was killed or crashed" if code is None else how_ended(code)
        try:
            lines = folder.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        except OSError:
            lines = []
        return "\n".join([f"the process of this run {how}", *lines])

    def _signal(self, folder: JobFolder, number: signal.Signals) -> None:
        """Send a signal to the job's worker, if it is the very process that was started."""
        worker, process = folder.worker(), self._processes.get(folder.run_id)
        with suppress(ProcessLookupError):
            if process is not None:
                process.send_signal(number)
            elif worker is not None and is_alive(worker):
                os.kill(worker.pid, number)

    def _hurry(self, folder: JobFolder) -> None:
        """Kill a worker that was asked to end long ago."""
        with suppress(OSError):
            if time.time() - folder.cancel_note.stat().st_mtime > KILL_SECONDS:
                self._signal(folder, signal.SIGKILL)

    # --- where jobs stand --------------------------------------------------------------------------------------------

    def _is_ours(self, folder: JobFolder) -> bool:
        """Whether this server sees to the job: it always did, or who did is gone."""
        server = folder.server()
        if server == self._me:
            return True
        # Another host's is of an earlier pod: servers that may be up at once on several do not share a folder.
        if server is not None and is_alive(server):
            return False
        folder.claim(self._me)
        self._adopted.add(folder.run_id)
        return True

    def _state(self, folder: JobFolder) -> _State:
        worker, process = folder.worker(), self._processes.get(folder.run_id)
        if worker is not None and is_alive(worker):
            return _State.WORKING
        if process is not None:
            return _State.WORKING if process.poll() is None else _State.GONE
        return _State.WAITING if worker is None else _State.GONE

    def _standing(self, folder: JobFolder, job: Job, waiting: int) -> Standing:
        end, worker = folder.end(), folder.worker()
        started = None if worker is None else int(worker.started * 1000)
        if end is not None:
            return Standing(job=job, status=end.status, started=started, end=end)
        if worker is None:
            wait = self._waits.get(job.run_id)
            why = None if wait is None else wait.why
            return Standing(job=job, status=RunStatus.SCHEDULED, ahead=waiting, held_up=why)
        return Standing(job=job, status=RunStatus.RUNNING, started=started)

    def _readable(self) -> Iterator[tuple[JobFolder, Job]]:
        for folder in jobs.folders(self.folder):
            # It may be of another version, or just have been removed.
            with suppress(NotFound):
                yield folder, folder.job()

    def _live(self) -> Iterator[tuple[JobFolder, Job]]:
        """The jobs that have not ended."""
        for folder in jobs.folders(self.folder):
            if not folder.has_ended:
                with suppress(NotFound):
                    yield folder, folder.job()

    def _find(self, run_id: str) -> JobFolder:
        folder = JobFolder(self.folder / run_id)
        if not is_id(run_id) or not folder.path.is_dir():
            raise NotFound(f"there is no submitted run {short(run_id)}")
        return folder

    def _forget(self) -> None:
        """Remove the oldest of the jobs that ended."""
        ended = [(end.at, folder) for folder, _ in self._readable() if (end := folder.end()) is not None]
        for _, folder in sorted(ended, key=lambda one: one[0])[:-KEPT]:
            folder.remove()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One thread of one server at a time."""
        with self._lock, ExitStack() as opened:
            with jobs.writing(self.folder):
                make_private(self.folder)
                lock = opened.enter_context((self.folder / "lock").open("ab"))
                opened.enter_context(locked(lock.fileno(), _PATIENCE_SECONDS))
            yield


def _now() -> int:
    return time.time_ns() // 1_000_000
