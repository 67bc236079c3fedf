"""The checks of a request on one's own machine: the same checks, reported as what they are, one's own word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jupyter_mlops.checks.check import Subject, installed_checks
from jupyter_mlops.checks.sandbox import DEFAULT_USER, Limits, Sandbox
from jupyter_mlops.checks.worker import perform
from jupyter_mlops.core.checks import CheckJob, CheckResult
from jupyter_mlops.core.errors import Conflict, InvalidValue
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.policy import CheckRule
from jupyter_mlops.core.promotion import Promotion, PromotionState
from jupyter_mlops.tracker.protocol import Tracker


def check_here(
    tracker: Tracker, request: Promotion, names: Sequence[str] = (), limits: Limits | None = None
) -> Iterator[CheckResult]:
    """Do the checks of an open request here, with the caller's permissions, and report each as it is done.

    Parameters
    ----------
    names
        The checks to do; all that the request has to pass when empty.
    limits
        Of the processes in which the candidate's code runs.

    Raises
    ------
    Conflict
        The request is closed.
    InvalidValue
        It has no check of that name.
    """
    if request.state is not PromotionState.OPEN or request.version is None:
        raise Conflict(f"request {request.request_id} is {request.state.value}: there is nothing to check any more")
    rules = demanded(request)
    if unknown := sorted(set(names) - {rule.name for rule in rules}):
        known = ", ".join(sorted({rule.name for rule in rules})) or "none"
        raise InvalidValue(f"the request has no check {unknown[0]!r} to pass; it has {known}")
    for rule in rules:
        if names and rule.name not in names:
            continue
        job = CheckJob(
            job_id=new_id(),
            request_id=request.request_id,
            model=request.model,
            version=request.version,
            alias=request.alias,
            champion=request.champion,
            name=rule.name,
            settings=rule.settings,
        )
        with Sandbox(limits or Limits(), DEFAULT_USER) as sandbox:
            result = perform(Subject(tracker, job, sandbox))
        tracker.checks.self_report(request.request_id, result)
        yield result


def demanded(request: Promotion) -> list[CheckRule]:
    """The checks that a request has to pass in this round and that are installed here, in the order in which they are
    done, once each."""
    found: list[CheckRule] = []
    for each in request.checks:
        asked = each.result is None or not each.result.self_reported
        if asked and each.round == request.round and each.rule not in found and each.rule.name in installed_checks():
            found.append(each.rule)
    return found
