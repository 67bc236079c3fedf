"""What a check is, and how it is found.

Beside those of this package, checks are found by the entry point group ``jupyter_mlops.checks``: the entry point's name
is what a policy calls it, its object is a class that is constructed without arguments and implements :class:`Check`. It
is code of whoever installed it beside the worker, and is trusted as that; what belongs to a candidate it runs in
:attr:`Subject.sandbox` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from jupyter_mlops.checks.isolation import Isolation
from jupyter_mlops.checks.sandbox import Enclosed, Sandbox
from jupyter_mlops.core.checks import SETTINGS, CheckJob, CheckSettings, Verdict, check_settings
from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.records import Json, ModelVersion, Run
from jupyter_mlops.core.suggestions import did_you_mean
from jupyter_mlops.tracker.protocol import Tracker

GROUP = "jupyter_mlops.checks"

S = TypeVar("S", bound=CheckSettings)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found out."""

    verdict: Verdict
    summary: str
    """One sentence for a reviewer."""
    detail: Json = None
    log: str = ""
    isolation: Isolation | None = None
    """What enclosed the candidate's code; None where none of it ran."""


class Check(Protocol):
    """Something that a candidate must pass."""

    def __call__(self, subject: Subject) -> Finding:
        """Find out whether the candidate passes.

        Raises
        ------
        MLOpsError
            It cannot be found out; the message says why. The result is an error then, not a failure.
        """


class Subject:
    """A candidate as a check is given it.

    Parameters
    ----------
    tracker
        The worker's own; never reachable by what runs in the sandbox.
    token
        Of the job, for code that may read from the service; None where there is no service.
    repositories
        Places of git repositories that may be fetched; see :mod:`jupyter_mlops.checks.checkout`.
    """

    def __init__(
        self,
        tracker: Tracker,
        job: CheckJob,
        sandbox: Sandbox,
        token: str | None = None,
        repositories: Sequence[str] = (),
    ) -> None:
        self.tracker = tracker
        self.job = job
        self.sandbox = sandbox
        self.token = token
        self.repositories = repositories

    def settings(self, kind: type[S]) -> S:
        """What the policy says, as ``kind``; ``InvalidValue`` when it makes no sense."""
        found = check_settings(self.job.name, self.job.settings)
        if not isinstance(found, kind):
            raise InvalidValue(f"{self.job.name!r} has no settings of the kind {kind.__name__}")
        return found

    @cached_property
    def candidate(self) -> ModelVersion:
        return self.tracker.models.version(self.job.model, self.job.version)

    @cached_property
    def champion(self) -> ModelVersion | None:
        """The version that the alias pointed at when the request was made; None when at none."""
        if self.job.champion is None:
            return None
        return self.tracker.models.version(self.job.model, self.job.champion)

    @cached_property
    def owner(self) -> str:
        """Whose the model is."""
        return self.tracker.models.get(self.job.model).owner

    def run_of(self, version: ModelVersion) -> Run | None:
        """The run that a version came from; None where there is none any more."""
        if version.run_id is None:
            return None
        try:
            return self.tracker.runs.get(version.run_id)
        except NotFound:
            return None

    def folder(self, version: ModelVersion) -> Path:
        """The version's files, verified, where the sandbox may read them."""
        place = self.sandbox.given / f"version-{version.version}"
        if not place.exists():
            self.tracker.models.download(version.model, version.version, place)
        return place

    def experiment_id(self) -> str:
        """The experiment of the model's owner in which the runs of checks are recorded."""
        return self.tracker.experiments.ensure(f"{self.job.model} checks", owner=self.owner).experiment_id


def passed(summary: str, detail: Json = None) -> Finding:
    return Finding(verdict=Verdict.PASSED, summary=summary, detail=detail)


def failed(summary: str, detail: Json = None) -> Finding:
    return Finding(verdict=Verdict.FAILED, summary=summary, detail=detail)


def with_process(finding: Finding, process: Enclosed) -> Finding:
    """The finding with what is known of the process that it came from."""
    return msgspec.structs.replace(finding, log=process.log, isolation=process.isolation)


def installed_checks() -> dict[str, EntryPoint]:
    """The checks that this worker can do, by name. Those of this package cannot be replaced by others."""
    own = {name: EntryPoint(name, f"{__package__}.{name}:{name.title()}Check", GROUP) for name in SETTINGS}
    return {entry.name: entry for entry in entry_points(group=GROUP)} | own


def load_check(name: str) -> Check:
    """The check of that name; ``InvalidValue`` listing those there are when it is not installed."""
    installed = installed_checks()
    if name not in installed:
        known = ", ".join(sorted(installed))
        raise InvalidValue(
            f"no check {name!r} is installed here{did_you_mean(name, installed) or f'; there are {known}'}"
        )
    check: Check = installed[name].load()()
    return check
