"""The hub's words for what somebody may do, and what they come to here. Needs no package of JupyterHub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from jupyter_mlops.core.access import GROUP_PREFIX, SERVICE_PREFIX, TOKEN_USER_PREFIX, Principal, Scope, user_name
from jupyter_mlops.core.checks import JOB_PREFIX
from jupyter_mlops.core.errors import InvalidValue, PermissionDenied

SCOPE_PREFIX = "custom:mlops:"
_RESERVED = (GROUP_PREFIX, SERVICE_PREFIX, JOB_PREFIX, TOKEN_USER_PREFIX)
_GROUP_FILTER = "group"
_ONE_SERVER = "access:servers!server="
"""Begins a scope that the hub gives to the token of a notebook server."""


def scope_name(scope: Scope) -> str:
    """``custom:mlops:write``."""
    return SCOPE_PREFIX + scope.name.lower()


_SCOPES = {scope_name(scope): scope for scope in Scope if scope is not Scope.NONE}


def granted(names: Iterable[str]) -> tuple[Scope, dict[str, Scope]]:
    """What the hub's scopes allow: in general, and by group (``custom:mlops:promote!group=churn``).

    Filters other than ``!group=`` have no meaning here and give nothing.
    """
    everywhere, by_group = Scope.NONE, dict[str, Scope]()
    for name in names:
        base, filtered, condition = name.partition("!")
        scope = _SCOPES.get(base)
        if scope is None:
            continue
        if not filtered:
            everywhere = max(everywhere, scope)
            continue
        kind, _, group = condition.partition("=")
        if kind == _GROUP_FILTER and group:
            by_group[group] = max(by_group.get(group, Scope.NONE), scope)
    return everywhere, by_group


def principal_of(
    model: Mapping[str, Any],
    *,
    interactive: bool,
    default_groups: Sequence[str] = (),
    service_owners: Mapping[str, str] = MappingProxyType({}),
) -> Principal:
    """Who the hub says is asking.

    Parameters
    ----------
    model
        What the hub answers for a token: the name and kind of its owner, their groups, the token's scopes.
    interactive
        Whether it is the token of a login on the service's page. A token of another kind decides for others only if it
        was made for that: if it has the scope ``promote``, be it for one group, and is not a notebook server's.
    default_groups
        Of a member of several groups, the first of these that they belong to owns what they create.

    service_owners
        Who answers for services of the hub, by their names.

    Raises
    ------
    PermissionDenied
        The name cannot be told from a group's or a service's.
    """
    name, groups = str(model["name"]), frozenset(map(str, model.get("groups") or ()))
    if name.startswith(_RESERVED):
        raise PermissionDenied(f"the user name {name!r} begins like the name of a group, a service, a token or a check")
    acts_for = None
    if model.get("kind") == "service":
        acts_for = service_owners.get(name)
        name = SERVICE_PREFIX + name
    try:
        user_name(name)
    except InvalidValue as error:
        raise PermissionDenied(f"the hub's user name cannot be used here: {error.message}") from error
    scopes = tuple(map(str, model.get("scopes") or ()))
    scope, by_group = granted(scopes)
    owner = next((GROUP_PREFIX + group for group in default_groups if group in groups), None)
    principal = Principal(
        name=name,
        groups=groups,
        scope=scope,
        group_scopes=tuple(sorted(by_group.items())),
        default_owner=owner if len(groups) > 1 else None,
        acts_for=acts_for,
    )
    made_for_it = principal.widest >= Scope.PROMOTE and not any(name.startswith(_ONE_SERVER) for name in scopes)
    return msgspec.structs.replace(principal, decides=interactive or made_for_it)
