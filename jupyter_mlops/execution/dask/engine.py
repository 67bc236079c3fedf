"""The engine ``dask``: points of a sweep on the workers of a Dask cluster.

Dask carries the points to workers and their ends back. Which worker does a point, and what happens to one whose worker
is gone, is decided here: Dask would do it again under the same run, while the first may still go on.
"""

from __future__ import annotations

import queue
import time
from collections import Counter, defaultdict, deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from jupyter_mlops.core.errors import InvalidValue, MLOpsError, NotFound, Unavailable
from jupyter_mlops.core.formats import duration, now
from jupyter_mlops.core.records import Reason, ReasonKind, Run
from jupyter_mlops.execution.dask.attendant import Attendant, Ended, Message, Workers
from jupyter_mlops.execution.dask.cluster import Cluster, check_cluster, find_cluster, is_new
from jupyter_mlops.execution.dask.host import NOT_BEGUN
from jupyter_mlops.execution.dask.parcel import Parcel, Point, pack
from jupyter_mlops.execution.engine import STOPS_SECONDS, NotebookTask, Remark, Stops, TaskEvent, no_stops
from jupyter_mlops.execution.local import CANCEL_SECONDS, check_jobs, default_jobs
from jupyter_mlops.execution.worker import decode, record_failure
from jupyter_mlops.recording.cancellation import why_cancelled
from jupyter_mlops.tracker.location import is_service

if TYPE_CHECKING:
    from jupyter_mlops.tracker.protocol import Tracker

PATIENCE_SECONDS = 60.0
"""How long workers do without hearing of who drives the sweep."""
WORKERS_SECONDS = 600.0
"""How long a sweep waits while there is no worker: clusters take minutes to begin."""
TOKEN_SECONDS = 4 * 3600
"""How long a token of the workers counts; it is replaced after half of that."""


class DaskEngine:
    """At most ``jobs`` points at once, on the threads of the workers that a cluster has at any time.

    The tasks of one call differ in their swept parameters only. A point whose worker is gone ends FAILED (``runner
    lost``). When this process is gone, what goes on ends so, too.

    Parameters
    ----------
    cluster
        The address of a scheduler, ``gateway:URL`` or ``local:N``.
    patience
        Seconds that workers do without hearing of this process.
    """

    def __init__(self, cluster: str, *, patience: float = PATIENCE_SECONDS) -> None:
        """``InvalidValue`` when ``cluster`` names none, ``MissingDependency`` without Dask."""
        check_cluster(cluster)
        self._cluster = cluster
        self._patience = patience

    @property
    def usual_jobs(self) -> int | None:
        """As many as there are threads; of a new cluster of a gateway, workers as this machine has cores."""
        return default_jobs() if is_new(self._cluster) else None

    def run(
        self, tasks: Iterable[NotebookTask], *, jobs: int, stops: Stops = no_stops
    ) -> Generator[TaskEvent | Remark, None, None]:
        """See :meth:`jupyter_mlops.execution.engine.Engine.run`."""
        check_jobs(jobs)
        return self._run(iter(tasks), jobs, stops)

    def _run(self, tasks: Iterator[NotebookTask], jobs: int, stops: Stops) -> Generator[TaskEvent | Remark, None, None]:
        from jupyter_mlops.tracker.connect import connect

        first = next(tasks, None)
        if first is None:
            return
        parcel = pack(first, patience=self._patience)
        with (
            connect(first.tracking_url, artifacts=first.artifacts_url) as tracker,
            find_cluster(self._cluster, jobs) as cluster,
        ):
            drive = _Drive(cluster, parcel, tracker, stops)
            try:
                yield from drive.events(chain([first], tasks), jobs)
            finally:
                drive.end(first.cancel_note)


class _Credential:
    """The token that workers show the service: that of the user, for a limited time."""

    def __init__(self, tracker: Tracker, is_needed: bool) -> None:
        self._tracker = tracker
        self._is_needed = is_needed
        self._token: str | None = None
        self._issued: list[str] = []
        self._renew_at = 0

    def __call__(self) -> str | None:
        if self._is_needed and now() >= self._renew_at:
            issued = self._tracker.issue_token(TOKEN_SECONDS)
            self._token = issued.token
            self._issued.append(issued.token)
            self._renew_at = (now() + issued.expires) // 2
        return self._token

    def revoke(self) -> None:
        """Have no token count any more that workers were given."""
        for token in self._issued:
            with suppress(MLOpsError):  # it counts no longer than it says
                self._tracker.revoke_token(token)


class _Placed(msgspec.Struct):
    """A point that a worker does."""

    task: NotebookTask
    address: str
    future: Any
    lost_at: float | None = None
    """When its worker was found to be gone."""
    problem: str = ""


class _Drive:
    """One call of the engine."""

    def __init__(self, cluster: Cluster, parcel: Parcel, tracker: Tracker, stops: Stops) -> None:
        self._parcel = parcel
        self._tracker = tracker
        self._stops = stops
        self._placed: dict[str, _Placed] = {}
        self._waiting: deque[NotebookTask] = deque()
        """Points that were placed and not begun."""
        self._workers = Workers({}, {}, 1)
        self._remarks: set[str] = set()
        self._there_were_workers = time.monotonic()
        self._credential = _Credential(tracker, is_service(parcel.task.tracking_url))
        # What is wrong with the service is known before a cluster is bothered.
        self._credential()
        try:
            self._attendant = Attendant(cluster, parcel, self._credential)
        except BaseException:
            self._credential.revoke()
            raise

    def events(self, tasks: Iterator[NotebookTask], jobs: int) -> Generator[TaskEvent | Remark, None, None]:
        more = True
        next_look = time.monotonic() + STOPS_SECONDS
        while True:
            while (more or self._waiting) and len(self._placed) < jobs and (address := self._free()) is not None:
                task = self._waiting.popleft() if self._waiting else next(tasks, None)
                if task is None:
                    more = False
                else:
                    self._place(task, address)
            if not more and not self._placed and not self._waiting:
                return
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + STOPS_SECONDS
                self._stop(self._stops())
                yield from self._settled()
                continue
            try:
                news = self._attendant.news.get(timeout=max(0.0, next_look - time.monotonic()))
            except queue.Empty:
                continue
            if isinstance(news, Workers):
                yield from self._look(news)
            elif isinstance(news, Message):
                yield from self._heard(news)
            elif news.run_id in self._placed:
                yield from self._ended(news)

    def end(self, cancel_note: str | None) -> None:
        """Cancel what is in progress, wait for its end, and leave the workers."""
        reason = why_cancelled(cancel_note, "interrupted")
        deadline = time.monotonic() + CANCEL_SECONDS
        while self._placed and time.monotonic() < deadline:
            self._stop(dict.fromkeys(self._placed, reason))
            until = time.monotonic() + STOPS_SECONDS
            while self._placed and (left := until - time.monotonic()) > 0:
                try:
                    news = self._attendant.news.get(timeout=left)
                except queue.Empty:
                    break
                if isinstance(news, Ended):
                    self._placed.pop(news.run_id, None)
        if self._attendant.leave():
            # Until they have, workers record by it how points end.
            self._credential.revoke()
        for placed in self._placed.values():
            run = self._found(placed.task.run_id)
            # What had not begun leaves no record.
            if run is not None and not run.status.ended:
                self._close(placed)

    def _free(self) -> str | None:
        """A worker that can take one more point: the one that does least."""
        taken = Counter(placed.address for placed in self._placed.values() if placed.lost_at is None)
        threads = self._workers.threads
        best = min(threads, key=lambda address: taken[address] / threads[address], default=None)
        return best if best is not None and taken[best] < threads[best] else None

    def _place(self, task: NotebookTask, address: str) -> None:
        try:
            future = self._attendant.place(Point.of(task), address)
        except Exception:  # noqa: BLE001 - the connection is gone in one of many ways; the next one is being made
            self._put_back(task, address)
        else:
            self._placed[task.run_id] = _Placed(task, address, future)

    def _put_back(self, task: NotebookTask, address: str) -> None:
        """The point has not begun, and the worker is not ready for it."""
        self._waiting.append(task)
        self._attendant.forget(address)
        self._workers = Workers(
            {known: threads for known, threads in self._workers.threads.items() if known != address},
            self._workers.refused,
            self._workers.waiting + 1,
        )

    def _look(self, workers: Workers) -> Iterator[Remark]:
        """Take in which workers there are."""
        self._workers = workers
        for placed in self._placed.values():
            if placed.lost_at is None and placed.address not in workers.threads:
                self._lose(placed, f"the Dask worker {placed.address} is gone")
        at = time.monotonic()
        if workers.threads or self._placed:
            self._there_were_workers = at
        told = [f"the worker {address} is not used: {why}" for address, why in sorted(workers.refused.items())]
        if not workers.threads and not workers.waiting and not self._placed and told:
            raise InvalidValue(told[0].replace("is not used", "cannot run this notebook as it is run here"))
        if at - self._there_were_workers > WORKERS_SECONDS:
            waited = duration(1000 * WORKERS_SECONDS)
            raise Unavailable(f"the Dask cluster has had no worker for {waited}: {workers.trouble or 'none came'}")
        if workers.trouble is not None:
            told.append(f"waiting for the Dask scheduler: {workers.trouble}")
        yield from map(self._remark, [text for text in told if text not in self._remarks])

    def _heard(self, message: Message) -> Iterator[TaskEvent | Remark]:
        if message.remark is not None and message.remark not in self._remarks:
            yield self._remark(message.remark)
        event = None if message.event is None else _told(message.event.encode())
        # It may come after the point's end, which itself comes as an answer.
        if event is not None and event.run_id in self._placed and not event.status.ended:
            yield event

    def _remark(self, text: str) -> Remark:
        self._remarks.add(text)
        return Remark(text=text)

    def _ended(self, ended: Ended) -> Iterator[TaskEvent]:
        placed = self._placed[ended.run_id]
        if ended.answer is None:
            self._lose(placed, ended.problem)
            return
        if ended.answer == NOT_BEGUN:
            del self._placed[ended.run_id]
            self._put_back(placed.task, placed.address)
            return
        event = _told(ended.answer)
        if event is None or event.run_id != ended.run_id or not event.status.ended:
            self._lose(placed, f"the Dask worker {placed.address} gave an answer that is no end of the point")
            return
        del self._placed[ended.run_id]
        yield event

    def _lose(self, placed: _Placed, problem: str) -> None:
        """Nobody will tell how the point ends."""
        if placed.lost_at is None:
            placed.lost_at, placed.problem = time.monotonic(), problem
            placed.future.release()

    def _settled(self) -> Iterator[TaskEvent]:
        """The ends of points whose workers are gone. A worker's own processes bring them to an end; where these are
        gone too, we do, when they would have."""
        latest = time.monotonic() - self._parcel.patience - CANCEL_SECONDS
        for placed in list(self._placed.values()):
            if placed.lost_at is None:
                continue
            try:
                run = self._found(placed.task.run_id)
                if run is None or not run.status.ended:
                    if placed.lost_at > latest:
                        continue
                    run = self._close(placed)
            except Unavailable:  # the store is away for a while
                continue
            del self._placed[placed.task.run_id]
            yield TaskEvent(run_id=run.run_id, status=run.status, progress=run.progress, reason=run.reason)

    def _close(self, placed: _Placed) -> Run:
        reason = Reason(kind=ReasonKind.RUNNER_LOST, message=placed.problem or "its Dask worker does not answer")
        return record_failure(self._tracker, placed.task, reason)

    def _found(self, run_id: str) -> Run | None:
        try:
            return self._tracker.runs.get(run_id)
        except NotFound:
            return None

    def _stop(self, asked: Mapping[str, Reason]) -> None:
        by_address: defaultdict[str, dict[str, Reason]] = defaultdict(dict)
        for run_id in asked.keys() & self._placed.keys():
            by_address[self._placed[run_id].address][run_id] = asked[run_id]
        if by_address:
            self._attendant.stop(by_address)


def _told(document: bytes) -> TaskEvent | None:
    """What a worker says of a point; None when it makes no sense, since a cluster is whoever is on it."""
    try:
        return decode(document, TaskEvent)
    except (ValueError, RecursionError, msgspec.ValidationError):
        return None
