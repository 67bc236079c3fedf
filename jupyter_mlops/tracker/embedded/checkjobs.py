"""The queue of checks, for workers. Only what a worker found out counts, and a worker is an administrator's: whoever
could report for themselves could promote for themselves."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy.engine import Connection

from jupyter_mlops.core import access, checks, credentials, values
from jupyter_mlops.core.access import GROUP_PREFIX, Principal, Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.checks import JOB_PREFIX, LEASE_SECONDS, LONGEST_LOG, LONGEST_SUMMARY, CheckJob, CheckResult
from jupyter_mlops.core.errors import Conflict, InvalidValue, NotFound, PermissionDenied
from jupyter_mlops.core.ids import is_id
from jupyter_mlops.core.promotion import Promotion, PromotionState
from jupyter_mlops.core.values import short
from jupyter_mlops.store import checkjobs, promotions, registry
from jupyter_mlops.store.registry import Model
from jupyter_mlops.tracker.embedded import deciding
from jupyter_mlops.tracker.embedded._context import Context

LARGEST_DETAIL = 1_000_000
"""Characters of what a check found out beside its summary, as JSON."""


@checked
class EmbeddedChecks:
    """See :class:`jupyter_mlops.tracker.promoting.Checks`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def claim(self, names: Sequence[str] = (), *, token_digest: str | None = None) -> CheckJob | None:
        principal = self._context.principal
        access.require_decision(principal, "the queue of checks")
        if principal.widest < Scope.ADMIN:
            raise PermissionDenied(f"claiming checks needs the scope 'admin', which {principal.name!r} lacks")
        with self._context.write() as connection:
            now = self._context.clock()
            for found in checkjobs.claimable(connection, names, deciding.latest_time(self._context, connection)):
                if principal.scope_on(found.owner) < Scope.ADMIN:
                    continue
                lease = now + round(LEASE_SECONDS * 1000)
                # A job's token and the claim begin and end together.
                claim = token_digest or credentials.token_digest(credentials.new_token(checks.TOKEN_PREFIX))
                job = msgspec.structs.replace(found.job, claim=claim)
                if checkjobs.claim(connection, job, now, lease, by=principal.name):
                    return job
        return None

    def renew(self, job_id: str, claim: str) -> None:
        lease = self._context.clock() + round(LEASE_SECONDS * 1000)
        with self._context.write() as connection:
            self._held(connection, job_id)
            if not checkjobs.renew(connection, job_id, claim, lease):
                raise _lost(job_id)

    def report(self, job_id: str, claim: str, result: CheckResult) -> None:
        checked_result = _checked(result)
        with self._context.write() as connection:
            held, model = self._held(connection, job_id)
            if held.name != result.name:
                raise InvalidValue(f"job {job_id} is about the check {held.name!r}, not {short(result.name)}")
            user = self._context.principal.name
            known = msgspec.structs.replace(checked_result, reported_by=user, self_reported=False)
            if not checkjobs.finish(connection, job_id, claim, known):
                raise _lost(job_id)
            now = deciding.latest_time(self._context, connection)
            promotions.update(connection, held.request_id, now)
            request = promotions.load(connection, [held.request_id])[0]
            verdict = known.verdict.value
            deciding.tell(
                *(self._context, connection, model, request, "promotion.checked"),
                check=known.name,
                job_id=job_id,
                verdict=verdict,
                summary=known.summary,
            )
            if request.state is PromotionState.OPEN:
                deciding.settle(self._context, connection, model, request, None)

    def self_report(self, request_id: str, result: CheckResult) -> None:
        checked_result = _checked(result)
        with self._context.write() as connection:
            model_id = promotions.model_of(connection, request_id) if is_id(request_id) else None
            model = self._locked(connection, model_id, f"request {short(request_id)}", Scope.WRITE)
            request: Promotion = promotions.load(connection, [request_id])[0]
            if request.state is not PromotionState.OPEN:
                raise Conflict(f"request {request_id} is {request.state.value}")
            user = self._context.principal.name
            known = msgspec.structs.replace(checked_result, reported_by=user, self_reported=True)
            job_id = checkjobs.add_reported(connection, request_id, request.round, known)
            promotions.update(connection, request_id, deciding.latest_time(self._context, connection))
            deciding.tell(
                *(self._context, connection, model, request, "promotion.self_reported"),
                check=known.name,
                job_id=job_id,
                verdict=known.verdict.value,
            )

    def _held(self, connection: Connection, job_id: str) -> tuple[checkjobs.Held, Model]:
        held = checkjobs.find(connection, job_id) if is_id(job_id) else None
        what = f"check {short(job_id)}"
        if held is None:
            raise NotFound(f"{what} does not exist")
        model = self._locked(connection, promotions.model_of(connection, held.request_id), what, Scope.ADMIN)
        access.require_decision(self._context.principal, what)
        return held, model

    def _locked(self, connection: Connection, model_id: str | None, what: str, scope: Scope) -> Model:
        """The model that something is about, locked, for somebody who may see it and use ``scope`` on it."""
        name = None if model_id is None else registry.name_of(connection, model_id)
        model = None if name is None else registry.find(connection, name, lock=True)
        principal = self._context.principal
        if model is None or model.id != model_id or not access.sees_model(principal, model.owner, model.restricted):
            raise NotFound(f"{what} does not exist")
        access.require_model(principal, model.owner, scope, what, restricted=model.restricted)
        return model


def principal_of_token(context: Context, token_digest: str) -> Principal | None:
    """Who the token of a job stands for, as long as a worker has the job: somebody of no group, who decides nothing,
    writes things of their own, and reads what belongs to the model's group."""
    with context.read() as connection:
        found = checkjobs.holder_of(connection, token_digest, context.clock())
    if found is None:
        return None
    job_id, owner = found
    group = owner[len(GROUP_PREFIX) :] if owner.startswith(GROUP_PREFIX) else None
    return Principal(
        name=JOB_PREFIX + job_id,
        scope=Scope.WRITE,
        group_scopes=() if group is None else ((group, Scope.READ),),
        decides=False,
    )


def _lost(job_id: str) -> Conflict:
    return Conflict(f"check {job_id} is not this worker's any more: its lease was over, or the request is closed")


def _checked(result: CheckResult) -> CheckResult:
    values.check_key(result.name, "check")
    values.check_text(result.summary, "summary", LONGEST_SUMMARY)
    values.check_text(result.log, "log", LONGEST_LOG)
    if len(values.encode_json(result.detail)) > LARGEST_DETAIL:
        raise InvalidValue(f"detail: it is longer than {LARGEST_DETAIL} characters")
    return result
