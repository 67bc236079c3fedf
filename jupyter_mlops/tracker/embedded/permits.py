"""What must hold before something is done to a request or an alias. The operations ask here, and so do those who show
beforehand what is possible: no rule is written down twice."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.engine import Connection

from jupyter_mlops.core import access, values
from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import Conflict, PermissionDenied, UnsafeModel
from jupyter_mlops.core.promotion import AliasStanding, Promotion, PromotionState, may_not_approve, restorable, stale
from jupyter_mlops.store import promotions, registry
from jupyter_mlops.store.registry import Model
from jupyter_mlops.tracker.embedded import aliases, asking, deciding
from jupyter_mlops.tracker.embedded._context import Context


def require(context: Context, model: Model, request: Promotion, scope: Scope) -> None:
    """Raise unless the caller may use ``scope`` on a request."""
    what = f"request {request.request_id}"
    access.require_model(context.principal, model.owner, scope, what, restricted=model.restricted)


def require_open(context: Context, connection: Connection, model: Model, request: Promotion) -> None:
    """Raise ``Conflict`` unless something can be done to a request."""
    now = deciding.with_missing(connection, model, request, deciding.latest_time(context, connection))
    if now.state is not PromotionState.OPEN:
        why = f": {now.outcome}" if now.outcome else ""
        raise Conflict(f"request {now.request_id} is {now.state.value}{why}; nothing can be done to it any more")


def require_refresh(context: Context, connection: Connection, model: Model, request: Promotion) -> None:
    require(context, model, request, Scope.WRITE)
    require_open(context, connection, model, request)
    if deciding.pointed_at(connection, model, request.alias) == request.version:
        raise Conflict(f"{model.name}@{request.alias} is version {request.version} already")


def require_withdrawal(context: Context, connection: Connection, model: Model, request: Promotion) -> None:
    require(context, model, request, Scope.WRITE)
    require_open(context, connection, model, request)
    principal = context.principal
    if principal.person not in (request.requester, request.asked_by) and (
        principal.scope_on(model.owner) < Scope.ADMIN
    ):
        raise PermissionDenied(
            f"request {request.request_id}: {request.requester!r} asked for it, and only they can withdraw it; whoever "
            "may decide can reject it"
        )


def require_review(context: Context, connection: Connection, model: Model, request: Promotion) -> None:
    """Raise unless the caller may reject the request, or ask for changes."""
    require(context, model, request, Scope.PROMOTE)
    require_open(context, connection, model, request)
    access.require_decision(context.principal, f"request {request.request_id}")


def require_approval(context: Context, connection: Connection, model: Model, request: Promotion) -> None:
    """Raise unless the caller may approve the request."""
    require_review(context, connection, model, request)
    current = deciding.pointed_at(connection, model, request.alias)
    if current != request.champion:
        raise Conflict(f"request {request.request_id}: {stale(request, current)}")
    policies = deciding.policies_for(connection, model, request)
    if (refusal := may_not_approve(request, policies, deciding.known_by(context.principal))) is not None:
        raise PermissionDenied(f"request {request.request_id}: {refusal}")


def require_rollback(context: Context, connection: Connection, model: Model, alias: str) -> None:
    """Raise unless the caller may roll an alias back, wherever that leads."""
    context.model_allowed(connection, model.name, Scope.WRITE)
    if alias in aliases.policy_of(connection, model).protected:
        context.model_allowed(connection, model.name, Scope.PROMOTE)
        access.require_decision(context.principal, aliases.named(model.name))


def version_before(connection: Connection, model: Model, alias: str) -> int:
    """The version that a rollback restores; ``Conflict`` when there is none."""
    moves = registry.numbered_moves(connection, model.id, alias)
    before = restorable(moves, promotions.rollbacks(connection, model.id, alias))
    if not before:
        raise Conflict(f"{model.name}@{alias} has no version before this one to go back to")
    if registry.find_version(connection, model.id, before[-1]) is None:
        raise Conflict(f"{aliases.named(model.name, before[-1])}, which {alias} pointed at before, was deleted")
    return before[-1]


def require_override(context: Context, connection: Connection, model: Model) -> None:
    context.model_allowed(connection, model.name, Scope.ADMIN)
    access.require_decision(context.principal, aliases.named(model.name))


# --- shown beforehand ------------------------------------------------------------------------------------------------


def refused(context: Context, connection: Connection, model: Model, request: Promotion) -> dict[str, str]:
    """What the caller cannot do about a request, by operation, with why."""
    about = (context, connection, model, request)
    return _refusals(
        {
            "comment": lambda: require(context, model, request, Scope.WRITE),
            "refresh": lambda: require_refresh(*about),
            "withdraw": lambda: require_withdrawal(*about),
            "approve": lambda: require_approval(*about),
            "reject": lambda: require_review(*about),
            "request_changes": lambda: require_review(*about),
        },
        f"request {request.request_id}",
    )


def standing(context: Context, model: str, alias: str, version: int | None) -> AliasStanding:
    """See :meth:`jupyter_mlops.tracker.promoting.Promotions.standing`."""
    from jupyter_mlops.tracker.embedded.model_cards import EmbeddedModelCards

    values.alias_name(alias)
    back_to: list[int] = []
    members = {} if version is None else asking.approving_groups(context, model)
    with context.read() as connection:
        found = context.model_allowed(connection, model, Scope.READ)
        policy = aliases.policy_of(connection, found)
        current = deciding.pointed_at(connection, found, alias)
        wanted = None if version is None else asking.new_request(context, connection, found, alias, version, "")[0]
        is_protected = alias in policy.protected

        def request() -> None:
            context.model_allowed(connection, model, Scope.WRITE)
            asking.require_person(context.principal)
            if wanted is not None and is_protected:
                asking.require_possible(wanted, members)
            elif wanted is not None:
                asking.require_another(wanted)

        def rollback() -> None:
            back_to.append(version_before(connection, found, alias))
            require_rollback(context, connection, found, alias)

        refusals = _refusals(
            {
                "request": request,
                "rollback": rollback,
                "override": lambda: require_override(context, connection, found),
            },
            aliases.named(model),
        )
    return AliasStanding(
        model=model,
        alias=alias,
        version=current,
        protected=is_protected,
        policy=policy,
        back_to=back_to[0] if back_to else None,
        consumers=tuple(each for each in EmbeddedModelCards(context).consumers(model) if each.reference == f"@{alias}"),
        refused=refusals,
    )


def _refusals(asked: dict[str, Callable[[], None]], what: str) -> dict[str, str]:
    found = {}
    for name, ask in asked.items():
        try:
            ask()
        except (Conflict, PermissionDenied, UnsafeModel) as error:
            # Where it is shown, it is plain what it is about.
            found[name] = error.message.removeprefix(f"{what}: ").replace(what, "it")
    return found
