"""A request for promotion as it begins, and what must hold before there is one."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy.engine import Connection

from jupyter_mlops.core.access import GROUP_PREFIX, SERVICE_PREFIX, Principal, Scope
from jupyter_mlops.core.errors import Conflict, PermissionDenied, UnsafeModel
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.policy import DAY_MS
from jupyter_mlops.core.promotion import Promotion, PromotionState, nobody_could
from jupyter_mlops.core.records import ModelVersion
from jupyter_mlops.store import registry
from jupyter_mlops.store.registry import Model
from jupyter_mlops.tracker.embedded import aliases, deciding
from jupyter_mlops.tracker.embedded._context import Context


def new_request(
    context: Context, connection: Connection, model: Model, alias: str, version: int | None, reason: str
) -> tuple[Promotion, str | None]:
    """A request as it begins, and the id of its candidate."""
    now = deciding.latest_time(context, connection)
    in_force, policy = aliases.in_force(connection, model)
    candidate_id = None if version is None else aliases.require_version(connection, model, version)
    candidate = None if candidate_id is None else registry.load_versions(connection, [candidate_id])[0]
    champion = champion_of(connection, model, alias)
    principal = context.principal
    new = Promotion(
        request_id=new_id(),
        state=PromotionState.OPEN,
        model=model.name,
        alias=alias,
        version=version,
        digest="" if candidate is None else candidate.digest,
        run_id=None if candidate is None else candidate.run_id,
        safe=candidate is None or candidate.safe,
        champion=None if champion is None else champion.version,
        champion_digest=None if champion is None else champion.digest,
        requester=principal.person,
        asked_by=principal.name,
        authors=() if candidate is None else registry.authors_of(connection, candidate),
        reason=reason,
        policy=policy,
        policy_number=in_force.number,
        created=now,
        updated=now,
        expires=now + policy.lifetime_days * DAY_MS,
    )
    return new, candidate_id


def champion_of(connection: Connection, model: Model, alias: str) -> ModelVersion | None:
    """The version that an alias points at."""
    target = registry.alias_target(connection, model.id, alias)
    return None if target is None else registry.load_versions(connection, [target[0]])[0]


def require_person(principal: Principal) -> None:
    """Raise ``PermissionDenied`` unless somebody answers for what ``principal`` asks."""
    if principal.name.startswith(SERVICE_PREFIX) and principal.acts_for is None:
        raise PermissionDenied(
            f"nobody answers for {principal.name!r}, so it cannot ask: an administrator can say who does, in "
            "c.HubIdentity.service_owners"
        )


def require_another(new: Promotion) -> None:
    """Raise ``Conflict`` when the alias points at the candidate already."""
    if new.champion == new.version:
        state = "is not set" if new.version is None else f"is version {new.version}"
        raise Conflict(f"{new.model}@{new.alias} {state} already")


def approving_groups(context: Context, model: str) -> dict[str, frozenset[str]]:
    """The members of the groups that the model's policy lets approve, by ``group:NAME``, as far as they are known. Who
    asks is in no transaction: a hub takes its time."""
    with context.read() as connection:
        policy = aliases.policy_of(connection, context.model_allowed(connection, model, Scope.READ))
    found = {}
    for owner in policy.approvers:
        if owner.startswith(GROUP_PREFIX) and (known := context.store.members(owner[len(GROUP_PREFIX) :])) is not None:
            found[owner] = known
    return found


def require_possible(new: Promotion, members: Mapping[str, Collection[str]]) -> None:
    """Raise unless a request for a protected alias could be granted: ``UnsafeModel`` for a format that the policy bars,
    ``Conflict`` when nobody could approve it, with what would help. ``members`` is of :func:`approving_groups`."""
    require_another(new)
    if not new.safe and new.policy.safe_formats:
        raise UnsafeModel(
            f"{aliases.named(new.model, new.version)}: its format can run code when it is loaded, which the policy "
            "bars; log the model in a safe format (skops, ONNX, safetensors) and ask for that version"
        )
    if (impossible := nobody_could(new, [new.policy], members)) is not None:
        raise Conflict(impossible)
