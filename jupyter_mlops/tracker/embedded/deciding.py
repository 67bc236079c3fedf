"""Whether a request may move its alias, and the transaction in which it does.

The alias moves in the transaction that closes the request, and only there: what makes a request complete (an approval,
or the last check) asks here with the model locked.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy.engine import Connection

from jupyter_mlops.core.access import GROUP_PREFIX, Principal
from jupyter_mlops.core.policy import UNPROTECTED, CheckRule, Policy, rules_of
from jupyter_mlops.core.promotion import Promotion, PromotionState, missing
from jupyter_mlops.core.records import Json
from jupyter_mlops.store import policies, promotions, registry, requestseals
from jupyter_mlops.store.registry import Model
from jupyter_mlops.tracker.embedded import aliases
from jupyter_mlops.tracker.embedded._context import Context


def latest_time(context: Context, connection: Connection) -> int:
    """Now, or the latest time on record: a clock that is set back extends no request."""
    return max(context.clock(), promotions.latest(connection))


def known_by(principal: Principal) -> tuple[str, ...]:
    """What a reviewer is known by: the person, then their groups as ``group:NAME``."""
    return (principal.person, *sorted(GROUP_PREFIX + group for group in principal.groups))


def policies_for(connection: Connection, model: Model, request: Promotion) -> list[Policy]:
    """What a request is judged by: the policy it was made under, and the one in force."""
    return judging(connection, [(model, request)])[0]


def judging(connection: Connection, requests: Sequence[tuple[Model, Promotion]]) -> list[list[Policy]]:
    """As :func:`policies_for`, of many requests."""
    in_force = policies.in_force_of(connection, list({model.id: model for model, _ in requests}.values()))
    found = []
    for model, request in requests:
        now = in_force[model.id].policy or UNPROTECTED
        found.append([request.policy] if now == request.policy else [request.policy, now])
    return found


def pointed_at(connection: Connection, model: Model, alias: str) -> int | None:
    """The number of the version that an alias points at."""
    target = registry.alias_target(connection, model.id, alias)
    return None if target is None else target[1]


def with_missing(connection: Connection, model: Model, request: Promotion, now: int) -> Promotion:
    """The request as it stands: what it lacks, and that it has expired when nobody has written that down yet."""
    return all_with_missing(connection, [(model, request)], now)[0]


def all_with_missing(connection: Connection, requests: Sequence[tuple[Model, Promotion]], now: int) -> list[Promotion]:
    """As :func:`with_missing`, many at once."""
    models = [model for model, request in requests if request.state is PromotionState.OPEN]
    judged_by = judging(connection, requests) if models else []
    pointed = registry.aliases_of(connection, {model.id for model in models}) if models else {}
    found = []
    for number, (model, request) in enumerate(requests):
        shown = msgspec.structs.replace(request, model=model.name)
        if request.state is not PromotionState.OPEN:
            pass
        elif request.expires <= now:
            shown = msgspec.structs.replace(shown, state=PromotionState.EXPIRED, outcome="nobody decided in time")
        else:
            lacking = missing(request, judged_by[number], pointed.get((model.id, request.alias)), now)
            shown = msgspec.structs.replace(shown, missing=lacking)
        found.append(shown)
    return found


def settle(context: Context, connection: Connection, model: Model, request: Promotion, by: str | None) -> bool:
    """Move the alias and close the request if it lacks nothing; the model is locked.

    ``by`` is who made it complete; None for a check.
    """
    now = latest_time(context, connection)
    judged_by = policies_for(connection, model, request)
    before = registry.alias_target(connection, model.id, request.alias)
    if missing(request, judged_by, None if before is None else before[1], now) or request.version is None:
        return False
    after = (aliases.require_version(connection, model, request.version), request.version)
    number = aliases.move(
        *(context, connection, model, request.alias),
        after=after,
        before=before,
        reason=request.reason,
        user=by or request.requester,
    )
    promotions.close(
        *(connection, request.request_id, PromotionState.PROMOTED, now),
        by=by,
        outcome="the policy is met",
        move_id=number,
    )
    tell(context, connection, model, request, "promotion.promoted", version=request.version)
    return True


def tell(
    context: Context,
    connection: Connection,
    model: Model,
    request: Promotion,
    kind: str,
    *,
    job_id: str | None = None,
    **detail: Json,
) -> None:
    """Tell who watches, and put it on record with what the request has become by it: call it when that is written.
    ``job_id`` is of the check whose result it is."""
    known = {"request_id": request.request_id, "alias": request.alias, **detail}
    aliases.announce(context, connection, kind, model, known)
    sealed = requestseals.entry(connection, request.request_id, job_id)
    aliases.audit(context, connection, kind, model.name, known | sealed)


def is_over(context: Context, connection: Connection, request: Promotion) -> bool:
    """Whether an open request has lived too long."""
    return request.state is PromotionState.OPEN and request.expires <= latest_time(context, connection)


def expire(context: Context, connection: Connection, model: Model) -> int:
    """Close the requests for a model whose time is over; the model is locked. Gives how many."""
    now = latest_time(context, connection)
    over = [
        request
        for request in promotions.load(connection, promotions.open_ids(connection, model.id))
        if request.expires <= now
    ]
    for request in over:
        outcome = "nobody decided in time"
        promotions.close(connection, request.request_id, PromotionState.EXPIRED, now, by=None, outcome=outcome)
        tell(context, connection, model, request, "promotion.expired")
    return len(over)


def supersede(context: Context, connection: Connection, model: Model, outcome: str, version: int | None = None) -> None:
    """Close the open requests for a model that is to be deleted, or for a ``version`` of it; the model is locked."""
    now = latest_time(context, connection)
    for request in promotions.load(connection, promotions.open_ids(connection, model.id)):
        if version is None or request.version == version:
            by = context.principal.name
            promotions.close(connection, request.request_id, PromotionState.SUPERSEDED, now, by=by, outcome=outcome)
            tell(context, connection, model, request, "promotion.superseded", reason=outcome)


def rules_for(connection: Connection, model: Model, request: Promotion) -> tuple[CheckRule, ...]:
    """The checks that a request has to pass."""
    return rules_of(policies_for(connection, model, request))


def end_requests(context: Context) -> int:
    """Close all requests whose time is over, model by model; gives how many."""
    with context.read() as connection:
        models = promotions.expired_models(connection, latest_time(context, connection))
    ended = 0
    for model_id in models:
        with context.write() as connection:
            name = registry.name_of(connection, model_id)
            model = None if name is None else registry.find(connection, name, lock=True)
            if model is not None and model.id == model_id:
                ended += expire(context, connection, model)
    return ended
