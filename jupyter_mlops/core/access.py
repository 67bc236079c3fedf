"""Who is asking, and what they may do. The rules only; finding out who is asking is the business of callers."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from jupyter_mlops.core.errors import NotFound, PermissionDenied

GROUP_PREFIX = "group:"


class Scope(IntEnum):
    """What a principal may do at most; each includes those below it."""

    NONE = 0
    READ = 1
    WRITE = 2
    PROMOTE = 3
    ADMIN = 4


class Principal(msgspec.Struct, frozen=True):
    """A hub user (or, embedded, the operating-system user) with groups and the widest scope of the credential."""

    name: str
    groups: frozenset[str] = frozenset()
    scope: Scope = Scope.WRITE

    def owns(self, owner: str) -> bool:
        """Whether ``owner`` (a user's name or ``group:NAME``) is this principal or one of their groups."""
        if owner.startswith(GROUP_PREFIX):
            return owner[len(GROUP_PREFIX) :] in self.groups
        return owner == self.name


def local_principal(user: str) -> Principal:
    """The principal of an embedded store: whoever can open the file may do everything with it."""
    return Principal(name=user, scope=Scope.ADMIN)


def visible(principal: Principal, owner: str) -> bool:
    """Whether ``principal`` may know that something of ``owner`` exists."""
    return principal.scope >= Scope.ADMIN or (principal.scope >= Scope.READ and principal.owns(owner))


def require(principal: Principal, owner: str, scope: Scope, what: str) -> None:
    """Raise unless ``principal`` may use ``scope`` on ``what``, a thing of ``owner``.

    Raises
    ------
    NotFound
        The thing is not visible to the principal: forbidden and unknown look alike.
    PermissionDenied
        It is visible, but the credential does not reach ``scope``.
    """
    if not visible(principal, owner):
        raise NotFound(f"{what} does not exist")
    if principal.scope < scope:
        raise PermissionDenied(f"{what}: this needs the scope {scope.name.lower()!r}, which {principal.name!r} lacks")


def require_model(principal: Principal, owner: str, scope: Scope, what: str) -> None:
    """Raise unless ``principal`` may use ``scope`` on ``what``, a registered model of ``owner`` or a part of it.

    The registry is hub-wide: whoever may read at all may read every model; the rest is for its owner.

    Raises
    ------
    NotFound
        The principal may read nothing.
    PermissionDenied
        The model is another's, or the credential does not reach ``scope``.
    """
    if principal.scope < Scope.READ:
        raise NotFound(f"{what} does not exist")
    if scope > Scope.READ and principal.scope < Scope.ADMIN and not principal.owns(owner):
        raise PermissionDenied(f"{what} belongs to {owner!r}; {principal.name!r} may read it, not change it")
    if principal.scope < scope:
        raise PermissionDenied(f"{what}: this needs the scope {scope.name.lower()!r}, which {principal.name!r} lacks")
