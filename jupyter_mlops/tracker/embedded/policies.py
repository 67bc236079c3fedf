"""Policies: who may set which. Demanding more is for those who may promote, demanding less for administrators."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from jupyter_mlops.core import access, values
from jupyter_mlops.core.access import GROUP_PREFIX, Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.errors import InvalidValue, NotFound, PermissionDenied
from jupyter_mlops.core.policy import UNPROTECTED, Policy, PolicySource, PolicyVersion, checked_policy, default_for
from jupyter_mlops.store import policies
from jupyter_mlops.store.registry import Model
from jupyter_mlops.tracker.embedded import aliases
from jupyter_mlops.tracker.embedded._context import Context


@checked
class EmbeddedPolicies:
    """See :class:`jupyter_mlops.tracker.promoting.Policies`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def get(self, *, model: str | None = None, owner: str | None = None) -> PolicyVersion:
        group = _one(model, owner)
        with self._context.read() as connection:
            if model is not None:
                found = self._context.model_allowed(connection, model, Scope.READ)
                return policies.in_force(connection, found)
            self._require(group, Scope.READ)
            return policies.in_force_for(connection, group)

    def set(
        self, policy: Policy | None, *, model: str | None = None, owner: str | None = None, reason: str = ""
    ) -> PolicyVersion:
        group = _one(model, owner)
        values.reason(reason)
        given = None if policy is None else checked_policy(policy)
        what = f"the policy of {model or group}"
        access.require_decision(self._context.principal, what)
        with self._context.write() as connection:
            if model is not None:
                target = self._context.model_allowed(connection, model, Scope.PROMOTE, lock=True)
                before = policies.in_force(connection, target).policy or UNPROTECTED
                after = given or policies.in_force_for(connection, target.owner).policy or UNPROTECTED
                weaker = aliases.require_no_weaker(self._context, target, before, after, "this")
                return put_in_force(self._context, connection, given, target, reason=reason, weakens=weaker)
            self._require(group, Scope.PROMOTE)
            before = policies.in_force_for(connection, group).policy or UNPROTECTED
            after = given or default_for(group)
            anyone = Model("", group, group, False)
            weaker = aliases.require_no_weaker(self._context, anyone, before, after, "this")
            return put_in_force(self._context, connection, given, group, reason=reason, weakens=weaker)

    def history(self, *, model: str | None = None, owner: str | None = None) -> tuple[PolicyVersion, ...]:
        group = _one(model, owner)
        with self._context.read() as connection:
            if model is not None:
                found = self._context.model_allowed(connection, model, Scope.READ)
                return tuple(policies.history(connection, model=found))
            self._require(group, Scope.READ)
            return tuple(policies.history(connection, owner=group))

    def _require(self, group: str, scope: Scope) -> None:
        reached = self._context.principal.scope_on(group)
        if reached < Scope.READ:
            raise NotFound(f"policy of {group!r} does not exist")
        if reached < scope:
            raise PermissionDenied(
                f"the policy of {group!r}: this needs the scope {scope.name.lower()!r}, which "
                f"{self._context.principal.name!r} lacks"
            )


def put_in_force(
    context: Context,
    connection: Connection,
    policy: Policy | None,
    of: Model | str,
    *,
    reason: str,
    weakens: Sequence[str] = (),
) -> PolicyVersion:
    """Have a policy (none: that of the owner, or the default) in force for a model, or for the models of an owner; who
    listens is told, and it is on record. Who may is for the caller to see to."""
    model = of if isinstance(of, Model) else None
    new = PolicyVersion(
        model=None if model is None else model.name,
        owner=of if isinstance(of, str) else None,
        source=PolicySource.GROUP if model is None else PolicySource.MODEL,
        policy=policy,
        user=context.principal.name,
        at=context.clock(),
        reason=reason,
    )
    done = policies.append(connection, new, model)
    if model is not None:
        aliases.announce(context, connection, "policy.changed", model, {"number": done.number})
    detail = {"number": done.number, "weakens": list(weakens), "reason": reason}
    target = of if isinstance(of, str) else of.name
    aliases.audit(context, connection, "policy.set" if policy else "policy.remove", target, detail)
    return done


def _one(model: str | None, owner: str | None) -> str:
    """Whose the policy is; empty when it is a model's."""
    if (model is None) == (owner is None):
        raise InvalidValue("a policy is of a model, or of a group: give model or owner, not both")
    if owner is None:
        return ""
    if not access.owner_name(owner).startswith(GROUP_PREFIX):
        raise InvalidValue(
            f"{owner!r} is no group, and what belongs to a person is not protected; write group:NAME, or give a model "
            "a policy of its own"
        )
    return owner
