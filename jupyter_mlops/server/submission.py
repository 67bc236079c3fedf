"""From what a user submits to a job: everything that can be refused is refused before anything is recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import msgspec

from jupyter_mlops.core.errors import Conflict, InvalidValue, MLOpsError
from jupyter_mlops.core.parameters import check, recordable
from jupyter_mlops.core.records import (
    Batch,
    Json,
    NewRun,
    Reason,
    ReasonKind,
    Run,
    RunChange,
    RunKind,
    RunStatus,
)
from jupyter_mlops.core.redaction import redact_params, redact_value
from jupyter_mlops.core.run_fields import RERUN_TAG
from jupyter_mlops.core.values import tag
from jupyter_mlops.execution.engine import DEFAULT_ENGINE, load_engine
from jupyter_mlops.execution.jobs import Job, SweepWork, published
from jupyter_mlops.execution.plan import record_sweep
from jupyter_mlops.execution.queue import Queue, Standing
from jupyter_mlops.execution.request import SweepRequest
from jupyter_mlops.execution.sweep import Place
from jupyter_mlops.recording.kernel import kernel_spec
from jupyter_mlops.recording.source import Source, parse_source
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.recording.variables import experiment_of
from jupyter_mlops.server.documents import Document
from jupyter_mlops.server.operations import Intent, NewRunJob, NewSweepJob
from jupyter_mlops.server.reproducing import repetition
from jupyter_mlops.tracker.protocol import Tracker


class Submitter:
    """Puts runs and sweeps into a queue. Waits for the tracker: not for the event loop.

    Parameters
    ----------
    queue
        Takes them.
    tracking_url
        The store, as another process of this machine opens it.
    limit
        The most notebooks that a sweep may run at once.
    """

    def __init__(self, queue: Queue, tracking_url: str, limit: int) -> None:
        self._queue = queue
        self._url = tracking_url
        self._limit = limit

    def run(self, tracker: Tracker, document: Document, asked: NewRunJob, by: str | None) -> Standing:
        """Submit a run.

        Raises
        ------
        NotebookError, UnknownParameter, ParameterTypeError, InvalidValue
            It cannot be run as asked; nothing was recorded.
        Conflict
            Too many wait.
        """
        source = _source(document, asked.kernel, asked.execution_timeout)
        parameters = check(source.declared, asked.parameters)
        experiment = tracker.experiments.ensure(experiment_name(asked.experiment, document), owner=asked.owner)
        task = NotebookTask(
            run_id="",
            experiment_id=experiment.experiment_id,
            tracking_url=self._url,
            notebook=document.name,
            source=document.source,
            parameters=parameters,
            name=asked.name,
            kernel_name=asked.kernel,
            cwd=document.cwd,
            execution_timeout=asked.execution_timeout,
            tags=asked.tags,
            submitted_by=by,
        )
        return self._submit(tracker, task, document.path, document.content)

    def sweep(self, tracker: Tracker, document: Document, asked: NewSweepJob, by: str | None) -> Standing:
        """Submit a sweep; errors as of :meth:`run`."""
        source = _source(document, asked.kernel, asked.execution_timeout)
        check_at_least_one("sample", asked.sample)
        check_at_least_one("jobs", asked.jobs)
        check_engine(asked)
        plan, secrets = sweep_request(document, asked, by).plan(source, asked.parameters)
        experiment = tracker.experiments.ensure(experiment_name(asked.experiment, document), owner=asked.owner)
        folder = self._queue.new()
        try:
            final = published(folder)
            (folder.notebook / document.name).write_bytes(document.content)
            run = record_sweep(
                tracker,
                experiment.experiment_id,
                plan,
                BytesIO(document.content),
                secrets=secrets,
                name=asked.name,
                run_id=final.run_id,
                waits=True,
            )
            with _ended_on_failure(tracker, final.run_id):
                job = Job(
                    run_id=final.run_id,
                    name=run.name,
                    path=document.path,
                    submitted=run.created,
                    submitted_by=by,
                    secrets=tuple(secrets),
                    sweep=SweepWork(
                        place=Place(tracking_url=self._url, cancel_note=str(final.cancel_note)),
                        engine=asked.engine or DEFAULT_ENGINE,
                        cluster=asked.cluster,
                        jobs=asked.jobs if asked.cluster else min(asked.jobs or self._limit, self._limit, plan.total),
                    ),
                )
                return self._queue.submit(folder, job, secrets)
        finally:
            folder.remove()

    def reproduce(self, tracker: Tracker, run_id: str, given: Mapping[str, Json], by: str | None) -> Standing:
        """Submit a recorded run again, as it was; errors as of :func:`~jupyter_mlops.server.reproducing.repetition`."""
        task, content = repetition(tracker, run_id, given, tracking_url=self._url, by=by)
        return self._submit(tracker, task, task.notebook, content)

    def retry(self, tracker: Tracker, run_id: str, given: Mapping[str, Json], by: str | None) -> Standing:
        """Submit a job again that has ended: a run as another run of the same notebook and parameters, a sweep to run
        what it lacks.

        Raises
        ------
        Conflict
            It has not ended, or it is a sweep of which nothing is missing.
        InvalidValue
            Its secret parameters are not among those ``given``, or others are.
        """
        standing = self._queue.get(run_id)
        job = standing.job
        # The process of a run may outlive its record a little, which stands in no other run's way.
        if standing.end is None and (job.task is None or not tracker.runs.get(run_id).status.ended):
            raise Conflict(f"{job.name} has not ended yet")
        lacking = [name for name in job.secrets if name not in given]
        if lacking:
            raise InvalidValue(f"{job.name} was given secrets, which are not kept; give again: {', '.join(lacking)}")
        kept = [name for name in given if name not in job.secrets]
        if kept:
            raise InvalidValue(f"{job.name} is done again with the same parameters, also {', '.join(kept)}")
        if job.task is None:
            if standing.status is RunStatus.FINISHED:
                raise Conflict(f"{job.name} has a finished run of each of its points")
            waits = RunChange(status=RunStatus.SCHEDULED)
            return self._queue.again(run_id, job, given, reopen=lambda: tracker.runs.change(run_id, waits))
        task = msgspec.structs.replace(
            job.task,
            parameters={**job.task.parameters, **given},
            name=None,
            tags={**job.task.tags, RERUN_TAG: run_id},
            submitted_by=by,
        )
        return self._submit(tracker, task, job.path, self._queue.notebook_of(run_id).read_bytes())

    def _submit(self, tracker: Tracker, task: NotebookTask, path: str, content: bytes) -> Standing:
        folder = self._queue.new()
        try:
            final = published(folder)
            name = Path(task.notebook).name
            (folder.notebook / name).write_bytes(content)
            run = _scheduled(tracker, final.run_id, task)
            with _ended_on_failure(tracker, final.run_id):
                plain, secrets = _parted(task.parameters)
                job = Job(
                    run_id=final.run_id,
                    name=run.name,
                    path=path,
                    submitted=run.created,
                    submitted_by=task.submitted_by,
                    secrets=tuple(secrets),
                    task=msgspec.structs.replace(
                        task,
                        run_id=final.run_id,
                        notebook=str(final.notebook / name),
                        parameters=plain,
                        name=run.name,
                        cancel_note=str(final.cancel_note),
                    ),
                )
                return self._queue.submit(folder, job, secrets)
        finally:
            folder.remove()


def sweep_request(document: Document, asked: NewSweepJob | Intent, by: str | None = None) -> SweepRequest:
    """What is asked for, as it is asked for everywhere."""
    return SweepRequest(
        notebook=document.source,
        space=asked.grid,
        sample=asked.sample,
        seed=asked.seed,
        optimize=asked.optimize,
        trials=asked.trials,
        sampler=asked.sampler,
        metric=asked.metric,
        # Here, the direction is there also when it was not chosen.
        maximize=None if asked.maximize else False,
        stop=asked.stop,
        retries=asked.retries,
        budget=asked.budget,
        kernel=asked.kernel,
        cwd=document.cwd,
        execution_timeout=asked.execution_timeout,
        tags=asked.tags,
        submitted_by=by,
    )


def check_engine(asked: NewSweepJob | Intent) -> None:
    """Raise ``InvalidValue`` or ``MissingDependency`` unless what is to run the notebooks is there."""
    load_engine(asked.engine or DEFAULT_ENGINE, asked.cluster)


def _scheduled(tracker: Tracker, run_id: str, task: NotebookTask) -> Run:
    """The record of a run that waits."""
    params, _ = recordable(task.parameters)
    return tracker.runs.create(
        NewRun(
            run_id=run_id,
            experiment_id=task.experiment_id,
            kind=RunKind.NOTEBOOK,
            name=task.name,
            status=RunStatus.SCHEDULED,
            source=task.source or task.notebook,
            submitted_by=task.submitted_by,
            batch=Batch(params=redact_params(params), tags=tuple(tag(key, value) for key, value in task.tags.items())),
        )
    )


@contextmanager
def _ended_on_failure(tracker: Tracker, run_id: str) -> Iterator[None]:
    """End a run that cannot take its turn after all."""
    try:
        yield
    except Exception as error:
        reason = Reason(kind=ReasonKind.ERROR, message=f"it could not be submitted: {error}")
        with suppress(MLOpsError):
            tracker.runs.change(run_id, RunChange(status=RunStatus.FAILED, reason=reason))
        raise


def _source(document: Document, kernel: str | None, execution_timeout: float | None) -> Source:
    check_timeout(execution_timeout)
    source = parse_source(document.content, document.path)
    kernel_spec(kernel or source.kernel)
    return source


def check_timeout(seconds: float | None) -> None:
    """Raise ``InvalidValue`` unless it is a time that a cell may take."""
    if seconds is not None and not seconds > 0:
        raise InvalidValue(f"execution_timeout: {seconds} is no time that a cell may take, in seconds")


def check_at_least_one(field: str, number: int | None) -> None:
    """Raise ``InvalidValue`` for a number that is given and below 1."""
    if number is not None and number < 1:
        raise InvalidValue(f"{field}: {number} is too small; it is at least 1")


def experiment_name(asked: str | None, document: Document) -> str:
    """Where runs of the notebook are recorded."""
    return asked or experiment_of(document.name)


def _parted(values: Mapping[str, Json]) -> tuple[dict[str, Json], dict[str, Json]]:
    """Parameters in two parts: those that a file may hold, and secrets."""
    # By what they look like: a NaN is not equal to itself.
    secrets = {name for name, value in values.items() if repr(redact_value(name, value)) != repr(value)}
    plain = {name: value for name, value in values.items() if name not in secrets}
    return plain, {name: value for name, value in values.items() if name in secrets}
