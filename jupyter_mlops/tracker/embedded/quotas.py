"""Quotas: who may see and set which, then the store."""

from __future__ import annotations

import msgspec
from sqlalchemy.engine import Connection

from jupyter_mlops.core import access, quotas
from jupyter_mlops.core.access import GROUP_PREFIX, Principal, Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.errors import NotFound, PermissionDenied
from jupyter_mlops.core.quotas import Quota, QuotaRule, Standing
from jupyter_mlops.store import events, ownerrules, staging, usage
from jupyter_mlops.tracker.embedded._context import Context


@checked
class EmbeddedQuotas:
    """See :class:`jupyter_mlops.tracker.limits.Quotas`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def standing(self, owner: str | None = None, *, everyone: bool = False) -> tuple[Standing, ...]:
        principal = self._context.principal
        if everyone:
            require_admin(principal, "seeing what everybody has")
        owners = readable_owners(principal, owner)
        with self._context.read() as connection:
            rules = usage.quotas(connection)
            if everyone and owner is None:
                held = usage.of_owners(connection)
                owners = tuple(sorted(held, key=lambda each: (-held[each].bytes, each)))
            else:
                held = usage.of_owners(connection, owners)
            held = usage.with_running(connection, held)
        return tuple(quotas.standing(each, held[each], rules) for each in owners)

    def rules(self) -> tuple[QuotaRule, ...]:
        require_admin(self._context.principal, "seeing all quotas")
        with self._context.read() as connection:
            found = ownerrules.entries(connection, ownerrules.QUOTA, Quota)
        return tuple(QuotaRule(subject=each.subject, quota=each.rule, user=each.set_by, at=each.at) for each in found)

    def set(self, subject: str, quota: Quota | None) -> None:
        given = None if quota is None else quotas.checked_quota(quota)
        set_rule(self._context, ownerrules.QUOTA, subject, given)

    def recount(self) -> int:
        require_admin(self._context.principal, "counting again")
        return usage.recount(self._context.database) + staging.recount(self._context.database)


def set_rule(context: Context, kind: str, subject: str, rule: msgspec.Struct | None) -> None:
    """Set what administrators set for an owner, or take it back."""
    what = f"the {kind} of {access.owner_name(subject)}"
    require_admin(context.principal, what)
    access.require_decision(context.principal, what)
    with context.write() as connection:
        now, user = context.clock(), context.principal.name
        if rule is None:
            if not ownerrules.remove(connection, kind, subject):
                raise NotFound(f"{subject!r} has no {kind} of its own")
        else:
            ownerrules.put(connection, kind, subject, rule, user, now)
        _audit(connection, kind, subject, rule, user, now)


def _audit(connection: Connection, kind: str, subject: str, rule: msgspec.Struct | None, user: str, now: int) -> None:
    action = f"{kind}.{'remove' if rule is None else 'set'}"
    events.add_audit(connection, user, action, subject, now, None if rule is None else msgspec.to_builtins(rule))


def readable_owners(principal: Principal, owner: str | None) -> tuple[str, ...]:
    """The owner that is asked for, if the principal may read what is theirs; else the principal and their groups."""
    if owner is not None:
        if principal.scope_on(access.owner_name(owner)) < Scope.READ:
            raise NotFound(f"what belongs to {owner!r} does not exist")
        return (owner,)
    reached = access.owners_reached(principal, Scope.READ)
    if reached is None:
        return (principal.name, *sorted(GROUP_PREFIX + group for group in principal.groups))
    return reached


def require_admin(principal: Principal, what: str) -> None:
    """Raise ``PermissionDenied`` for all but administrators."""
    if principal.scope < Scope.ADMIN:
        raise PermissionDenied(f"{what} needs the scope 'admin', which {principal.name!r} lacks")
