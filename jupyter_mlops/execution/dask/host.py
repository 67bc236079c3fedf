"""What runs the points on a worker: kernels forked off a process that has executed the prefix, as on one machine.

The functions at the end are what a Dask worker is asked to call. What they take and give is bytes and texts, so that
they are found by name where another version of Python or of this package runs.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from jupyter_mlops.core.records import Reason, ReasonKind
from jupyter_mlops.execution.dask.parcel import Parcel, Point
from jupyter_mlops.execution.engine import TaskEvent
from jupyter_mlops.execution.fork.engine import TemplateProcess, find_prefix
from jupyter_mlops.execution.fork.prefix import Unfit
from jupyter_mlops.execution.local import CANCEL_SECONDS, WorkerProcess, end_lost, environment
from jupyter_mlops.execution.worker import decode, encode
from jupyter_mlops.recording.cancellation import leave_note
from jupyter_mlops.tracker import location

if TYPE_CHECKING:
    from jupyter_mlops.tracker.protocol import Tracker

REMARK, EVENT = "remark", "event"
"""Of a message, what it holds."""
NOT_BEGUN = b""
_GONE = Reason(
    kind=ReasonKind.RUNNER_LOST,
    message="the Dask worker of this run ended, or lost the process that drives the sweep",
)
_LOOK_SECONDS = 1.0
Tell = Callable[[str, str], None]
"""Told what a message holds, and that."""


class NotBegun(Exception):
    """The host was left before the point began."""


class Host:
    """One sweep on one worker. Leaving it, or hearing nothing of it for too long, ends all that it started."""

    def __init__(self, parcel: Parcel, token: str | None, threads: int, tell: Tell) -> None:
        """``threads`` are the points at once."""
        # A socket's path has 107 bytes at most.
        self._folder = Path(tempfile.mkdtemp(prefix="mlops-dask-"))
        self._idle: list[WorkerProcess] = []
        self._patience = parcel.patience
        self._heard = time.monotonic()
        self._tell = tell
        self._changed = threading.Condition()
        self._busy: dict[str, WorkerProcess] = {}
        self._over = threading.Event()
        self._is_prepared = threading.Event()
        try:
            self._set_up(parcel, token, threads)
        except BaseException:
            for process in self._idle:
                process.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._preparing = threading.Thread(target=self._prepare, name="mlops-prefix", daemon=True)
        self._preparing.start()
        threading.Thread(target=self._watch, name="mlops-lease", daemon=True).start()

    def _set_up(self, parcel: Parcel, token: str | None, threads: int) -> None:
        self._fork = self._folder / "fork"
        self._fork.mkdir()
        note = self._folder / "gone.json"
        leave_note(note, _GONE)
        self._common = msgspec.structs.replace(parcel.unpack(self._folder), cancel_note=str(note))
        self._token_file = self._folder / "token"
        self._environment = {**environment(threads), **self._credential(token)}
        if token is not None:
            for name in (location.TRACKING_TOKEN, location.MLFLOW_TOKEN):
                self._environment.pop(name, None)
        self._template = TemplateProcess(self._fork)
        # They import what they need while the template executes.
        for _ in range(threads):
            self._idle.append(self._new_process())

    @property
    def is_over(self) -> bool:
        """Whether it was left."""
        return self._over.is_set()

    def renew(self, token: str | None) -> None:
        """Whoever drives the sweep is heard of; with another ``token`` when it is not None."""
        self._heard = time.monotonic()
        if not self.is_over:
            self._credential(token)

    def perform(self, point: Point) -> TaskEvent:
        """Do one point; gives its end, after news of it."""
        task = point.task(self._common)
        self._is_prepared.wait()
        with self._process(task.run_id) as process:
            process.start(task)
            for event in process.news():
                if event.status.ended:
                    return event
                self._tell(EVENT, encode(event).decode())
            with self._tracker() as tracker:
                return end_lost(tracker, task, process.epitaph())

    def stop(self, run_id: str, reason: Reason) -> None:
        """Have a point end that is in progress; of no effect on others."""
        with self._changed:
            process = self._busy.get(run_id)
            if process is not None:
                process.stop(reason)

    def leave(self) -> None:
        """End all that goes on here. Points in progress end as those whose worker is gone."""
        with self._changed:
            if self.is_over:
                return
            self._over.set()
            processes = [*self._idle, *self._busy.values()]
        self._is_prepared.set()
        deadline = time.monotonic() + CANCEL_SECONDS
        for process in processes:
            process.cancel()
        for process in processes:
            try:
                process.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.process.kill()
        for process in self._idle:
            process.close()
        with self._changed:
            # Who waits for the end of a point still needs the folder.
            self._changed.wait_for(lambda: not self._busy, CANCEL_SECONDS)
        self._template.end()
        self._preparing.join()
        with self._template:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _prepare(self) -> None:
        """Execute what the points have in common."""
        try:
            prefix = find_prefix(self._common)
            with self._changed:
                # Who leaves ends what was started by then.
                if self.is_over:
                    return
                self._template.start(self._common, prefix, self._environment)
            self._template.await_ready()
            self._tell(REMARK, prefix.told())
        except (Unfit, OSError) as why:
            if not self.is_over:
                self._template.end()
                self._tell(REMARK, f"each point gets a fresh kernel: {why}")
        finally:
            self._is_prepared.set()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            if time.monotonic() - self._heard > self._patience:
                self.leave()

    @contextmanager
    def _process(self, run_id: str) -> Iterator[WorkerProcess]:
        with self._changed:
            if self.is_over:
                raise NotBegun
            process = self._idle.pop() if self._idle else self._new_process()
            self._busy[run_id] = process
        try:
            yield process
        finally:
            with self._changed:
                del self._busy[run_id]
                self._changed.notify_all()
                if keep := process.process.poll() is None and not self.is_over:
                    process.task = None
                    self._idle.append(process)
            if not keep:
                process.close()

    def _new_process(self) -> WorkerProcess:
        return WorkerProcess(self._environment, self._fork)

    def _credential(self, token: str | None) -> dict[str, str]:
        """Put the token where processes look for it at each call; the variables that say so."""
        if token is None:
            return {}
        partial = self._token_file.with_name("token.new")
        partial.touch(mode=0o600)
        partial.write_text(token, encoding="ascii")
        partial.replace(self._token_file)
        return {
            location.TRACKING_URL: self._common.tracking_url,
            location.TRACKING_TOKEN_FILE: str(self._token_file),
        }

    def _tracker(self) -> Tracker:
        task = self._common
        if location.is_service(task.tracking_url) and self._token_file.exists():
            from jupyter_mlops.tracker.remote import RemoteTracker

            return cast("Tracker", RemoteTracker(task.tracking_url, self._token_file.read_text(encoding="ascii")))
        from jupyter_mlops.tracker.connect import connect

        return connect(task.tracking_url, artifacts=task.artifacts_url)


# --- what a worker is asked to call ----------------------------------------------------------------------------------

_hosts: dict[str, Host] = {}
_making = threading.Lock()


async def receive(key: str, document: bytes, token: str | None, dask_worker: Any = None) -> str | None:
    """Make ready for a sweep; why that cannot be, or None. Dask gives ``dask_worker``."""
    return await asyncio.to_thread(_receive, key, document, token, dask_worker)


def _receive(key: str, document: bytes, token: str | None, worker: Any) -> str | None:
    def tell(what: str, text: str) -> None:
        worker.log_event(key, {what: text})

    with _making:
        if key in _hosts and not _hosts[key].is_over:
            return None
        parcel = msgspec.msgpack.decode(document, type=Parcel)
        refusal = parcel.refusal()
        if refusal is None:
            try:
                _hosts[key] = Host(parcel, token, worker.state.nthreads, tell)
            except OSError as error:  # a full disk, or no more processes
                return f"it cannot make ready: {error.strerror or error}"
        return refusal


def perform(key: str, document: bytes) -> bytes:
    """Do one point of a sweep that was received; its end. Nothing where the sweep is not known any more, as in a
    process that took the place of a worker: then the point has not begun."""
    host = _hosts.get(key)
    if host is None:
        return NOT_BEGUN
    try:
        return encode(host.perform(decode(document, Point)))
    except NotBegun:
        return NOT_BEGUN


def stop(key: str, reasons: dict[str, bytes]) -> None:
    """Have points end, by their runs."""
    if key in _hosts:
        for run_id, reason in reasons.items():
            _hosts[key].stop(run_id, decode(reason, Reason))


def renew(key: str, token: str | None) -> None:
    """See :meth:`Host.renew`."""
    if key in _hosts:
        _hosts[key].renew(token)


async def leave(key: str) -> None:
    """The sweep needs this worker no more."""
    host = _hosts.pop(key, None)
    if host is not None:
        await asyncio.to_thread(host.leave)
