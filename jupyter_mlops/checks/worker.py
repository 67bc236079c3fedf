"""The worker: claims the jobs of checks, does each in a sandbox of its own, and reports what came out.

A job is the worker's as long as it renews its lease; what a worker that was killed had claimed is another's to claim
when the lease is over.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import msgspec

from jupyter_mlops.checks.check import Finding, Subject, installed_checks, load_check
from jupyter_mlops.checks.isolation import Isolation
from jupyter_mlops.checks.sandbox import DEFAULT_USER, Limits, Sandbox
from jupyter_mlops.core.checks import (
    LEASE_SECONDS,
    LONGEST_LOG,
    LONGEST_SUMMARY,
    TOKEN_PREFIX,
    CheckJob,
    CheckResult,
    Verdict,
    cost,
)
from jupyter_mlops.core.credentials import new_token, token_digest
from jupyter_mlops.core.errors import Conflict, InvalidValue, MLOpsError, NotFound, PermissionDenied, Unavailable
from jupyter_mlops.core.formats import now, printable
from jupyter_mlops.core.records import Json
from jupyter_mlops.tracker import wire
from jupyter_mlops.tracker.location import is_service
from jupyter_mlops.tracker.protocol import Checks, Tracker

logger = logging.getLogger("jupyter_mlops.worker")

IDLE_SECONDS = 5.0
"""How long a worker that found no job waits before it asks again."""
MOST_ATTEMPTS = 3
"""A job that was begun so often and never reported is not begun again: it may be what ended its workers."""
_LOST = (Conflict, NotFound, PermissionDenied)


class Worker:
    """Does one job after another.

    Parameters
    ----------
    tracker
        The shared store; who it acts as must be allowed to claim jobs.
    jobs
        The queue; the store's own when None.
    names
        The checks to do; all that are installed when empty.
    limits, user
        Of each enclosed process; see :class:`~jupyter_mlops.checks.sandbox.Sandbox`.
    repositories
        Places of git repositories that may be fetched; see :mod:`jupyter_mlops.checks.checkout`.
    lease_seconds
        How long a claim holds without being renewed.
    """

    def __init__(
        self,
        tracker: Tracker,
        *,
        jobs: Checks | None = None,
        names: Sequence[str] = (),
        limits: Limits | None = None,
        user: str | None = DEFAULT_USER,
        repositories: Sequence[str] = (),
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        for name in names:
            load_check(name)
        self._tracker = tracker
        self._jobs = tracker.checks if jobs is None else jobs
        self.names = tuple(names) or tuple(sorted(installed_checks(), key=lambda name: (cost(name), name)))
        self._limits = limits or Limits()
        self._user = user
        self._repositories = tuple(repositories)
        self._lease_seconds = lease_seconds
        self._stopped = threading.Event()

    def isolation(self) -> Isolation:
        """What encloses the code of candidates on this machine, found out by enclosing a process."""
        with Sandbox(self._limits, self._user) as sandbox:
            return sandbox.run("builtins:str", {}).isolation

    def run(self, *, once: bool = False, on_result: Callable[[CheckJob, CheckResult], None] | None = None) -> None:
        """Do jobs until :meth:`stop` is called, or with ``once`` until there is none to claim. ``on_result`` is told
        what was reported."""
        while not self._stopped.is_set():
            try:
                done = self.step()
            except Unavailable as error:
                logger.warning("the queue cannot be reached: %s", error.message)
                done = None
            if done is not None:
                if on_result is not None and done[1] is not None:
                    on_result(done[0], done[1])
            elif once:
                return
            else:
                self._stopped.wait(IDLE_SECONDS)

    def stop(self) -> None:
        """Begin no further job."""
        self._stopped.set()

    def step(self) -> tuple[CheckJob, CheckResult | None] | None:
        """Claim one job, do it and report; None when there was none. The result is None when the job was lost to
        another worker, or closed, meanwhile."""
        token = new_token(TOKEN_PREFIX) if is_service(self._tracker.url) else None
        job = self._jobs.claim(self.names, token_digest=None if token is None else token_digest(token))
        if job is None:
            return None
        logger.info("%s of %s version %d", job.name, job.model, job.version)
        with Sandbox(self._limits, self._user) as sandbox, self._held(job, sandbox) as is_held:
            result = perform(Subject(self._tracker, job, sandbox, token, self._repositories))
            if is_held() and self._report(job, result):
                return job, result
        logger.warning("the job %s is not this worker's any more", job.job_id)
        return job, None

    @contextlib.contextmanager
    def _held(self, job: CheckJob, sandbox: Sandbox) -> Iterator[Callable[[], bool]]:
        """Renew the lease while this lasts; when it is lost, what runs in the sandbox is ended."""
        over, lost = threading.Event(), threading.Event()

        def renew() -> None:
            while not over.wait(self._lease_seconds / 3):
                try:
                    self._jobs.renew(job.job_id, job.claim)
                except _LOST:
                    lost.set()
                    sandbox.stop()
                    return
                except MLOpsError as error:
                    logger.warning("the lease of %s cannot be renewed now: %s", job.job_id, error.message)

        thread = threading.Thread(target=renew, name="mlops-lease", daemon=True)
        thread.start()
        try:
            yield lambda: not lost.is_set()
        finally:
            over.set()
            thread.join()

    def _report(self, job: CheckJob, result: CheckResult) -> bool:
        """Report, as often as it takes while the lease may hold; False when the job is not this worker's any more."""
        deadline = time.monotonic() + self._lease_seconds
        while True:
            try:
                self._jobs.report(job.job_id, job.claim, result)
                return True
            except _LOST:
                return False
            except InvalidValue as error:
                # Something of it cannot be kept; then that is the result.
                result = CheckResult(
                    name=job.name,
                    verdict=Verdict.ERROR,
                    summary=f"the result ({result.verdict.value}) cannot be stored: {error.message}"[:LONGEST_SUMMARY],
                    started=result.started,
                    ended=result.ended,
                )
            except Unavailable:
                if time.monotonic() > deadline:
                    return False
                self._stopped.wait(1.0)


def perform(subject: Subject) -> CheckResult:
    """Do the check of a job; whatever goes wrong is a result too."""
    job, started = subject.job, now()
    try:
        if job.attempt > MOST_ATTEMPTS:
            raise Conflict(f"it was begun {job.attempt - 1} times, and no worker came to its end")
        finding = load_check(job.name)(subject)
        detail = _detail(finding)
    except Exception as error:
        if isinstance(error, MLOpsError):
            told = error.message
        else:
            told = f"{type(error).__name__}: {error}"
            logger.error("the check %s failed", job.name, exc_info=error)
        finding, detail = Finding(verdict=Verdict.ERROR, summary=told), {}
    return CheckResult(
        name=job.name,
        verdict=finding.verdict,
        # Foreign code has a say in both.
        summary=printable(finding.summary)[:LONGEST_SUMMARY],
        detail=detail,
        log=printable(finding.log, lines=True)[-LONGEST_LOG:],
        started=started,
        ended=now(),
    )


def _detail(finding: Finding) -> dict[str, Json]:
    """What is known beside the summary, as JSON has it."""
    detail: dict[str, Json] = {} if finding.detail is None else {"found": finding.detail}
    if finding.isolation is not None:
        detail["isolation"] = {
            "confined": finding.isolation.is_confined,
            "missing": list(finding.isolation.missing),
        }
    # NaN and what foreign code may have answered, in words that JSON has.
    return cast("dict[str, Json]", msgspec.json.decode(wire.encode(detail, wire.JSON)))
