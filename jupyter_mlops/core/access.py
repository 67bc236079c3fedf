"""Who is asking, and what they may do. The rules only; finding out who is asking is the business of callers.

A thing belongs to an *owner*: a user, or a group (``group:NAME``). What a principal may do with it is a *scope*, by who
owns it (:meth:`Principal.scope_on`) or, with an experiment and what is in it, by a share (:func:`scope_in_experiment`).
A *grantee* is whom a share names, so written that a user's name is never taken for a group's.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from jupyter_mlops.core.errors import InvalidValue, NotFound, PermissionDenied
from jupyter_mlops.core.records import Role
from jupyter_mlops.core.values import check_name, short

GROUP_PREFIX = "group:"
USER_PREFIX = "user:"
SERVICE_PREFIX = "service:"
"""Before the name of a hub's service (CI), which must not be taken for a user of the same name."""
TOKEN_USER_PREFIX = "token:"
"""Before the name of an access token that works for a group, for the same reason."""
EVERYONE = "everyone"
LONGEST_OWNER = 255


class Scope(IntEnum):
    """What a principal may do at most; each includes those below it."""

    NONE = 0
    READ = 1
    WRITE = 2
    PROMOTE = 3
    ADMIN = 4


_SCOPE_OF_ROLE = {Role.READ: Scope.READ, Role.WRITE: Scope.WRITE}


class Principal(msgspec.Struct, frozen=True):
    """A hub user (or, embedded, the operating-system user), as far as the credential reaches that was presented."""

    name: str
    groups: frozenset[str] = frozenset()
    """The groups they belong to."""
    scope: Scope = Scope.WRITE
    """What they may do with their own things and those of their groups; an administrator, with those of all."""
    group_scopes: tuple[tuple[str, Scope], ...] = ()
    """Groups with what may be done with that group's things, by members and others alike."""
    decides: bool = True
    """False for the token of a notebook's server, which runs code of others too: it decides nothing for others."""
    default_owner: str | None = None
    """Who owns what they create without saying whose it is; see :func:`default_owner`."""
    acts_for: str | None = None
    """Of what is no person (CI, a schedule): the user who answers for it, and who counts as asking where it asks."""
    expires: int | None = None
    """Until when the credential counts, where that is known; milliseconds since the epoch."""
    token_id: str | None = None
    """Of who comes with an access token, or with what was issued to one, the id of the access token."""

    @property
    def person(self) -> str:
        """Who counts as doing what this principal does."""
        return self.acts_for or self.name

    def owns(self, owner: str) -> bool:
        """Whether ``owner`` (a user's name or ``group:NAME``) is this principal or one of their groups."""
        if owner.startswith(GROUP_PREFIX):
            return owner[len(GROUP_PREFIX) :] in self.groups
        return owner == self.name

    @property
    def widest(self) -> Scope:
        """The most that the credential reaches on anything."""
        return max([self.scope, *(scope for _, scope in self.group_scopes)])

    def scope_on(self, owner: str) -> Scope:
        """What this principal may do with the things of ``owner``, as far as it depends on who owns them."""
        reached = self.scope if self.scope >= Scope.ADMIN or self.owns(owner) else Scope.NONE
        return max([reached, *(scope for group, scope in self.group_scopes if owner == GROUP_PREFIX + group)])


def local_principal(user: str) -> Principal:
    """The principal of an embedded store: whoever can open the file may do everything with it."""
    return Principal(name=user, scope=Scope.ADMIN)


# --- owners ----------------------------------------------------------------------------------------------------------


def owner_name(name: object) -> str:
    """A user's name or ``group:NAME``, checked: 1 to 255 characters, no control characters, and the group has a
    name."""
    checked = check_name(name, "owner", LONGEST_OWNER)
    if checked.startswith(GROUP_PREFIX):
        group_name(checked[len(GROUP_PREFIX) :])
    return checked


def user_name(name: object) -> str:
    """A user's name, checked: 1 to 255 characters, no control characters."""
    return check_name(name, "user", LONGEST_OWNER)


def group_name(name: object) -> str:
    """A group's name, checked: 1 to 249 characters, no control characters."""
    return check_name(name, "group", LONGEST_OWNER - len(GROUP_PREFIX))


def default_owner(principal: Principal) -> str:
    """Who owns what ``principal`` creates without saying whose it is: the principal's default, else their only group,
    else they themselves."""
    if principal.default_owner is not None:
        return principal.default_owner
    if len(principal.groups) == 1:
        return GROUP_PREFIX + next(iter(principal.groups))
    return principal.name


def split_owner(principal: Principal, name: str) -> tuple[str | None, str]:
    """The owner that a given name begins with, and the rest of it: ``red/churn`` is ``churn`` of ``group:red`` for a
    member of the group ``red``. For others, and without a group, it is all name."""
    group, slash, rest = name.partition("/")
    if slash and group in principal.groups:
        return GROUP_PREFIX + group, rest
    return None, name


def owners_reached(principal: Principal, scope: Scope) -> tuple[str, ...] | None:
    """The owners on whose things ``principal`` reaches ``scope``, in order; None for all."""
    if principal.scope >= Scope.ADMIN:
        return None
    candidates = {principal.name}
    candidates.update(GROUP_PREFIX + group for group in principal.groups)
    candidates.update(GROUP_PREFIX + group for group, _ in principal.group_scopes)
    return tuple(sorted(owner for owner in candidates if principal.scope_on(owner) >= scope))


def require_owner_of_new(principal: Principal, owner: str, what: str) -> None:
    """Raise ``PermissionDenied`` unless ``principal`` may create ``what`` as a thing of ``owner``."""
    if principal.scope_on(owner) < Scope.WRITE:
        raise PermissionDenied(f"{what}: {principal.name!r} may not create things of {owner!r}")


# --- shares ----------------------------------------------------------------------------------------------------------


def role_named(name: object) -> Role:
    """The role of that name; ``InvalidValue`` when there is none."""
    try:
        return Role(name)
    except ValueError:
        choices = " and ".join(repr(role.value) for role in Role)
        raise InvalidValue(f"role: {short(name)} is none; {choices} are") from None


def grantee(*, to_user: str | None, to_group: str | None, to_everyone: bool) -> str:
    """The grantee that exactly one of these names; ``InvalidValue`` for none or several."""
    if (to_user is not None) + (to_group is not None) + to_everyone != 1:
        raise InvalidValue("a share is for one user, one group or everyone: give exactly one of them")
    if to_user is not None:
        return USER_PREFIX + user_name(to_user)
    if to_group is not None:
        return GROUP_PREFIX + group_name(to_group)
    return EVERYONE


def grantee_parts(grantee: str) -> tuple[str | None, str | None]:
    """The user and the group of a grantee, one of which is None; both for everyone."""
    if grantee.startswith(USER_PREFIX):
        return grantee[len(USER_PREFIX) :], None
    if grantee.startswith(GROUP_PREFIX):
        return None, grantee[len(GROUP_PREFIX) :]
    return None, None


def grantees_of(principal: Principal) -> tuple[str, ...]:
    """The grantees that mean ``principal``, in order."""
    if principal.scope < Scope.READ:
        return ()
    return (EVERYONE, *sorted(GROUP_PREFIX + group for group in principal.groups), USER_PREFIX + principal.name)


def scope_in_experiment(principal: Principal, owner: str, role: Role | None) -> Scope:
    """What ``principal`` may do in an experiment of ``owner`` that is shared with them as ``role`` (None: it is not).

    A share gives no more than the credential has.
    """
    shared = Scope.NONE if role is None else min(principal.scope, _SCOPE_OF_ROLE[role])
    return max(principal.scope_on(owner), shared)


def require(principal: Principal, owner: str, scope: Scope, what: str, role: Role | None = None) -> None:
    """Raise unless ``principal`` may use ``scope`` on ``what``: an experiment of ``owner``, shared with them as
    ``role``, or something in it.

    Raises
    ------
    NotFound
        The thing is not visible to the principal: forbidden and unknown look alike.
    PermissionDenied
        It is visible, but the credential or the share does not reach ``scope``.
    """
    reached = scope_in_experiment(principal, owner, role)
    if reached < Scope.READ:
        raise NotFound(f"{what} does not exist")
    if reached < scope <= principal.scope and principal.scope_on(owner) < Scope.READ:
        raise PermissionDenied(f"{what} belongs to {owner!r}, who shared it for reading only")
    _require_scope(principal, reached, scope, what)


def require_ownership(principal: Principal, owner: str, what: str, role: Role | None = None) -> None:
    """Raise, as :func:`require` does, unless ``principal`` may do with ``what`` what only its owner may: rename,
    delete, share, hand over. A share does not give this."""
    require(principal, owner, Scope.READ, what, role)
    reached = principal.scope_on(owner)
    if reached < Scope.READ:
        raise PermissionDenied(f"{what} belongs to {owner!r}, who shared it; this is for its owner")
    _require_scope(principal, reached, Scope.WRITE, what)


# --- registered models -----------------------------------------------------------------------------------------------


def sees_model(principal: Principal, owner: str, restricted: bool) -> bool:
    """Whether ``principal`` may know that a registered model of ``owner`` exists. The registry is for all who may read,
    except for what is restricted."""
    return principal.scope_on(owner) >= Scope.READ or (principal.scope >= Scope.READ and not restricted)


def require_model(principal: Principal, owner: str, scope: Scope, what: str, *, restricted: bool) -> None:
    """Raise unless ``principal`` may use ``scope`` on ``what``, a registered model of ``owner`` or a part of it.

    Raises
    ------
    NotFound
        The principal does not see the model.
    PermissionDenied
        The model is another's, or the credential does not reach ``scope``.
    """
    if not sees_model(principal, owner, restricted):
        raise NotFound(f"{what} does not exist")
    if scope <= Scope.READ:
        return
    reached = principal.scope_on(owner)
    if reached < Scope.READ:
        raise PermissionDenied(f"{what} belongs to {owner!r}; {principal.name!r} may read it, not change it")
    _require_scope(principal, reached, scope, what)


# --- decisions -------------------------------------------------------------------------------------------------------


def require_decision(principal: Principal, what: str) -> None:
    """Raise ``PermissionDenied`` unless the credential may decide for others about ``what``."""
    if not principal.decides:
        raise PermissionDenied(
            f"{what}: the token of a notebook's server decides nothing for others, since it runs their code too; "
            "log in on the service's page, or use a token made for it"
        )


def _require_scope(principal: Principal, reached: Scope, scope: Scope, what: str) -> None:
    if reached < scope:
        raise PermissionDenied(f"{what}: this needs the scope {scope.name.lower()!r}, which {principal.name!r} lacks")
