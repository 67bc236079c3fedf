"""What answers the extension's own requests; a method for each of :data:`~.operations.ENDPOINTS`."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

import msgspec

from jupyter_mlops._version import __version__
from jupyter_mlops.core.errors import InvalidValue, MLOpsError
from jupyter_mlops.core.parameters import json_schema
from jupyter_mlops.core.records import RunStatus
from jupyter_mlops.core.redaction import masked_url
from jupyter_mlops.core.reproduction import Reproduction
from jupyter_mlops.execution.engine import installed_engines
from jupyter_mlops.execution.queue import Queue, Standing
from jupyter_mlops.recording.source import parse_source
from jupyter_mlops.server.documents import Document, Documents
from jupyter_mlops.server.identity import owner
from jupyter_mlops.server.operations import (
    Again,
    AtPath,
    Form,
    Intent,
    JobLog,
    Jobs,
    JobStatus,
    Limit,
    NewRunJob,
    NewSweepJob,
    Nothing,
    Plan,
    Repeated,
    ServerStatus,
    Since,
    Spool,
)
from jupyter_mlops.server.planning import plan_of
from jupyter_mlops.server.repeating import intent_of
from jupyter_mlops.server.reproducing import judgement
from jupyter_mlops.server.store import LazyTracker
from jupyter_mlops.server.submission import Submitter, experiment_name
from jupyter_mlops.tracker.limits import quota_warnings
from jupyter_mlops.tracker.location import is_service
from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.undelivered import undelivered

LARGEST_PART = 256 << 10
"""Bytes of a log in one answer."""
MOST_LISTED = 1000

ENDS = (
    "When this Jupyter server is stopped, the run ends as FAILED (server stopped); what it has done until then is kept."
)
GOES_ON = (
    "When this Jupyter server is stopped, the run goes on as long as this machine does; when the machine (or pod) is "
    "stopped, it ends as FAILED (server stopped), and what it has done until then is kept."
)

T = TypeVar("T")


class Desk:
    """Takes and shows submitted runs.

    Parameters
    ----------
    tracker, queue, submitter, documents
        What it works with.
    executor
        Where waiting is allowed.
    url
        The store's.
    limit
        Notebooks at once.
    ends_with_server
        What becomes of runs when the server is stopped, as users are told.
    changed
        Called when there is something for the queue to do.
    """

    def __init__(
        self,
        *,
        tracker: LazyTracker,
        queue: Queue,
        submitter: Submitter,
        documents: Documents,
        executor: Executor,
        url: str,
        limit: int,
        ends_with_server: bool,
        changed: Callable[[], None],
    ) -> None:
        self._tracker = tracker
        self._queue = queue
        self._submitter = submitter
        self._documents = documents
        self._executor = executor
        self._url = url
        self._limit = limit
        self._ends_with_server = ends_with_server
        self._changed = changed

    async def submit(self, asked: NewRunJob, by: str | None) -> JobStatus:
        document = await self._documents.read(asked.path)
        tracker = await self._tracker.opened()
        return await self._queued(lambda: self._submitter.run(tracker, document, asked, by))

    async def sweep(self, asked: NewSweepJob, by: str | None) -> JobStatus:
        document = await self._documents.read(asked.path)
        tracker = await self._tracker.opened()
        return await self._queued(lambda: self._submitter.sweep(tracker, document, asked, by))

    async def reproduce(self, asked: Again, by: str | None, run_id: str) -> JobStatus:
        tracker = await self._tracker.opened()
        return await self._queued(lambda: self._submitter.reproduce(tracker, run_id, asked.parameters, by))

    async def reproduction(self, asked: Repeated, by: str | None, run_id: str) -> Reproduction:  # noqa: ARG002 - as all
        tracker = await self._tracker.opened()
        return await self._wait(lambda: judgement(tracker, run_id, asked.again, asked.tolerance))

    async def retry(self, asked: Again, by: str | None, run_id: str) -> JobStatus:
        tracker = await self._tracker.opened()
        return await self._queued(lambda: self._submitter.retry(tracker, run_id, asked.parameters, by))

    async def cancel(self, asked: Nothing, by: str | None, run_id: str) -> JobStatus:  # noqa: ARG002 - as all
        def cancelled() -> Standing:
            self._queue.cancel(run_id, by or owner())
            return self._queue.get(run_id)

        return await self._queued(cancelled)

    async def jobs(self, asked: Limit, by: str | None) -> Jobs:  # noqa: ARG002 - as all
        if not 1 <= asked.limit <= MOST_LISTED:
            raise InvalidValue(f"limit: {asked.limit} is out of range; 1 to {MOST_LISTED} are possible")
        standings = await self._wait(self._queue.standings)
        return Jobs(jobs=tuple(map(self._told, standings[: asked.limit])))

    async def job(self, asked: Nothing, by: str | None, run_id: str) -> JobStatus:  # noqa: ARG002 - as all
        return await self._wait(lambda: self._with_record(self._queue.get(run_id)))

    async def log(self, asked: Since, by: str | None, run_id: str) -> JobLog:  # noqa: ARG002 - as all
        return await self._wait(lambda: _part(self._queue.log_of(run_id), asked.start))

    async def form(self, asked: AtPath, by: str | None) -> Form:  # noqa: ARG002 - as all
        document = await self._documents.read(asked.path)
        source = await self._wait(lambda: parse_source(document.content, document.path))
        return Form(
            path=document.path,
            kernel=source.kernel,
            language=source.language,
            experiment=_proposed(document),
            has_parameters_cell=source.parameters_cell is not None,
            parameters=json_schema(source.declared),
            is_shared=document.is_shared,
            engines=await self._wait(installed_engines),
        )

    async def plan(self, asked: Intent, by: str | None) -> Plan:  # noqa: ARG002 - as all
        document = await self._documents.read(asked.path)
        return await self._wait(lambda: plan_of(document, asked, self._limit, self._ends_with_server))

    async def intent(self, asked: Nothing, by: str | None, run_id: str) -> Intent:  # noqa: ARG002 - as all
        tracker = await self._tracker.opened()
        return await self._wait(lambda: intent_of(tracker, tracker.runs.get(run_id), self._documents.path_of))

    async def status(self, asked: Nothing, by: str | None) -> ServerStatus:  # noqa: ARG002 - as all
        tracker = await self._tracker.opened()
        return await self._wait(lambda: self._status(tracker))

    async def _queued(self, function: Callable[[], Standing]) -> JobStatus:
        standing = await self._wait(function)
        self._changed()
        return await self._wait(lambda: self._with_record(standing))

    async def _wait(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    def _told(self, standing: Standing) -> JobStatus:
        job, end = standing.job, standing.end
        return JobStatus(
            run_id=job.run_id,
            name=job.name,
            path=job.path,
            is_sweep=job.sweep is not None,
            status=standing.status,
            submitted=job.submitted,
            submitted_by=job.submitted_by,
            started=standing.started,
            ended=None if end is None else end.at,
            reason=None if end is None else end.reason,
            ahead=standing.ahead,
            secrets=job.secrets,
            notice=None if end is not None else standing.held_up or (ENDS if self._ends_with_server else GOES_ON),
        )

    def _with_record(self, standing: Standing) -> JobStatus:
        told = self._told(standing)
        try:
            run = self._tracker.runs.get(told.run_id)
        except MLOpsError:
            return told
        return msgspec.structs.replace(told, run=run)

    def _status(self, tracker: Tracker) -> ServerStatus:
        problem = None
        spool = Spool(waiting=None, refused=0)
        warnings: tuple[str, ...] = ()
        try:
            tracker.experiments.search(limit=1)
            left = undelivered(tracker)
            spool = Spool(waiting=left.waiting, refused=len(left.refused), damaged=tuple(left.damaged))
            warnings = quota_warnings(tracker)
        except MLOpsError as error:
            problem = error.message
        standings = self._queue.standings()
        return ServerStatus(
            version=__version__,
            url=masked_url(self._url),
            is_service=is_service(self._url),
            connected=problem is None,
            problem=problem,
            owner=owner(),
            working=sum(standing.status is RunStatus.RUNNING for standing in standings),
            waiting=sum(standing.status is RunStatus.SCHEDULED for standing in standings),
            limit=self._limit,
            spool=spool,
            warnings=warnings,
        )


def _proposed(document: Document) -> str:
    """The experiment's name that a form begins with; none where the notebook is called as no experiment can be."""
    try:
        return experiment_name(None, document)
    except InvalidValue:
        return ""


def _part(log: Path, start: int) -> JobLog:
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            start = max(0, size + start) if start < 0 else min(start, size)
            file.seek(start)
            content = file.read(LARGEST_PART)
    except FileNotFoundError:
        return JobLog(text="", start=0, end=0)
    # A character that the part ends within belongs to the next one, unless that is all there is.
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(content)
    left, _ = decoder.getstate()
    if not text:
        text, left = decoder.decode(b"", final=True), b""
    return JobLog(text=text, start=start, end=start + len(content) - len(left))
