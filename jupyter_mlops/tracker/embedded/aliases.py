"""The one place through which aliases move, and which keeps a protected one from moving any other way.

Everything that would change what ``NAME@ALIAS`` means asks here: setting and deleting an alias, renaming a model,
handing it over, deleting it with a policy of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy.engine import Connection

from jupyter_mlops.core import values
from jupyter_mlops.core.access import GROUP_PREFIX, Scope
from jupyter_mlops.core.errors import Conflict, NotFound, PermissionDenied
from jupyter_mlops.core.policy import UNPROTECTED, Policy, PolicyVersion, weakened
from jupyter_mlops.core.records import AliasMove, Json
from jupyter_mlops.store import consumers, events, policies, registry, webhooks
from jupyter_mlops.store.registry import Model
from jupyter_mlops.store.webhooks import MOST_CONSUMERS
from jupyter_mlops.tracker.embedded._context import Context

Target = tuple[str, int]
"""The id and the number of a version."""

_LARGEST_VERSION = 2**31 - 1


# --- moving ----------------------------------------------------------------------------------------------------------


def move(
    context: Context,
    connection: Connection,
    model: Model,
    alias: str,
    *,
    after: Target | None,
    before: Target | None,
    reason: str,
    user: str | None = None,
) -> int:
    """Point ``alias`` at ``after``, or nowhere; gives the number of the move. Whether it may is the caller's to have
    asked. ``user`` is who counts as having moved it, if not the caller."""
    done = AliasMove(
        model=model.name,
        alias=alias,
        version=after[1] if after else None,
        replaced=before[1] if before else None,
        user=user or context.principal.name,
        at=context.clock(),
        reason=reason,
    )
    number = registry.move_alias(connection, model.id, after[0] if after else None, done)
    registry.update(connection, model.id, context.clock())
    for target in (after, before):
        if target is not None:
            registry.update_version(connection, target[0], context.clock())
    announce(context, connection, "model.changed", model)
    detail: dict[str, Json] = {"alias": alias, "version": done.version, "replaced": done.replaced, "reason": reason}
    announce(context, connection, "alias.moved", model, detail, done.user)
    users = consumers.of_alias(connection, model.id, alias, MOST_CONSUMERS)
    whom = [each for each in users if each not in (done.user, context.principal.name)]
    tell_persons(context, connection, "consumed.moved", model, whom, detail, done.user)
    audit(context, connection, "alias.set" if after else "alias.delete", model.name, detail)
    return number


def announce(
    context: Context,
    connection: Connection,
    kind: str,
    model: Model,
    detail: Mapping[str, Json] | None = None,
    user: str | None = None,
) -> None:
    """Tell who watches, and the webhooks. ``user`` is who did it, if not the caller."""
    webhooks.announce(connection, model, kind, context.clock(), user or context.principal.name, detail)


def tell_persons(
    context: Context,
    connection: Connection,
    kind: str,
    model: Model,
    whom: Sequence[str],
    detail: Mapping[str, Json],
    user: str | None = None,
) -> None:
    """Tell each of some persons what concerns them. ``user`` is who did it, if not the caller."""
    if whom:
        at, by = context.clock(), user or context.principal.name
        webhooks.tell_persons(connection, model, kind, at, by, detail, whom)


def audit(context: Context, connection: Connection, action: str, target: str, detail: Json = None) -> None:
    """Put on record what the principal does."""
    events.add_audit(connection, context.principal.name, action, target, context.clock(), detail)


# --- protection ------------------------------------------------------------------------------------------------------


def policy_of(connection: Connection, model: Model) -> Policy:
    """The policy in force."""
    return in_force(connection, model)[1]


def in_force(connection: Connection, model: Model) -> tuple[PolicyVersion, Policy]:
    """The policy in force, with whose it is."""
    found = policies.in_force(connection, model)
    return found, found.policy or UNPROTECTED


def require_free(connection: Connection, model: Model, alias: str) -> None:
    """Raise ``PermissionDenied`` when ``alias`` is one that only a promotion moves."""
    if alias in policy_of(connection, model).protected:
        raise PermissionDenied(
            f"{model.name}@{alias} is protected: it moves by a request that meets the policy. Ask for it with "
            f"mlops.promote({model.name!r}, VERSION, alias={alias!r}, reason=...) or jupyter mlops promote"
        )


def require_name_kept(context: Context, connection: Connection, model: Model, doing: str) -> None:
    """Raise unless the model's name may become free: ``Conflict`` while a protected alias of it is set, and
    ``PermissionDenied`` when one ever was, or the model has a policy of its own that a new one would not have."""
    policy = policy_of(connection, model)
    _require_none_set(connection, model, policy, doing)
    moved = {each.alias for each in registry.alias_moves(connection, model.id)}
    if moved & set(policy.protected):
        _for_administrators(context, model, f"{doing} would free a name by which others know what is protected")
    after = policies.in_force_for(connection, model.owner).policy or UNPROTECTED
    require_no_weaker(context, model, policy, after, doing)


def require_handable(context: Context, connection: Connection, model: Model, owner: str) -> None:
    """Raise unless the model may become a thing of ``owner``: ``Conflict`` while an alias is set that is protected now
    or would be then, and ``PermissionDenied`` when it is protected and would be a person's, or weaker."""
    after = policy_of(connection, msgspec.structs.replace(model, owner=owner))
    before = policy_of(connection, model)
    for policy in (before, after):
        _require_none_set(connection, model, policy, "handing it over")
    if before.protected and not owner.startswith(GROUP_PREFIX):
        _for_administrators(context, model, "handing it to a person would take it from those who decide about it")
    require_no_weaker(context, model, before, after, "handing it over")


def _require_none_set(connection: Connection, model: Model, policy: Policy, doing: str) -> None:
    held = sorted(set(policy.protected) & set(registry.aliases(connection, model.id)))
    if held:
        raise Conflict(
            f"{doing} would change what {', '.join(f'{model.name}@{alias}' for alias in held)} means, which is "
            "protected: an administrator can take the alias away first (jupyter mlops requests override "
            f"{model.name} {held[0]} --remove)"
        )


def _for_administrators(context: Context, model: Model, told: str) -> None:
    if context.principal.scope_on(model.owner) < Scope.ADMIN:
        raise PermissionDenied(f"{named(model.name)}: {told}, which is for administrators")


def require_no_weaker(context: Context, model: Model, before: Policy, after: Policy, doing: str) -> tuple[str, ...]:
    """Raise ``PermissionDenied`` when ``after`` demands less than ``before``, unless the principal is an administrator
    there, whom nothing stops; gives in what it does."""
    found = weakened(before, after)
    if found:
        _for_administrators(context, model, f"{doing} would weaken its policy ({'; '.join(found)})")
    return found


# --- names -----------------------------------------------------------------------------------------------------------


def named(name: str, version: int | None = None) -> str:
    """A model, or a version of it, in a message."""
    model = f"registered model {values.short(name, values.LONGEST_KEY)}"
    return model if version is None else f"version {version} of {model}"


def require_version(connection: Connection, model: Model, version: int) -> str:
    """The id of a version; ``NotFound`` when there is none."""
    found = registry.find_version(connection, model.id, version) if 1 <= version <= _LARGEST_VERSION else None
    if found is None:
        raise NotFound(f"{named(model.name, version)} does not exist")
    return found
